import { describe, expect, it } from 'vitest'
import type { LadderLevel } from '../../../../../contract/ladder-levels.ts'
import type { Heard, HeardWake } from '../../../../../device/core/listen/heard.ts'
import { createListener, type Listener } from '../../../../../device/core/listen/listener.ts'
import { mfccDefinitionV1 } from '../../../../../model/features/mfcc-definition.ts'
import { LABELS, manifestSample, pipelineSample } from '../../../../fixtures/manifest.ts'
import { posteriorsOf, SessionFake } from '../../../../fixtures/session.ts'

/** Samples of a millisecond: windows are of 1 s, at full level one every 200 ms from the first whole second on. */
const MS = 16
const QUIET = 0.001
/** Sound of a level and no pitch: each sample is `rms` or `-rms`. */
const sound = (ms: number, rms: number) => Float32Array.from({ length: ms * MS }, (_, i) => (i % 2 === 0 ? rms : -rms))
/** Another sound, since a window's features do not tell how loud it is. */
const deep = (ms: number) => Float32Array.from({ length: ms * MS }, (_, i) => Math.sin(i / 20) / 10)
const joined = (...parts: readonly Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]))

const stepOf = (level: LadderLevel) => pipelineSample.ladder.find((step) => step.level === level)!
const silence = () => new SessionFake(() => posteriorsOf('silence', 1))
const always = (label: string, p: number) => new SessionFake(() => posteriorsOf(label, p))
const listenerOf = (level: LadderLevel, session: SessionFake, tookMs?: number): Listener => {
  let nowMs = 0
  const run = session.run.bind(session)
  session.run = (window) => {
    nowMs += tookMs ?? 0
    return run(window)
  }
  const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs, after: () => () => undefined }
  return createListener({
    manifest: pipelineSample,
    definitions: [mfccDefinitionV1],
    step: stepOf(level),
    sessions: new Map([
      ['full', session],
      ['lite', session],
    ]),
    ...(tookMs !== undefined && { clock }),
  })
}
const listen = async (
  listener: Listener,
  samples: Float32Array,
  onWake?: (wake: HeardWake) => void,
): Promise<Heard> => {
  const heard = await listener.listen(samples, onWake)
  if (!heard.ok) throw new Error(heard.error.detail)
  return heard.value
}

describe('windows', () => {
  it.each([
    [0, 0],
    [16_000 - 1, 0],
    [16_000, 1],
    [19_200 - 1, 1],
    [19_200, 2],
    [48_000, 11],
  ])('of %d samples are %d', async (samples, windows) => {
    const session = silence()
    const heard = await listen(listenerOf('full', session), new Float32Array(samples))
    expect(heard).toMatchObject({ windows, inferences: windows, overruns: 0, wakes: [] })
    expect(session.runs).toBe(windows)
    expect(heard.elapsedMs).toBe(samples / MS)
    expect(heard.listeningMs).toBe(samples / MS)
  })

  it('go on over the seam of two stretches', async () => {
    const listener = listenerOf('full', silence())
    expect(await listen(listener, sound(900, QUIET))).toMatchObject({ windows: 0, elapsedMs: 900 })
    expect(await listen(listener, sound(400, QUIET))).toMatchObject({ windows: 2, elapsedMs: 400, listeningMs: 400 })
  })

  it('are counted by level of the background and by best posterior, ignored labels aside', async () => {
    const quiet = await listen(listenerOf('full', silence()), sound(1_400, QUIET))
    // 0.001 is -60 dBFS: the first level that is not below -60.
    expect(quiet.noiseBins).toEqual([0, 0, 0, 3, 0, 0, 0, 0])
    expect(quiet.posteriorBins).toEqual([3, 0, 0, 0, 0, 0, 0, 0])
    // The mean of two windows is 200 permille after the first and 400 after that.
    const word = await listen(listenerOf('full', always('go', 0.4)), sound(1_400, QUIET))
    expect(word.posteriorBins).toEqual([0, 0, 0, 1, 2, 0, 0, 0])
    expect(word.wakes).toEqual([])
  })
})

