import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bytesToHex, sha256 } from '../../contract/bytes.ts'
import { PATCH_VERSIONS, type PatchVersion } from '../../contract/patch/patch-header.ts'
import { makePatch } from '../../release/patch/make-patch.ts'
import { applyPatch } from '../fixtures/patch.ts'
import { offsetTables, tunedNetwork } from '../fixtures/patch-models.ts'
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
 *  KINGLET_WRITE_GOLDEN=1 adds to them; what stands in them stays. */
const fileOf = (version: PatchVersion) => new URL(`../fixtures/patches-v${version}.json`, import.meta.url)
const goldenOf = (version: PatchVersion): Golden[] =>
  existsSync(fileOf(version)) ? (JSON.parse(readFileSync(fileOf(version), 'utf8')) as Golden[]) : []

function write(version: PatchVersion): void {
  const golden = goldenOf(version)
  const [first, second] = [tunedNetwork(1, 8), tunedNetwork(2, 8)]
  const [files, moved] = [offsetTables(), offsetTables(64, 12)]
  const made = [
    { name: 'a network', base: null, result: first },
    { name: 'its successor', base: first, result: second },
    ...(version === 1 ? [] : [{ name: 'tables of offsets', base: files, result: moved }]),
  ].map((each) => ({ ...each, patch: makePatch(each.base, each.result, { version }) }))
  const planned = fc
    .sample(plans, { seed: version, numRuns: 40 })
    .map((plan, i) => ({ name: `numbers ${i + 1}`, base: plan.base, ...plannedPatch(plan, version) }))
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
  for (const { name, base, result, patch } of [...made, ...planned]) {
    if (golden.some((one) => one.name === name)) continue
    golden.push({ name, base: base && base64(base), patch: base64(patch), sha256: bytesToHex(sha256(result)) })
  }
  writeFileSync(fileOf(version), `${JSON.stringify(golden, undefined, 2)}\n`)
}
if (process.env.KINGLET_WRITE_GOLDEN === '1') for (const version of PATCH_VERSIONS) write(version)

describe.each(PATCH_VERSIONS)('patches that were made by the first of version %i', (version) => {
  it.each(goldenOf(version))('make what they made: $name', ({ base, patch, sha256: expected }) => {
    const bytes = Buffer.from(patch, 'base64')
    expect(bytes[2]).toBe(version)
    const made = applyPatch(base === null ? null : Buffer.from(base, 'base64'), bytes)
    expect(made.ok && bytesToHex(sha256(made.value))).toBe(expected)
  })
})
