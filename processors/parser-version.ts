/**
 * The version of the reader, named in every event that it makes. Raise it when the same bytes give other facts, so that
 * `/status` can say that the past was read by an older reader and what to run.
 */
export const PARSER_VERSION = '1'
