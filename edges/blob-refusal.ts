/** What an S3-compatible store says when it refuses a request, as a sentence that tells an operator what to do. */
import { BlobsUnavailable } from '../topics/blobs.ts'

export type S3Method = 'HEAD' | 'GET' | 'PUT' | 'DELETE'

/** The store answers, and will answer the same until an operator changes something. */
export class BlobsRefused extends BlobsUnavailable {}

/** Codes of the S3 error answers (AWS S3 API reference, "List of error codes"). */
const KEY_CODES = ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'InvalidToken']
const REGION_CODES = [
  'AuthorizationHeaderMalformed',
  'PermanentRedirect',
  'TemporaryRedirect',
  'IllegalLocationConstraint',
]

export interface BucketPlace {
  readonly endpoint: string
  readonly bucket: string
}

const RIGHTS: Readonly<Record<S3Method, string>> = {
  PUT: 's3:PutObject',
  DELETE: 's3:DeleteObject',
  // Without the right to list, S3 answers 403 for an object that is not there.
  GET: 's3:GetObject, and s3:ListBucket to be told that an object is not there',
  HEAD: 's3:GetObject, and s3:ListBucket to be told that an object is not there',
}

/** `status` and `code` are those of the answer; the code is empty where the answer had no body. */
export function refusalOf(place: BucketPlace, method: S3Method, status: number, code: string): BlobsRefused {
  const where = `bucket ${place.bucket} at ${place.endpoint}`
  const said = `${method} on ${where} was answered with ${status}${code === '' ? '' : ` ${code}`}`
  return new BlobsRefused(`${said}: ${adviceFor(place, method, status, code)}`)
}

function adviceFor(place: BucketPlace, method: S3Method, status: number, code: string): string {
  if (code === 'NoSuchBucket')
    return `there is no such bucket. Create ${place.bucket}, or name another in MAILTRAIL_BLOBS.`
  if (code === 'InvalidBucketName') return 'no bucket can have this name. Name another in MAILTRAIL_BLOBS.'
  if (KEY_CODES.includes(code))
    return 'the keys are not right. Check MAILTRAIL_S3_ACCESS_KEY_ID and MAILTRAIL_S3_SECRET_ACCESS_KEY.'
  if (code === 'RequestTimeTooSkewed') return "this machine's clock and the store's differ by minutes. Set the clock."
  if (REGION_CODES.includes(code) || (status >= 300 && status < 400))
    return 'the bucket is in another region or at another address. Check MAILTRAIL_S3_REGION and MAILTRAIL_S3_ENDPOINT.'
  if (status === 401 || status === 403) return `the key lacks a right. It needs ${RIGHTS[method]}.`
  if (status === 404) return 'what answers there is no S3-compatible store. Check MAILTRAIL_S3_ENDPOINT.'
  return 'the store does not take the request. Check MAILTRAIL_S3_ENDPOINT and MAILTRAIL_S3_PATH_STYLE.'
}
