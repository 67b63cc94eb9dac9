import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LadderLevel } from '../../../contract/ladder-levels.ts'
import { labelsOfPipeline } from '../../../contract/manifest.ts'
import { seededRandom } from '../../../contract/random.ts'
import type { Heard } from '../../../device/core/listen/heard.ts'
import { createListener } from '../../../device/core/listen/listener.ts'
import { Hearing, joinHeard } from '../../../firmware-sim/hearing.ts'
import { LEAD_SAMPLES, renderTake, SCENES, soundSenses, type Take, takePool } from '../../../firmware-sim/scene.ts'
import { TAKE_MS } from '../../../firmware-sim/take.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { featureShape } from '../../../model/features/feature-definition.ts'
import { type OpenedBundle, openBundle } from '../../../model/opened-bundle.ts'
import { type KwsOptions, packKws } from '../../fixtures/bundles.ts'
import { manifestSample } from '../../fixtures/manifest.ts'
import { syntheticBank } from '../../fixtures/sound-bank.ts'

const bank = syntheticBank()
const scene = SCENES[0]!
const calm = takePool(scene, false, [...bank.keywords.keys()])
const raised = takePool(scene, true, [...bank.keywords.keys()])
const few: readonly Take[] = [calm.steady[0]!, calm.speech[0]!, ...calm.keyword.slice(0, 4), raised.burst[0]!]

const opened: OpenedBundle[] = []
const open = async (options: KwsOptions = {}): Promise<OpenedBundle> => {
  const bundle = await openBundle((await packKws(options)).bundle, new EngineOrtNode(), Number.POSITIVE_INFINITY)
  if (!bundle.ok) throw new Error(bundle.error.detail)
  opened.push(bundle.value)
  return bundle.value
}
let kws: OpenedBundle
beforeAll(async () => {
  kws = await open()
})
afterAll(() => Promise.all(opened.map((bundle) => bundle.dispose())))

const hearing = (seed = 1) => new Hearing(soundSenses(bank, seededRandom(seed)))
const hearAll = (ears: Hearing<Take>, bundle: OpenedBundle, level: LadderLevel, takes = few) => {
  const memory = ears.memoryOf(bundle, level)
  return Promise.all(takes.map((take) => ears.hear(memory, take)))
}

