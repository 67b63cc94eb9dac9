/** Fields of a log line. What was thrown goes under `err`: pino serialises an Error there, with message and stack, and writes `{}` for one
 *  under any other name. An expected failure, which is a value, goes under `error`. */
export interface LogFields {
  readonly err?: unknown
  readonly error?: { readonly code: string; readonly detail: string }
  readonly [field: string]: unknown
}

type Log = (fields: LogFields, message: string) => void

/** What a service needs to log; pino fits. Properties and not methods: of a method's parameters TypeScript would let a wider type pass. */
export interface Logger {
  readonly info: Log
  readonly warn: Log
  readonly error: Log
}
