import { decode as cborDecode, encode as cborEncode } from 'cborg'
import { type ContractError, contractError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { err, ok, type Result } from './result.ts'

/** The small set of types that cross the radio. `read` returns undefined when the value is not of the type. */
export interface FieldType<T> {
  readonly describe: string
  read(value: unknown): T | undefined
  readonly optional?: boolean
}

export const uint = (max: number = LIMITS.counter): FieldType<number> => ({
  describe: `unsigned integer up to ${max}`,
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max ? value : undefined,
})

export const int = (min: number, max: number): FieldType<number> => ({
  describe: `integer ${min} to ${max}`,
  read: (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max ? value : undefined,
})

export const bool: FieldType<boolean> = {
  describe: 'boolean',
  read: (value) => (typeof value === 'boolean' ? value : undefined),
}

export const bytes = (min: number, max: number = min): FieldType<Uint8Array> => ({
  describe: min === max ? `${min} bytes` : `${min} to ${max} bytes`,
  read: (value) => (value instanceof Uint8Array && value.length >= min && value.length <= max ? value : undefined),
})

/** What a CBOR decoder makes of bytes that are no UTF-8. Such text is refused: two byte strings would be one message. */
const NO_TEXT = /[\ufffd\p{Surrogate}]/u

/** Text from anywhere, cut to what a field takes: an error's detail may quote what an attacker wrote. */
export const plainText = (value: string, maxLength: number): string =>
  value.slice(0, maxLength).replace(new RegExp(NO_TEXT, 'gu'), '?')

export const text = (maxLength: number): FieldType<string> => ({
  describe: `text up to ${maxLength} characters`,
  read: (value) => (typeof value === 'string' && value.length <= maxLength && !NO_TEXT.test(value) ? value : undefined),
})

export const uints = (length: number): FieldType<readonly number[]> => {
  const element = uint()
  return {
    describe: `${length} unsigned integers`,
    read: (value) =>
      Array.isArray(value) && value.length === length && value.every((v) => element.read(v) !== undefined)
        ? (value as number[])
        : undefined,
  }
}

/** A list of 1 to `length` of them, each at most `max`. */
export const uintsUpTo = (length: number, max: number): FieldType<readonly number[]> => {
  const element = uint(max)
  return {
    describe: `1 to ${length} unsigned integers up to ${max}`,
    read: (value) =>
      Array.isArray(value) &&
      value.length >= 1 &&
      value.length <= length &&
      value.every((v) => element.read(v) !== undefined)
        ? (value as number[])
        : undefined,
  }
}

export const optional = <T>(type: FieldType<T>): FieldType<T | undefined> => ({
  describe: `optional ${type.describe}`,
  optional: true,
  read: type.read,
})

type Fields = Readonly<Record<string, readonly [key: number, type: FieldType<unknown>]>>

type ValueOf<Field> = Field extends readonly [number, FieldType<infer T>] ? T : never
type OptionalKeys<F extends Fields> = { [K in keyof F]: undefined extends ValueOf<F[K]> ? K : never }[keyof F]

export type MessageOf<F extends Fields> = {
  readonly [K in Exclude<keyof F, OptionalKeys<F>>]: ValueOf<F[K]>
} & { readonly [K in OptionalKeys<F>]?: ValueOf<F[K]> }

export interface MessageCodec<F extends Fields> {
  readonly maxBytes: number
  /** Deterministic CBOR (RFC 8949 section 4.2): a map of integer keys in ascending order, key 0 the schema version.
   *  Throws a RangeError on a value outside its field's bounds: the sender has a bug. */
  encode(message: MessageOf<F>): Uint8Array
  /** Size is checked before parsing.
   *  @returns the message, or `too-large` | `malformed` | `unknown-schema-version` | `unknown-field` */
  decode(data: Uint8Array): Result<MessageOf<F>, ContractError>
}

/** Defines one radio message: integer keys from 1, key 0 is the schema version. */
export function defineMessage<const F extends Fields>(
  name: string,
  schemaVersion: number,
  maxBytes: number,
  fields: F,
): MessageCodec<F> {
  const entries = Object.entries(fields).sort(([, a], [, b]) => a[0] - b[0])
  const known = new Set([0, ...entries.map(([, [key]]) => key)])
  if (known.size !== entries.length + 1) throw new Error(`${name}: duplicate or reserved field key`)

  return {
    maxBytes,
    encode(message) {
      const map = new Map<number, unknown>([[0, schemaVersion]])
      for (const [field, [key, type]] of entries) {
        const value = (message as Record<string, unknown>)[field]
        if (value === undefined && type.optional) continue
        if (type.read(value) === undefined) throw new RangeError(`${name}.${field} is not ${type.describe}`)
        map.set(key, value)
      }
      const encoded = cborEncode(map)
      if (encoded.length > maxBytes) throw new RangeError(`${name} of ${encoded.length} bytes exceeds ${maxBytes}`)
      return encoded
    },
    decode(data) {
      if (data.length > maxBytes)
        return err(contractError('too-large', `${name} of ${data.length} bytes, limit ${maxBytes}`))
      let map: unknown
      try {
        map = cborDecode(data, {
          useMaps: true,
          strict: true,
          allowIndefinite: false,
          allowUndefined: false,
          allowInfinity: false,
          allowNaN: false,
          allowBigInt: false,
          rejectDuplicateMapKeys: true,
        })
      } catch (cause) {
        return err(contractError('malformed', `${name}: ${cause instanceof Error ? cause.message : 'not CBOR'}`))
      }
      if (!(map instanceof Map)) return err(contractError('malformed', `${name} is not a map`))
      const version: unknown = map.get(0)
      if (version !== schemaVersion) {
        return err(
          contractError(
            'unknown-schema-version',
            `${name} version ${String(version).slice(0, 20)}, known: ${schemaVersion}`,
          ),
        )
      }
      for (const key of map.keys()) {
        if (!known.has(key as number))
          return err(contractError('unknown-field', `${name} field ${String(key).slice(0, 20)}`))
      }
      const message: Record<string, unknown> = {}
      for (const [field, [key, type]] of entries) {
        const raw: unknown = map.get(key)
        const value = raw === undefined ? undefined : type.read(raw)
        if (value === undefined && !(raw === undefined && type.optional)) {
          return err(contractError('malformed', `${name}.${field} is not ${type.describe}`))
        }
        message[field] = value
      }
      return ok(message as MessageOf<F>)
    },
  }
}