describe('a graph that remembers what it has heard', () => {
  /** With what it answered since each reset. */
  const remembering = (): SessionFake & { readonly resets: number[] } => {
    const session = silence()
    const resets: number[] = []
    return Object.assign(session, { resets, reset: () => void resets.push(session.runs) })
  }

  it('begins anew with a listener, and goes on over the seam of two stretches', async () => {
    const session = remembering()
    const listener = listenerOf('full', session)
    await listen(listener, sound(1_300, QUIET))
    await listen(listener, sound(700, QUIET))
    expect([session.runs, session.resets]).toEqual([6, [0]])
    await listen(listenerOf('full', session), sound(1_000, QUIET))
    expect(session.resets).toEqual([0, 6])
  })

  it('begins anew after windows that were not inferred: behind a closed gate, or because it took too long', async () => {
    const gated = remembering()
    const listener = listenerOf('gated', gated)
    await listen(listener, joined(sound(3_000, QUIET), sound(1_000, 0.1), sound(4_000, QUIET), sound(1_000, 0.1)))
    expect(gated.resets).toHaveLength(2)
    expect(gated.resets[0]).toBe(0)
    expect(gated.resets[1]).toBeGreaterThan(0)
    const slow = remembering()
    // Each takes as long as three hops, so two of three windows are dropped.
    const heard = await listen(listenerOf('full', slow, 600), sound(3_000, QUIET))
    expect(heard.overruns).toBeGreaterThan(3)
    expect(slow.resets).toHaveLength(slow.runs)
  })
})

describe('a wake', () => {
  it('is told once it is sure, with the features of its window, and not again while the word goes on', async () => {
    const told: HeardWake[] = []
    const session = always('go', 0.75)
    const heard = await listen(listenerOf('full', session), sound(3_000, QUIET), (wake) => told.push(wake))
    // One window alone has a mean of 375 permille; the second one, at 1 200 ms, wakes.
    expect(heard.wakes.map(({ atMs }) => atMs)).toEqual([1_200])
    expect(told).toEqual(heard.wakes)
    const [wake] = heard.wakes
    expect(wake).toMatchObject({ label: LABELS.indexOf('go'), posteriorPermille: 750, noiseDb: -60 })
    const { scale, zeroPoint } = manifestSample.featureQuantization
    const quantized = [...session.windows[1]!].map((value) => {
      const whole = value / scale + zeroPoint
      return Math.min(127, Math.max(-128, Math.round(whole))) & 0xff
    })
    expect(wake!.features).toHaveLength(490)
    // But for halves, which the engine's rule rounds to the even one.
    const differing = quantized.filter((value, i) => Math.abs(value - wake!.features[i]!) > 1)
    expect(differing).toEqual([])
  })

  it('comes again after the word has gone, and not within the refractory second', async () => {
    // Heard for a second, gone for a window of two, and back.
    const session = new SessionFake((run) => posteriorsOf(run % 8 < 5 ? 'go' : 'silence', 1))
    const { wakes } = await listen(listenerOf('full', session), sound(5_000, QUIET))
    expect(wakes.map(({ atMs }) => atMs)).toEqual([1_000, 2_600, 4_200])
  })

  it('of a tone that sounds like a word for a minute is one', async () => {
    const { wakes } = await listen(listenerOf('full', always('go', 0.9)), sound(60_000, QUIET))
    expect(wakes).toHaveLength(1)
  })

  it('is timed from the start of its stretch', async () => {
    const listener = listenerOf('full', new SessionFake((run) => posteriorsOf(run < 2 ? 'silence' : 'yes', 1)))
    await listen(listener, sound(1_300, QUIET))
    // Windows at 1 400 and 1 600 ms of the stream; a smoothed mean of one window of two is 500 permille, and that wakes.
    expect((await listen(listener, sound(300, QUIET))).wakes).toMatchObject([{ atMs: 100, posteriorPermille: 500 }])
  })

  it('carries features of its own, however often the next window is written', async () => {
    const session = new SessionFake((run) => posteriorsOf(run < 4 || run > 7 ? 'go' : 'silence', 1))
    const { wakes } = await listen(listenerOf('full', session), joined(sound(2_000, QUIET), deep(1_200)))
    expect(wakes).toHaveLength(2)
    expect(wakes[0]!.features).not.toEqual(wakes[1]!.features)
  })
})

