import type { QueryField, QueryTerm } from '../../contract/device-query.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'

/** A condition on the row `d` of a device, with its parameters in order. */
export interface DeviceCondition {
  readonly sql: string
  readonly parameters: readonly (string | number)[]
}

const NEWEST = 'FROM boots b WHERE b.device = d.id ORDER BY b.boot DESC LIMIT 1'
const LEVEL = `(SELECT CASE b.level ${LADDER_LEVELS.map((name, i) => `WHEN ${i} THEN '${name}'`).join(' ')} END ${NEWEST})`
const yesNo = (condition: string): string => `CASE WHEN ${condition} THEN 'yes' ELSE 'no' END`

/** What each field of a query is in the store; `?`: one pattern. */
const TEXTS: Readonly<Record<Exclude<QueryField, 'battery' | 'silent' | 'group'>, string>> = {
  device: 'd.name GLOB ?',
  site: 'd.site GLOB ?',
  board: 'lower(d.board) GLOB ?',
  family: 'd.family GLOB ?',
  tag: 'EXISTS (SELECT 1 FROM json_each(d.tags) t WHERE lower(t.value) GLOB ?)',
  model: `(SELECT b.model ${NEWEST}) IN (SELECT r.prefix FROM releases r WHERE lower(r.name) GLOB ?)`,
  target: 'd.target IN (SELECT r.id FROM releases r WHERE lower(r.name) GLOB ?)',
  rollout: "lower(coalesce(d.rollout, '')) GLOB ?",
  arm: 'd.arm GLOB ?',
  level: `coalesce(${LEVEL}, '') GLOB ?`,
  key: `${yesNo('EXISTS (SELECT 1 FROM device_keys k WHERE k.device = d.id)')} GLOB ?`,
  pinned: `${yesNo('d.pinned = 1')} GLOB ?`,
}
/** Of a device that has never reported, no charge is known: it is neither below nor above. */
const CHARGE = `coalesce((SELECT b.battery_permille / 10.0 ${NEWEST}) # ?, 0)`

/** @param groups conditions of saved groups by name, as far as the terms name them
 *  @param nowMs wall time, Unix ms */
export function deviceCondition(
  terms: readonly QueryTerm[],
  groups: ReadonlyMap<string, readonly QueryTerm[]>,
  nowMs: number,
): DeviceCondition {
  const parts = terms.map((term) => {
    const { sql, parameters } = conditionOf(term, groups, nowMs)
    return { sql: term.negated ? `NOT (${sql})` : `(${sql})`, parameters }
  })
  return {
    sql: parts.length === 0 ? '1' : parts.map(({ sql }) => sql).join(' AND '),
    parameters: parts.flatMap(({ parameters }) => parameters),
  }
}

function conditionOf(
  term: QueryTerm,
  groups: ReadonlyMap<string, readonly QueryTerm[]>,
  nowMs: number,
): DeviceCondition {
  if ('number' in term) {
    const { field, operator, number } = term
    if (field === 'battery') return { sql: CHARGE.replace('#', operator), parameters: [number] }
    // One that was never heard has been silent for ever.
    return { sql: `? - d.last_seen_ms ${operator} ?`, parameters: [nowMs, number] }
  }
  const { field, values } = term
  if (field === 'group') {
    const each = values.map((name) => deviceCondition(groups.get(name) ?? [], new Map(), nowMs))
    return {
      sql: each.map(({ sql }) => `(${sql})`).join(' OR '),
      parameters: each.flatMap(({ parameters }) => parameters),
    }
  }
  const sql = TEXTS[field as keyof typeof TEXTS]
  return { sql: values.map(() => sql).join(' OR '), parameters: values }
}
