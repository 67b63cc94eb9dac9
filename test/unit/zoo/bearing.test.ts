import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bundleEngine } from '../../../cli/engines.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import { createListener } from '../../../device/core/listen/listener.ts'
import { checkGolden, type OpenedBundle, openBundle } from '../../../model/opened-bundle.ts'
import { verifierFits } from '../../../model/wake-verifier.ts'
import { makePatch } from '../../../release/patch/make-patch.ts'
import { type Condition, stretchOf } from '../../../zoo/bearing-material.ts'

const NAMES = ['bearing-1', 'bearing-2', 'bearing-regressed'] as const
const bytesOf = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../../zoo/bundles/${name}.kinglet`, import.meta.url)))
const measured = JSON.parse(readFileSync(new URL('../../../zoo/bearing.json', import.meta.url), 'utf8')) as {
  readonly patches: Record<string, number>
  readonly results: Record<
    string,
    { condition: Condition; level: string; wear: number; alarmsPerHour?: number; share?: number }[]
  >
}
const bundles = new Map<string, OpenedBundle>()
beforeAll(async () => {
  for (const name of [...NAMES, 'bearing-verifier']) {
    const opened = await openBundle(bytesOf(name), bundleEngine(), Number.POSITIVE_INFINITY)
    if (!opened.ok) throw new Error(`${name}: ${opened.error.detail}`)
    bundles.set(name, opened.value)
  }
})
afterAll(() => Promise.all([...bundles.values()].map((bundle) => bundle.dispose())))

/** In how many of some stretches of the test machines a bundle alarms. */
async function alarms(name: string, condition: Condition, wear: number, count = 12): Promise<number> {
  const bundle = bundles.get(name)!
  let alarmed = 0
  for (let i = 0; i < count; i++) {
    const { samples, stands } = stretchOf('test', condition, wear, i, 5)
    if (stands) continue
    const heard = await createListener({ ...bundle, step: bundle.manifest.ladder[0]! }).listen(samples)
    if (!heard.ok) throw new Error(heard.error.detail)
    if (heard.value.wakes.length > 0) alarmed++
  }
  return alarmed
}

describe('the bearing bundles', () => {
  it('come again byte for byte, and descend from each other', async () => {
    for (const name of NAMES) {
      const bundle = bundles.get(name)!
      expect(bundle.manifest.golden.tolerance).toBe(0)
      expect(await checkGolden(bundle)).toEqual({ ok: true, value: 0 })
      expect(bundle.manifest.ladder.map(({ level }) => level)).toEqual(['full', 'lite', 'sparse'])
    }
    expect(bundles.get('bearing-2')!.manifest.parent).toBe(sha256Hex(bytesOf('bearing-1')))
    for (const name of NAMES)
      expect(verifierFits(bytesOf('bearing-verifier'), bytesOf(name))).toMatchObject({ ok: true })
  })

  it('find bearings that are worn by half and leave sound ones alone, on machines that nobody trained on', async () => {
    expect(await alarms('bearing-1', 'calm', 0)).toBe(0)
    expect(await alarms('bearing-1', 'calm', 0.5)).toBeGreaterThanOrEqual(9)
    expect(await alarms('bearing-2', 'raised', 0)).toBe(0)
    expect(await alarms('bearing-2', 'raised', 0.5)).toBeGreaterThanOrEqual(8)
    // What the second is for.
    expect(await alarms('bearing-1', 'raised', 0)).toBeGreaterThan(0)
  })

  it('are as small to update as is said, and as good as their figures', () => {
    const [first, second] = [bytesOf('bearing-1'), bytesOf('bearing-2')]
    expect(measured.patches).toEqual({
      bundleBytes: second.length,
      fullBytes: makePatch(null, second, { version: 1 }).length,
      patchBytes: makePatch(first, second, { version: 1 }).length,
    })
    const figure = (name: string, condition: Condition, wear: number) =>
      measured.results[name]!.find(
        (cell) => cell.condition === condition && cell.wear === wear && cell.level === 'full',
      )!
    expect(figure('bearing-1', 'raised', 0).alarmsPerHour).toBeGreaterThan(
      5 * Math.max(1, figure('bearing-2', 'raised', 0).alarmsPerHour!),
    )
    for (const name of ['bearing-1', 'bearing-2']) expect(figure(name, 'calm', 0.6).share).toBeGreaterThan(0.9)
  })
})