describe('a level behind the voice gate', () => {
  /** Loud for one hop, the one that ends at 2 200 ms. */
  const burst = joined(sound(2_000, QUIET), sound(200, 0.1), sound(1_800, QUIET))

  it('runs the network while the gate is open: at the loud hop and for a second after it', async () => {
    const session = silence()
    const heard = await listen(listenerOf('gated', session), burst)
    // Windows from 1 000 to 4 000 ms; open at 2 200 to 3 200.
    expect(heard).toMatchObject({ windows: 16, openWindows: 6, inferences: 6, gateOpenings: 1, listeningMs: 4_000 })
    expect(session.runs).toBe(6)
    expect(heard.noiseBins.reduce((a, b) => a + b)).toBe(16)
    expect(heard.posteriorBins.reduce((a, b) => a + b)).toBe(6)
  })

  it('counts openings by stretch', async () => {
    const listener = listenerOf('gated', silence())
    expect((await listen(listener, burst)).gateOpenings).toBe(1)
    expect((await listen(listener, sound(1_000, QUIET))).gateOpenings).toBe(0)
  })

  it('forgets what it was hearing when the gate closes', async () => {
    // Half a word before the gate closes and half after it opens again are no word: both means are below 500 permille.
    const p = 0.9
    const session = new SessionFake((run) => posteriorsOf('go', run === 5 || run === 6 ? p : 0))
    const heard = await listen(listenerOf('gated', session), joined(burst, sound(200, 0.1), sound(1_200, QUIET)))
    expect(heard).toMatchObject({ gateOpenings: 2, inferences: 12, wakes: [] })
    // The same word within one opening is one.
    const within = new SessionFake((run) => posteriorsOf('go', run === 4 || run === 5 ? p : 0))
    expect((await listen(listenerOf('gated', within), burst)).wakes).toHaveLength(1)
  })

  it('is only measured where the level does not gate', async () => {
    const heard = await listen(listenerOf('full', silence()), burst)
    expect(heard).toMatchObject({ windows: 16, openWindows: 6, inferences: 16, gateOpenings: 1 })
  })
})

describe('a level that sleeps between its windows', () => {
  it('has listened to its windows alone: a second in ten', async () => {
    const listener = listenerOf('sparse', silence())
    // The gate never opens on a steady sound.
    expect(await listen(listener, sound(10_400, QUIET))).toMatchObject({
      windows: 1,
      inferences: 0,
      elapsedMs: 10_400,
      listeningMs: 1_400,
    })
    // From 10.4 to 12 s: 600 ms are left of the window.
    expect(await listen(listener, sound(1_600, QUIET))).toMatchObject({
      windows: 1,
      elapsedMs: 1_600,
      listeningMs: 600,
    })
  })

  it('judges each window by itself', async () => {
    const listener = listenerOf('sparse', always('go', 0.5))
    const { wakes } = await listen(listener, joined(sound(10_000, QUIET), sound(1_000, 0.1)))
    expect(wakes).toMatchObject([{ atMs: 11_000, posteriorPermille: 500 }])
  })
})

describe('audio that does not wait', () => {
  // Windows at 1 000 to 3 000 ms: eleven.
  it.each([
    [200, 11, 0],
    [201, 11, 0],
    [400, 6, 5],
    [600, 4, 7],
  ])('inferences of %d ms in hops of 200: %d are run and %d windows dropped', async (tookMs, inferences, overruns) => {
    const heard = await listen(listenerOf('full', silence(), tookMs), sound(3_000, QUIET))
    expect(heard).toMatchObject({ windows: 11, inferences, overruns, inferenceMs: inferences * tookMs })
  })

  it('waits for every inference without a clock', async () => {
    const heard = await listen(listenerOf('full', silence()), sound(3_000, QUIET))
    expect(heard).toMatchObject({ inferences: 11, overruns: 0, inferenceMs: undefined })
  })
})

it('an engine that fails ends the stretch with its error', async () => {
  const session = new SessionFake((run) => (run === 1 ? 'engine-run-failed' : posteriorsOf('silence', 1)))
  const heard = await listenerOf('full', session).listen(sound(3_000, QUIET))
  expect(heard).toEqual({ ok: false, error: { code: 'engine-run-failed', detail: 'graph "full": run 1' } })
  expect(session.runs).toBe(2)
})
