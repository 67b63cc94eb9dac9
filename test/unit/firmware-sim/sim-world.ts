import { createHash } from 'node:crypto'
import { bytesEqual } from '../../../contract/bytes.ts'
import { err, ok } from '../../../contract/result.ts'
import type { Transport, TransportEvent } from '../../../device/ports/transport.ts'
import { type Scene, scenePools, type TakePool } from '../../../firmware-sim/scene.ts'
import type { Engine, EngineSession } from '../../../model/engine.ts'

const hashOf = (...parts: Uint8Array[]): Uint8Array => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

const io = { name: 'x', elementType: 'float32', quantization: null } as const

/** An engine whose posteriors are a cheap function of graph and window: fleets in tests need numbers that differ, not speech.
 *  `hold` keeps runs of one graph waiting until `release`. */
export class EngineFake implements Engine {
  readonly name = 'fake'
  loads = 0
  runs = 0
  disposed = 0
  failing = false
  #held: { readonly graph: Uint8Array; readonly until: Promise<void> } | undefined

  hold(graph: Uint8Array): () => void {
    let release = (): void => undefined
    const until = new Promise<void>((resolve) => {
      release = resolve
    })
    this.#held = { graph: hashOf(graph), until }
    return release
  }

  async load(graph: Uint8Array): ReturnType<Engine['load']> {
    this.loads++
    if (this.failing) return err({ code: 'engine-load-failed', detail: 'asked to' })
    const seed = hashOf(graph)
    const session: EngineSession = {
      input: { ...io, dims: [1, 490], elements: 490 },
      output: { ...io, dims: [1, 12], elements: 12 },
      run: async (window) => {
        this.runs++
        const digest = hashOf(new Uint8Array(window.buffer, window.byteOffset, window.byteLength))
        if (this.#held !== undefined && bytesEqual(this.#held.graph, seed)) await this.#held.until
        // Often enough that two windows in a row agree on the word, which is what a wake takes.
        const winner = digest[0]! < 48 ? 2 + (seed[0]! % 10) : 0
        return ok(Float32Array.from({ length: 12 }, (_, i) => (i === winner ? 0.9 : 0.009)))
      },
      dispose: async () => {
        this.disposed++
      },
    }
    return ok(session)
  }
}

/** A gateway that acknowledges within the call, so that a fleet's trace depends on nothing of the event loop. Keeps a running
 *  hash of all it was told. */
export class TransportRecorder implements Transport {
  trace = hashOf()
  messages = 0
  #listener: ((event: TransportEvent) => void) | undefined

  open(listener: (event: TransportEvent) => void): void {
    this.#listener = listener
    listener({ type: 'connected' })
  }

  publish(id: number, kind: string, payload: Uint8Array): void {
    this.messages++
    this.trace = hashOf(this.trace, new TextEncoder().encode(kind), payload)
    this.#listener?.({ type: 'published', id })
  }

  async close(): Promise<void> {
    this.#listener = undefined
  }
}

/** Pools of a few takes of each kind: a test that hears them all is done in a second. */
export function fewTakes(keywords: readonly string[]): (scene: Scene) => readonly [calm: TakePool, raised: TakePool] {
  const pools = scenePools(keywords)
  const known = new Map<string, readonly [TakePool, TakePool]>()
  const few = ({ ambience, steady, burst, speech, keyword }: TakePool): TakePool => ({
    ambience,
    steady: steady.slice(0, 2),
    burst: burst.slice(0, 3),
    speech: speech.slice(0, 3),
    keyword: keyword.slice(0, 3),
  })
  return (scene) => {
    const [calm, raised] = pools(scene)
    const made = known.get(scene.name) ?? [few(calm), few(raised)]
    known.set(scene.name, made)
    return made
  }
}