describe('hearing', () => {
  it('is what the shipping listener hears: the same windows, posteriors and wakes from the same sound', async () => {
    const take = calm.keyword[0]!
    const [heard] = await hearAll(hearing(), kws, 'full', [take])
    const step = kws.manifest.ladder.find(({ level }) => level === 'full')!
    const hopSamples = step.runs[0]!.hopFrames * featureShape(kws.definition).strideSamples
    const lead = featureShape(kws.definition).windowSamples - hopSamples
    const listener = createListener({ ...kws, step })
    const sound = renderTake(take, scene.calm, bank, seededRandom(1))
    const bare = await listener.listen(sound.subarray(LEAD_SAMPLES - lead))
    if (!bare.ok) throw new Error(bare.error.detail)
    expect(heard!.posteriorBins).toEqual(bare.value.posteriorBins)
    expect(heard!.wakes.map(({ label, features }) => [label, features])).toEqual(
      bare.value.wakes.map(({ label, features }) => [label, features]),
    )
    expect(heard!.windows).toBe((TAKE_MS / 1000) * 5)
    expect(heard!.listeningMs).toBe(TAKE_MS)
    expect(labelsOfPipeline(kws.manifest)[heard!.wakes[0]!.label]).toBe(take.expected)
  })

  it('remembers: heard again is the very same, at once, and equals what is heard afresh', async () => {
    const ears = hearing()
    const memory = ears.memoryOf(kws, 'full')
    expect(ears.recall(memory, few[0]!)).toBeUndefined()
    const first = await hearAll(ears, kws, 'full')
    const inferred = ears.inferred
    expect(inferred).toBeGreaterThan(0)
    expect(few.map((take) => ears.recall(memory, take))).toEqual(first)
    await hearAll(ears, kws, 'full')
    expect(ears.inferred).toBe(inferred)
    expect(await hearAll(hearing(), kws, 'full')).toEqual(first)
  })

  it('listens once when many devices ask at the same time', async () => {
    const ears = hearing()
    const memory = ears.memoryOf(kws, 'full')
    const all = await Promise.all(Array.from({ length: 8 }, () => ears.hear(memory, few[0]!)))
    expect(new Set(all).size).toBe(1)
    expect(ears.inferred).toBeLessThanOrEqual(all[0]!.inferences)
  })

  it('infers nothing new at the gated level where full has been', async () => {
    const ears = hearing()
    await hearAll(ears, kws, 'full')
    const inferred = ears.inferred
    const gated = await hearAll(ears, kws, 'gated')
    expect(ears.inferred).toBe(inferred)
    const sum = joinHeard(gated)
    expect(sum.inferences).toBeLessThan(sum.windows)
    expect(sum.inferences).toBeGreaterThan(0)
  })

  it('shares what the lite graph hears between bundles, and nothing of what their full graphs hear', async () => {
    const ears = hearing()
    const other = await open({ name: 'kws-2', version: 2, model: 'kws-2' })
    const before = ears.memoryOf(kws, 'lite')
    expect(ears.memoryOf(other, 'lite')).toBe(before)
    expect(ears.memoryOf(other, 'full')).not.toBe(ears.memoryOf(kws, 'full'))
    await hearAll(ears, kws, 'lite')
    const inferred = ears.inferred
    await hearAll(ears, other, 'lite')
    expect(ears.inferred).toBe(inferred)
  })

  it.each<[string, KwsOptions['change']]>([
    ['another threshold', { policy: { ...manifestSample.policy, thresholdPermille: 1_000 } }],
    ['other ignored labels', { policy: { ...manifestSample.policy, ignoreLabels: ['silence', 'unknown', 'go'] } }],
    [
      'another gate',
      { ladder: manifestSample.ladder.map((step) => ({ ...step, gate: { marginDb: 30, hangoverMs: 0 } })) },
    ],
    ['another quantization of its feature maps', { featureQuantization: { scale: 0.9, zeroPoint: 70 } }],
  ])('keeps apart a bundle with the same graphs and %s', async (_, change) => {
    const ears = hearing()
    const other = await open({ change })
    expect(ears.memoryOf(other, 'full')).not.toBe(ears.memoryOf(kws, 'full'))
    const [mine, theirs] = [await hearAll(ears, kws, 'full'), await hearAll(ears, other, 'full')]
    expect(theirs).toEqual(await hearAll(hearing(), other, 'full'))
    expect(theirs).not.toEqual(mine)
  })

  it('listens a tenth of the time at the sparse level', async () => {
    for (const heard of await hearAll(hearing(), kws, 'sparse')) {
      expect(heard.listeningMs).toBe(TAKE_MS / 10)
      expect(heard.elapsedMs).toBe(TAKE_MS)
      expect(heard.windows).toBe(1)
    }
  })

  it('hears nothing in hibernation, and time passes', async () => {
    const ears = hearing()
    const [heard] = await hearAll(ears, kws, 'hibernate')
    expect(heard).toMatchObject({ listeningMs: 0, elapsedMs: TAKE_MS, windows: 0, inferences: 0, wakes: [] })
    expect(ears.inferred).toBe(0)
  })

  it('fails on a take of no scene', async () => {
    const ears = hearing()
    await expect(ears.hear(ears.memoryOf(kws, 'full'), { ...few[0]!, scene: 'moon' })).rejects.toThrow(/moon/)
  })
})

describe('joining takes', () => {
  it('adds up every count and shifts wakes by the time before them', async () => {
    const all = await hearAll(hearing(), kws, 'full')
    const sum = joinHeard(all)
    for (const name of [
      'listeningMs',
      'elapsedMs',
      'windows',
      'openWindows',
      'inferences',
      'gateOpenings',
      'overruns',
    ] as const) {
      expect(sum[name], name).toBe(all.reduce((total, heard) => total + heard[name], 0))
    }
    for (const bins of ['posteriorBins', 'noiseBins'] as const) {
      expect(sum[bins]).toEqual(sum[bins].map((_, i) => all.reduce((total, heard) => total + heard[bins][i]!, 0)))
    }
    const shifted = all.flatMap(({ wakes }, i) => wakes.map(({ atMs }) => atMs + i * TAKE_MS))
    expect(shifted.length).toBeGreaterThan(0)
    expect(sum.wakes.map(({ atMs }) => atMs)).toEqual(shifted)
    expect(sum.posteriorBins.reduce((a, b) => a + b)).toBe(sum.inferences)
    expect(sum.noiseBins.reduce((a, b) => a + b)).toBe(sum.windows)
  })

  it('is nothing for no takes, and leaves what it joined alone', async () => {
    expect(joinHeard([])).toMatchObject({ elapsedMs: 0, windows: 0, wakes: [] })
    const [heard] = await hearAll(hearing(), kws, 'full', [calm.keyword[0]!])
    const copy = structuredClone(heard) as Heard
    joinHeard([heard!, heard!])
    expect(heard).toEqual(copy)
  })
})
