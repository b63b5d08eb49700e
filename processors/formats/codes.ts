/** Every warning and reject code, once, each with a sentence for people. The lists are closed. */

/** Repairs and oddities: the report was read and counts. */
export const warningCodes = {
  address_invalid: 'A source address is not an IP address; the record is kept and counted with the text as sent.',
  alignment_missing: 'A record does not say whether DKIM or SPF was aligned; what is missing counts as a fail.',
  auth_results_missing: 'A record has no auth_results.',
  base64_repaired: 'Base64 text had characters or padding that do not belong there; they were passed over.',
  bom_removed: 'The text began with a byte order mark.',
  bytes_invalid: 'Bytes that are not valid in the text encoding were dropped.',
  comment_as_reason: 'A reason was plain text instead of a type; the text was taken as the type.',
  count_implausible:
    'A count is 0, negative, not a number or above 1,000,000,000; the record is shown as sent and adds nothing.',
  count_fraction: 'A count had a fraction, which was cut.',
  date_format: 'A date was not in the form that the standard asks for; it could be read without doubt.',
  disposition_missing: 'A record has no disposition; it counts as none.',
  encoding_declared_wrong: 'The encoding that the XML declares is not the one of its bytes.',
  encoding_not_utf8: 'The text is not in UTF-8; it was read in the encoding it declares or shows.',
  field_duplicated: 'An element that may stand once stands several times; the first was taken.',
  gzip_checksum: 'The checksum or length at the end of the gzip data is wrong, but the report is complete.',
  gzip_trailing_bytes: 'Bytes follow the end of the gzip data; they were passed over.',
  header_malformed: 'A header line of the mail is malformed; it was read as meant.',
  implausible_period: 'The period lies more than 400 days before or 2 days after the mail was received.',
  json_duplicate_member: 'A JSON object has the same member twice; the last was taken.',
  mime_repaired:
    'The structure of the mail is damaged (a boundary or header is missing); it was read as far as it goes.',
  more_warnings: 'There were more warnings of this report than are kept.',
  namespace_prefix: 'Elements carry a namespace prefix.',
  number_invalid: 'A number of the published policy could not be read; it was taken as missing.',
  number_repaired: 'A number came as text or with white space around it.',
  org_name_missing:
    'The report does not name its submitter; the domain of its e-mail address stands in for its identity.',
  override_unknown: 'A reason has a type that no standard knows; it is kept as sent.',
  period_reversed: 'The period begins after it ends; begin and end were swapped.',
  policy_domain_missing:
    'A TLS policy does not name its domain; it was taken from the mail or from the only other policy.',
  policy_string_form: 'policy-string or mx-host was not a list of strings; it was read as one.',
  reason_empty: 'A reason has neither type nor comment; it was left out.',
  reason_type_missing: 'A reason has a comment but no type; it was kept with the comment alone.',
  record_incomplete: 'A record without source address was left out.',
  result_unknown: 'A result word is none that the standards know; it was kept or mapped to its usual meaning.',
  results_dropped: 'A record has more DKIM, SPF or override entries than are kept.',
  root_prefixed: 'Something stood in front of the report (a glued-in schema, stray text); it was passed over.',
  spf_domain_missing: 'An SPF result does not name its domain.',
  summary_missing: 'A TLS policy has no session counts; they count as 0.',
  text_stray: 'Stray text stands between elements; it was passed over.',
  tls_draft_names: 'The TLS report uses names or forms of a draft of the standard; they were read as what they became.',
  tls_policies_empty: 'The TLS report has an empty list of policies.',
  value_not_text: 'An element that should hold text holds other markup; it was taken as missing.',
  value_truncated: 'A value was longer than what is kept; it was cut.',
  xml_repaired: 'The XML is not well formed; a tolerant second reading found the whole report.',
  zip_checksum: 'The checksum or length of a zip entry is wrong, but the report is complete.',
} as const
export type WarningCode = keyof typeof warningCodes

/** Reasons for which nothing of a mail or a part counts. */
export const rejectCodes = {
  blob_missing: 'The bytes of the mail are not in the blob store. Bring the file back, then retry.',
  container_depth: 'Archives are nested too deeply.',
  container_unknown: 'The attachment is of a kind that cannot be opened.',
  encrypted: 'The archive is encrypted; ask the sender for a plain one.',
  gave_up: 'Reading took more time or memory than a mail may take, twice. Look at the mail, then retry.',
  gzip_damaged: 'The gzip data ends early or is damaged.',
  inflate_limit: 'The unpacked data is larger than allowed or unpacks suspiciously well.',
  json_malformed: 'The JSON cannot be read.',
  json_limit: 'The JSON is nested too deeply or too large.',
  known_junk: 'The attachment holds only the word "unused": a known fault of the sender, nothing is lost.',
  mail_empty: 'The mail is empty.',
  mail_too_large: 'The mail is larger than MAILTRAIL_MAX_MAIL_BYTES allows.',
  mime_limit: 'The mail has too many parts, too deep a nesting or too large a header.',
  not_a_report: 'The file is none of the kinds of report that are read here.',
  period_unreadable: 'The period of the report is missing, cannot be read or lies outside 1970–2106.',
  policy_missing: 'The report does not say the domain or the policy (p) that it is about.',
  reader_failed: 'mailtrail itself failed on this mail. Keep it, report the bug, and retry after the fix.',
  records_limit: 'The report has more records or details than are read.',
  report_id_missing: 'The report has no id.',
  tls_report_incomplete: 'The TLS report lacks its period, its id or its policies.',
  xml_doctype: 'The XML has a document type declaration, which is never processed.',
  xml_limit: 'The XML is nested too deeply or has a text or attribute that is too long.',
  xml_malformed: 'The XML is not well formed and cannot be read without doubt.',
  zip_damaged: 'The zip archive is damaged.',
  zip_limit: 'The zip archive has too many entries.',
} as const
export type RejectCode = keyof typeof rejectCodes

/** Thrown inside a decoder where a reject is far from its reader; caught by that decoder and turned into a value. */
export class Rejected extends Error {
  readonly code: RejectCode
  constructor(code: RejectCode, detail: string) {
    super(detail)
    this.code = code
  }
}
