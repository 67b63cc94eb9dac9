import { expect, it, onTestFinished } from 'vitest'
import { contractError } from '../../../contract/errors.ts'
import { err, ok } from '../../../contract/result.ts'
import { MessageCounters } from '../../../gateway/message-counters.ts'
import type { StoreClient } from '../../../gateway/store/store-client.ts'
import { Verifier, type VerifierModel } from '../../../gateway/verifier.ts'
import type { Engine, EngineSession } from '../../../model/engine/engine.ts'
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
