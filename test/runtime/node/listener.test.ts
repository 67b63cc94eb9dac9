import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { LadderLevel } from '../../../contract/ladder-levels.ts'
import type { Heard } from '../../../device/core/listen/heard.ts'
import { createListener, type Listener } from '../../../device/core/listen/listener.ts'
import { joinHeard } from '../../../firmware-sim/hearing.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { type FeatureDefinition, featureShape } from '../../../model/features/feature-definition.ts'
import { mfccDefinitionHighPass } from '../../../model/features/mfcc-definition.ts'
import { type OpenedBundle, openBundle } from '../../../model/opened-bundle.ts'
import { noise, sceneOf, utterances } from '../../fixtures/audio.ts'
import { packKws } from '../../fixtures/bundles.ts'
import { LABELS } from '../../fixtures/manifest.ts'

let bundle: OpenedBundle
beforeAll(async () => {
  const opened = await openBundle((await packKws()).bundle, new EngineOrtNode(), Number.POSITIVE_INFINITY)
  if (!opened.ok) throw new Error(opened.error.detail)
  bundle = opened.value
})
afterAll(() => bundle.dispose())

const listenerOf = (level: LadderLevel): Listener => {
  const step = bundle.manifest.ladder.find((candidate) => candidate.level === level)!
  return createListener({ ...bundle, step })
}
const listen = async (listener: Listener, samples: Float32Array): Promise<Heard> => {
  const heard = await listener.listen(samples)
  if (!heard.ok) throw new Error(heard.error.detail)
  return heard.value
}
const hear = (level: LadderLevel, samples: Float32Array) => listen(listenerOf(level), samples)
/** The same audio cut at the given lengths, over and over; what was heard added up. */
const hearInPieces = async (level: LadderLevel, samples: Float32Array, lengths: readonly number[]): Promise<Heard> => {
  const listener = listenerOf(level)
  const pieces: Heard[] = []
  for (let at = 0, i = 0; at < samples.length; at += lengths[i++ % lengths.length]!)
    pieces.push(await listen(listener, samples.subarray(at, at + lengths[i % lengths.length]!)))
  return joinHeard(pieces)
}
/** With each inference by itself, since a run ends with its stretch. */
const oneByOne = (level: LadderLevel, heard: Heard) => {
  const hopMs = 20 * bundle.manifest.ladder.find((step) => step.level === level)!.runs[0]!.hopFrames
  const inferredAtMs = heard.inferenceRuns!.flatMap(({ fromMs, count }) =>
    Array.from({ length: count }, (_, i) => Math.round(fromMs + i * hopMs)),
  )
  expect(inferredAtMs).toHaveLength(heard.inferences)
  return { ...heard, inferenceRuns: inferredAtMs }
}

describe('audio that does not wait', () => {
  it('drops windows that come due while an inference takes too long, and counts them', async () => {
    const step = bundle.manifest.ladder.find(({ level }) => level === 'full')!
    const run = step.runs[0]!
    const session = bundle.sessions.get(run.graphs[0]!)!
    const hopMs =
      (1000 * run.hopFrames * featureShape(bundle.definition).strideSamples) / bundle.definition.sampleRateHz
    const hearWith = async (tookMs: number) => {
      let nowMs = 0
      const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs, after: () => () => undefined }
      const slow = {
        ...session,
        run: (window: Float32Array) => {
          nowMs += tookMs
          return session.run(window)
        },
      }
      return listen(
        createListener({ ...bundle, step, sessions: new Map([['full', slow]]), clock }),
        noise(6 * 16_000, 0.05),
      )
    }
    const intime = await hearWith(hopMs)
    expect(intime).toMatchObject({ overruns: 0, inferences: intime.windows })
    const late = await hearWith(2 * hopMs)
    expect(late.windows).toBe(intime.windows)
    expect(late.overruns + late.inferences).toBe(late.windows)
    expect(Math.abs(late.overruns - late.windows / 2)).toBeLessThanOrEqual(1)
  })
})

describe('streaming over real audio', () => {
  it('finds keywords where they are, by their name, and carries their features', async () => {
    let found = 0
    let spoken = 0
    for (const label of ['go', 'yes', 'stop', 'left', 'no']) {
      for (const utterance of utterances(label).slice(0, 3)) {
        spoken++
        const { wakes } = await hear('full', sceneOf(4, [[1.5, utterance]]))
        const wake = wakes.find((each) => LABELS[each.label] === label)
        if (wake === undefined) continue
        found++
        expect(wake.atMs).toBeGreaterThan(1_500)
        expect(wake.atMs).toBeLessThan(3_700)
        expect(wake.posteriorPermille).toBeGreaterThanOrEqual(500)
        expect(wake.features).toHaveLength(490)
      }
    }
    // The zoo's own card says how good the network is; here it has to be plainly more than chance.
    expect(found / spoken).toBeGreaterThan(0.5)
  })

  it('is quiet in silence and in noise, and tells their level', async () => {
    const silence = await hear('full', new Float32Array(5 * 16_000))
    expect(silence.wakes).toEqual([])
    expect(silence.noiseBins[0]).toBe(silence.windows)
    const hiss = await hear('full', noise(5 * 16_000, 0.0024))
    expect(hiss.wakes).toEqual([])
    // 0.0024 rms is -52.4 dBFS
    expect(hiss.noiseBins[3]).toBe(hiss.windows)
  })

  it('counts windows by hops of 200 ms from the first full second', async () => {
    const heard = await hear('full', noise(10 * 16_000, 0.001))
    expect(heard).toMatchObject({ windows: 46, inferences: 46, listeningMs: 10_000, elapsedMs: 10_000, overruns: 0 })
    expect(heard.posteriorBins.reduce((a, b) => a + b)).toBe(46)
    expect(heard.noiseBins.reduce((a, b) => a + b)).toBe(46)
    expect(await hear('full', new Float32Array(0))).toMatchObject({ windows: 0, elapsedMs: 0, wakes: [] })
  })

  it('a broken engine is told, not thrown', async () => {
    const step = bundle.manifest.ladder[0]!
    const failing = {
      ...bundle.sessions.get('full')!,
      run: async () => ({ ok: false as const, error: { code: 'engine-run-failed' as const, detail: 'x' } }),
    }
    const listener = createListener({ ...bundle, step, sessions: new Map([['full', failing]]) })
    expect(await listener.listen(noise(16_000, 0.01))).toMatchObject({
      ok: false,
      error: { code: 'engine-run-failed' },
    })
  })
})

