import { readFileSync, writeFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesToHex, sha256 } from '../../contract/bytes.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { applyPatch } from '../fixtures/patch.ts'
import { tunedNetwork } from '../fixtures/patch-models.ts'
import { plannedPatch, plans } from '../fixtures/patch-plans.ts'

interface Golden {
  readonly name: string
  /** base64; null: a patch without a base */
  readonly base: string | null
  readonly patch: string
  /** of what the patch makes */
  readonly sha256: string
}

/** Patches as they were made once. Devices in the field decode these bytes for years, and encoder and decoder, which share their models,
 *  agree with each other after any change of both: what turns this red is a new patch version, not a new golden file.
 *  KINGLET_WRITE_GOLDEN=1 adds to it; what stands in it stays. */
const FILE = new URL('../fixtures/patches-v1.json', import.meta.url)
const golden = JSON.parse(readFileSync(FILE, 'utf8')) as Golden[]

if (process.env.KINGLET_WRITE_GOLDEN === '1') {
  const [first, second] = [tunedNetwork(1, 8), tunedNetwork(2, 8)]
  const networks = [
    { name: 'a network', base: null, result: first, patch: makePatch(null, first) },
    { name: 'its successor', base: first, result: second, patch: makePatch(first, second) },
  ]
  const planned = fc
    .sample(plans, { seed: 1, numRuns: 40 })
    .map((plan, i) => ({ name: `numbers ${i + 1}`, base: plan.base, ...plannedPatch(plan) }))
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  for (const { name, base, result, patch } of [...networks, ...planned]) {
    if (golden.some((one) => one.name === name)) continue
    golden.push({ name, base: base && base64(base), patch: base64(patch), sha256: bytesToHex(sha256(result)) })
  }
  writeFileSync(FILE, `${JSON.stringify(golden, undefined, 2)}\n`)
}

describe('patches that were made by the first of version 1', () => {
  it.each(golden)('make what they made: $name', ({ base, patch, sha256: expected }) => {
    const made = applyPatch(base === null ? null : Buffer.from(base, 'base64'), Buffer.from(patch, 'base64'))
    expect(made.ok && bytesToHex(sha256(made.value))).toBe(expected)
  })
})
