import { type ContractError, contractError } from './errors.ts'
import { LADDER_LEVELS } from './ladder-levels.ts'
import { err, ok, type Result } from './result.ts'

/** What devices are chosen by, and how it is compared. `text`: as it stands, whatever the case, `*` for any letters; `percent` and `age` by < and >. */
export const QUERY_FIELDS = {
  device: { kind: 'text', what: 'its id' },
  site: { kind: 'text', what: 'where it is enrolled' },
  board: { kind: 'text', what: 'its board' },
  family: { kind: 'text', what: 'the family that it follows' },
  tag: { kind: 'text', what: 'one of its tags' },
  model: { kind: 'text', what: 'the release that it ran in its newest report' },
  target: { kind: 'text', what: 'the release that it is to run' },
  rollout: { kind: 'text', what: 'the rollout that its assignment is of' },
  arm: { kind: 'text', what: 'canary, control or none' },
  level: { kind: 'text', what: `${LADDER_LEVELS.join(', ')}: as it reported` },
  key: { kind: 'text', what: 'yes or no: whether it has a key of its own' },
  pinned: { kind: 'text', what: 'yes or no: whether a person chose its model' },
  group: { kind: 'text', what: 'a saved group' },
  battery: { kind: 'percent', what: 'charge that it reported, in percent: battery<30' },
  silent: { kind: 'age', what: 'time since it was heard, m, h, d or w: silent>2d' },
} as const satisfies Record<string, { kind: 'text' | 'percent' | 'age'; what: string }>

export type QueryField = keyof typeof QUERY_FIELDS

/** One condition; all of a query's hold at once. */
export type QueryTerm =
  | {
      readonly field: QueryField
      readonly negated: boolean
      /** one of these patterns, in lower case: `*` stands for any letters, `[*]`, `[?]` and `[[]` for these themselves (as GLOB of SQLite reads them) */
      readonly values: readonly string[]
    }
  | {
      readonly field: QueryField
      readonly negated: boolean
      readonly operator: '<' | '<=' | '>' | '>='
      /** percent, or ms */
      readonly number: number
    }

/** Chosen: what a person types; a list of a thousand ids is a tag. */
const LENGTH_MAX = 1_000
const TERMS_MAX = 32
/** Chosen: each more multiplies what a comparison may cost. */
const STARS_MAX = 3
/** A term up to the next blank; a value may stand in quotes. */
const TERM = /([-!]?)(?:([A-Za-z]+)(:|<=|>=|<|>))?("[^"]*"|[^\s"]+)(?=\s|$)\s*/y
const UNITS_MS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** Reads a query such as `site:berlin board:*u5* !tag:beta battery<30 silent>2d`: conditions that hold at once, a comma between values of which
 *  one is enough, `!` or `-` before what must not hold. What stands in quotes is meant as it stands. A word without a field is a device.
 *  @returns the conditions, none for an empty text; `invalid-request` with the word that is wrong and what may stand there */
export function parseDeviceQuery(text: string): Result<readonly QueryTerm[], ContractError> {
  if (text.length > LENGTH_MAX) return refuse(`the query has ${text.length} characters, at most ${LENGTH_MAX} may be`)
  const terms: QueryTerm[] = []
  const trimmed = text.trim()
  TERM.lastIndex = 0
  while (TERM.lastIndex < trimmed.length) {
    const at = TERM.lastIndex
    const found = TERM.exec(trimmed)
    if (found === null) return refuse(`"${trimmed.slice(at, at + 40)}": a value is a word, or stands in double quotes`)
    const [, not, field = 'device', operator = ':', value = ''] = found
    const term = termOf(field.toLowerCase(), operator, value, not !== '')
    if (!term.ok) return term
    terms.push(term.value)
    if (terms.length > TERMS_MAX) return refuse(`the query has more than ${TERMS_MAX} conditions`)
  }
  return ok(terms)
}

const isField = (name: string): name is QueryField => Object.hasOwn(QUERY_FIELDS, name)

function termOf(name: string, operator: string, given: string, negated: boolean): Result<QueryTerm, ContractError> {
  if (!isField(name)) {
    return refuse(`devices are not chosen by "${name}", but by ${Object.keys(QUERY_FIELDS).join(', ')}`)
  }
  const field: QueryField = name
  const { kind, what } = QUERY_FIELDS[field]
  const quoted = given.startsWith('"')
  const value = quoted ? given.slice(1, -1) : given
  if (kind === 'text') {
    if (operator !== ':') return refuse(`${name} is compared by ":" (${what}), not by "${operator}"`)
    const values = quoted ? [value] : value.split(',')
    if (values.some((one) => one === '')) {
      return refuse(`${name}: has an empty value; one with blanks or commas stands in quotes`)
    }
    if (!quoted && values.some((one) => one.split('*').length > STARS_MAX + 1)) {
      return refuse(`${name}:${value}: at most ${STARS_MAX} "*" may be in a value`)
    }
    return ok({ field, negated, values: values.map(quoted ? literalPattern : patternOf) })
  }
  if (operator === ':') return refuse(`${name} is compared by < or >: ${what}`)
  const number = kind === 'percent' ? percentOf(value) : ageOf(value)
  if (number === undefined) return refuse(`${name}${operator}${value}: ${what}`)
  return ok({ field, negated, operator: operator as '<', number })
}

const patternOf = (text: string): string => text.toLowerCase().replace(/[?[]/g, '[$&]')
/** The pattern of a text that is meant as it stands. */
export const literalPattern = (text: string): string => text.toLowerCase().replace(/[*?[]/g, '[$&]')

function percentOf(text: string): number | undefined {
  const found = /^(\d{1,3}(?:\.\d+)?)%?$/.exec(text)
  const percent = Number(found?.[1])
  return found !== null && percent <= 100 ? percent : undefined
}

function ageOf(text: string): number | undefined {
  const found = /^(\d{1,5})([mhdw])$/i.exec(text)
  return found === null ? undefined : Number(found[1]) * (UNITS_MS[(found[2] ?? '').toLowerCase()] ?? 0)
}

const refuse = (detail: string): { readonly ok: false; readonly error: ContractError } =>
  err(contractError('invalid-request', detail))
