import { expect, it, onTestFinished } from 'vitest'
import { contractError } from '../../../contract/errors.ts'
import { err, ok } from '../../../contract/result.ts'
import { MessageCounters } from '../../../gateway/message-counters.ts'
import type { StoreClient } from '../../../gateway/store/store-client.ts'
import { Verifier, type VerifierModel } from '../../../gateway/verifier.ts'
import type { Engine, EngineSession } from '../../../model/engine/engine.ts'
import { ManualClock } from '../../fixtures/cloud-world.ts'
import { HOUR } from '../../fixtures/synthetic-fleet.ts'
import { notedLog } from '../../fixtures/timers.ts'

const quantization = { scale: 0.25, zeroPoint: 0 }
const labels = ['silence', 'unknown', 'go']

/** Judges one wake each of label "go" with these posteriors: a network that says what it hears.
 *  @returns what was booked, by wake */
async function judged(posteriors: readonly number[], threshold?: number): Promise<(boolean | undefined)[]> {
  const session = {
    input: { elements: 1 },
    run: async (window: Float32Array) => ok(Float32Array.of(0, 0, window[0] ?? Number.NaN)),
    dispose: async () => undefined,
  } as Partial<EngineSession> as EngineSession
  const engine: Engine = { name: 'echo', load: async () => ok(session) }
  const booked: (boolean | undefined)[] = []
  let done: () => void = () => undefined
  const all = new Promise<void>((resolve) => {
    done = resolve
  })
  const store = {
    async ask(method: string, ...more: unknown[]) {
      if (method === 'pendingWakes') {
        const after = more[0] as number
        return posteriors
          .map((posterior, i) => ({
            id: i + 1,
            model: 'm',
            pipeline: 0,
            label: 2,
            features: Uint8Array.of(posterior / 0.25),
          }))
          .filter(({ id }) => id > after)
      }
      booked.push(more[1] as boolean | undefined)
      if (booked.length === posteriors.length) done()
      return true
    },
  } as unknown as StoreClient
  const model: VerifierModel = {
    ...{ graph: new Uint8Array(), labels, featureQuantization: quantization },
    ...(threshold !== undefined && { threshold }),
  }
  const verifier = await Verifier.open(
    {
      ...{ store, clock: { wallMs: () => 0, monotonicMs: () => 0, after: () => () => undefined } },
      ...{ counters: new MessageCounters(), logger: notedLog(), publishVerdict: () => undefined },
      formatOf: async () => ({ pipelines: [{ labels, featureQuantization: quantization }] }),
      artifact: async () => err(contractError('artifact-not-found', 'none')),
    },
    model,
    engine,
  )
  onTestFinished(() => verifier.close())
  verifier.wake()
  await all
  return booked
}

it.each([
  [undefined, [false, true, true, true]],
  [0.75, [false, false, true, true]],
  [0.25, [true, true, true, true]],
  [1, [false, false, false, true]],
])('a wake is confirmed from the threshold %s on: of .25, .5, .75 and 1', async (threshold, confirmed) => {
  expect(await judged([0.25, 0.5, 0.75, 1], threshold)).toEqual(confirmed)
})

it('a wake of a release whose verifier is not to be had waits for an hour, and goes unjudged then; others go on meanwhile', async () => {
  const session = {
    input: { elements: 1 },
    run: async () => ok(Float32Array.of(0, 0, 1)),
    dispose: async () => undefined,
  }
  const engine: Engine = { name: 'echo', load: async () => ok(session as unknown as EngineSession) }
  const clock = new ManualClock()
  // A machine that has been up for days.
  clock.advanceTo(clock.wallMs() + 5 * 24 * HOUR)
  const startMs = clock.monotonicMs()
  const pending = new Map([1, 2].map((id) => [id, id === 1 ? 'without' : 'm']))
  const booked: [id: number, confirmed: boolean | undefined, afterMs: number][] = []
  const store = {
    async ask(method: string, ...more: unknown[]) {
      const [first, verdict] = more as [number | { id: number }, boolean | undefined]
      if (method === 'pendingWakes') {
        const shared = { pipeline: 0, label: 2, features: Uint8Array.of(4) }
        return [...pending].filter(([id]) => id > Number(first)).map(([id, model]) => ({ id, model, ...shared }))
      }
      const id = typeof first === 'number' ? first : first.id
      pending.delete(id)
      booked.push([id, verdict, clock.monotonicMs() - startMs])
      return true
    },
  } as unknown as StoreClient
  const pipelines = [{ labels, featureQuantization: quantization }]
  const verifier = await Verifier.open(
    {
      ...{ store, clock, counters: new MessageCounters(), logger: notedLog(), publishVerdict: () => undefined },
      formatOf: async (model) => ({ pipelines, ...(model === 'without' && { verifier: 'f'.repeat(64) }) }),
      artifact: async () => err(contractError('unavailable', 'the cloud is away')),
    },
    { graph: new Uint8Array(), labels, featureQuantization: quantization },
    engine,
  )
  onTestFinished(() => verifier.close())
  verifier.wake()
  for (let i = 0; i < 8 * 60; i++) {
    clock.advanceTo(clock.wallMs() + 10_000)
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
  expect(booked).toEqual([
    [2, true, 10_000],
    [1, undefined, expect.any(Number)],
  ])
  expect(booked[1]?.[2]).toBeGreaterThanOrEqual(HOUR)
  expect(booked[1]?.[2]).toBeLessThan(HOUR + 60_000)
})
