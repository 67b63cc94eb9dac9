import { describe, expect, it } from 'vitest'
import { DEFAULT_GATE_POLICY } from '../../cloud/rollout/gate-defaults.ts'
import { GATE_REASONS } from '../../cloud/store/gate-reading.ts'
import { RETENTION } from '../../cloud/store/retention-ages.ts'
import { READINESS_CODES } from '../../platform/readiness.ts'
import { textOf } from './documents.ts'

const text = textOf('docs/operations.md')

/** Rows of the table under a heading, cell by cell, without the header. */
function tableUnder(heading: string): string[][] {
  const from = text.indexOf(`${heading}\n`)
  expect(from, heading).toBeGreaterThan(-1)
  const lines = text.slice(from).split('\n')
  const first = lines.findIndex((line) => line.startsWith('|'))
  const rows: string[][] = []
  for (const line of lines.slice(first + 2)) {
    if (!line.startsWith('|')) break
    rows.push(
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
  }
  return rows
}
const codesIn = (cells: readonly string[]): string[] =>
  cells.flatMap((cell) => [...cell.matchAll(/`([a-z-]+)`/g)].map(([, code]) => code!))

describe('docs/operations.md', () => {
  it('says how long data live as the cloud keeps them', () => {
    const rows = tableUnder('## How long data live').map(([what, days, least]) => [what, Number(days), Number(least)])
    expect(rows).toEqual(Object.entries(RETENTION).map(([what, { days, least }]) => [what, days, least]))
  })

  it('has every reason of readiness, and no other', () => {
    const codes = codesIn(tableUnder('## Readiness').map(([code]) => code!))
    expect(codes.toSorted()).toEqual([...READINESS_CODES].toSorted())
  })

  it('has every reason of a verdict, and no other', () => {
    const codes = codesIn(
      tableUnder(
        '**The verdict** is *hold*, *advance*, *pause* (undecided at `maxHours`) or *roll back*, with reasons:',
      ).map(([code]) => code!),
    )
    expect(codes.toSorted()).toEqual([...GATE_REASONS].toSorted())
  })

  it('gives the signals of the gate their shares of the false-rollback probability, .05 in all', () => {
    const rows = tableUnder('### What the gate compares')
    const shares = new Map(
      rows.map(([name, , alpha, proof]) => [
        /`(\w+)`/.exec(name!)?.[1] ?? 'installs',
        [Number(alpha), proof === 'yes'],
      ]),
    )
    expect(shares).toEqual(
      new Map([
        ...DEFAULT_GATE_POLICY.metrics.map(
          ({ name, alphaRollback, alphaAdvance }) => [name, [alphaRollback, alphaAdvance > 0]] as const,
        ),
        ['installs', [DEFAULT_GATE_POLICY.installFailures.alpha, false]],
      ]),
    )
    expect([...shares.values()].reduce((sum, [alpha]) => sum + Number(alpha), 0)).toBeCloseTo(0.05, 12)
  })

  it('has every field of the policy with its default', () => {
    const rows = new Map<string, string>()
    for (const [names, values] of tableUnder('| field | default | |').map(([a, b]) => [a!, b!] as const)) {
      const fields = [...names.matchAll(/`(\w+)`/g)].map(([, name]) => name!)
      const given = fields.length === 1 ? [values] : values.split(', ')
      for (const [i, field] of fields.entries()) rows.set(field, given[i]!.replace(/`/g, ''))
    }
    const { metrics, ungated, advisory, ...rest } = DEFAULT_GATE_POLICY
    expect(metrics.every(({ marginRatio }) => marginRatio === 1.25)).toBe(true)
    expect([ungated, advisory]).toEqual([false, false]) // options of their own
    expect(rows.get('metrics')).toBe('the table below')
    rows.delete('metrics')
    const wanted = Object.entries(rest).map(
      ([field, value]) =>
        [field, typeof value === 'object' ? JSON.stringify(value).replace(/([:,])/g, '$1 ') : String(value)] as const,
    )
    expect(rows).toEqual(new Map(wanted))
  })
})