describe('levels of the ladder on the same audio', () => {
  const minute = () =>
    sceneOf(
      60,
      utterances('go')
        .slice(0, 3)
        .map((sound, i) => [10 + 15 * i, sound] as const),
    )

  it('gated runs far fewer inferences than full, and finds the same words', async () => {
    const [full, gated] = [await hear('full', minute()), await hear('gated', minute())]
    expect(full.inferences).toBe(full.windows)
    expect(gated.windows).toBe(full.windows)
    expect(gated.inferences).toBe(gated.openWindows)
    expect(gated.inferences).toBeLessThan(full.inferences / 3)
    expect(gated.gateOpenings).toBe(3)
    expect(gated.wakes.map(({ label }) => label)).toEqual(full.wakes.map(({ label }) => label))
    expect(full.wakes.length).toBeGreaterThan(0)
  })

  it('lite runs the small network behind the same gate', async () => {
    const [gated, lite] = [await hear('gated', minute()), await hear('lite', minute())]
    expect(lite.inferences).toBe(gated.inferences)
  })

  it('sparse listens a tenth of the time', async () => {
    const heard = await hear('sparse', minute())
    expect(heard).toMatchObject({ elapsedMs: 60_000, listeningMs: 6_000, windows: 6 })
    // The first second of every ten, as far as it has passed.
    expect((await hear('sparse', minute().subarray(0, 8_000))).listeningMs).toBe(500)
    expect((await hear('sparse', minute().subarray(0, 16_000 * 7))).listeningMs).toBe(1_000)
    expect((await hear('sparse', minute().subarray(0, 16_000 * 10.25))).listeningMs).toBe(1_250)
  })
})

describe('cut into chunks of any size', () => {
  const audio = () =>
    sceneOf(13, [
      [2, utterances('go')[0]!],
      [8, utterances('stop')[0]!],
    ])

  it.each(['full', 'gated', 'lite', 'sparse'] as const)('%s hears exactly the same', async (level) => {
    const whole = await hear(level, audio())
    if (level === 'full') expect(whole.wakes.length).toBeGreaterThan(0)
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 50, max: 40_000 }), { minLength: 1, maxLength: 6 }),
        async (lengths) => {
          expect(oneByOne(level, await hearInPieces(level, audio(), lengths))).toEqual(oneByOne(level, whole))
        },
      ),
      { numRuns: 8 },
    )
    expect(oneByOne(level, await hearInPieces(level, audio(), [3_200]))).toEqual(oneByOne(level, whole))
  })
})

describe('a microphone with an offset', () => {
  const words = ['yes', 'no', 'stop'].flatMap((label) =>
    utterances(label)
      .slice(0, 4)
      .map((clip) => [label, clip] as const),
  )
  /** Words of the bank a second into a quiet room, each by itself, and how many the gated level finds. */
  const found = async (definition: FeatureDefinition, offset: number): Promise<number> => {
    const step = bundle.manifest.ladder.find(({ level }) => level === 'gated')!
    let count = 0
    for (const [label, clip] of words) {
      const scene = sceneOf(3, [[1, clip]]).map((sample) => sample + offset)
      const listener = createListener({ ...bundle, definitions: [definition], step })
      const { wakes } = await listen(listener, scene)
      if (wakes.some((wake) => LABELS[wake.label] === label)) count++
    }
    return count
  }

  it('is heard behind a high-pass as one without, and blinds the gate without it', async () => {
    const clean = await found(mfccDefinitionHighPass, 0)
    expect(clean).toBeGreaterThanOrEqual(6)
    expect(await found(bundle.definition, 0)).toBeGreaterThanOrEqual(clean - 1)
    for (const offset of [0.005, 0.05, 0.2]) expect(await found(mfccDefinitionHighPass, offset)).toBe(clean)
    expect(await found(bundle.definition, 0.2)).toBe(0)
  })
})

it('a steady tone of a minute wakes at most once a label', async () => {
  for (const hz of [440, 1_000, 2_500]) {
    const tone = Float32Array.from({ length: 60 * 16_000 }, (_, i) => 0.3 * Math.sin((2 * Math.PI * hz * i) / 16_000))
    const { wakes } = await hear('full', tone)
    expect(wakes.length).toBeLessThanOrEqual(2)
  }
})

it('what runs when, and what the microphone was like, are told with the rest', async () => {
  const heard = await hear('full', noise(3 * 16_000, 0.05))
  expect(heard.inferenceRuns).toEqual([{ fromMs: 1_000, count: 11, hopMs: 200, macs: 2_656_768 }])
  expect(heard.microphone).toEqual({ clippedMs: 0, stuckMs: 0, silentMs: 0 })
  expect((await hear('full', new Float32Array(2 * 16_000))).microphone).toMatchObject({ silentMs: 1_200 })
})
