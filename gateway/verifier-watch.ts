import type { Clock } from '../contract/clock.ts'
import type { Engine, EngineSession } from '../model/engine/engine.ts'

/** chosen: a thousand times what one wake takes */
const STUCK_MS = 60_000

/** An engine whose runs are watched: a verifier that fails on everything, or has stopped in the middle, is otherwise seen by nobody, since
 *  wakes are taken and wait. */
export class WatchedEngine implements Engine {
  readonly name: string
  readonly #engine: Engine
  readonly #clock: Clock
  /** runs that failed since one succeeded */
  #failures = 0
  #failure = ''
  #runningSinceMs: number | undefined

  constructor(engine: Engine, clock: Clock) {
    this.name = engine.name
    this.#engine = engine
    this.#clock = clock
  }

  /** Why the engine does not judge; undefined when it does, or has not been asked. */
  get trouble(): string | undefined {
    // chosen: as often as the verifier tries one wake
    if (this.#failures >= 3) return `${this.#failures} runs failed, the last with ${this.#failure}`
    const sinceMs = this.#runningSinceMs
    if (sinceMs === undefined || this.#clock.monotonicMs() - sinceMs < STUCK_MS) return undefined
    return `a run has not ended for ${Math.round((this.#clock.monotonicMs() - sinceMs) / 1000)} s`
  }

  async load(...args: Parameters<Engine['load']>): ReturnType<Engine['load']> {
    const loaded = await this.#engine.load(...args)
    return loaded.ok ? { ok: true, value: this.#watched(loaded.value) } : loaded
  }

  #watched(session: EngineSession): EngineSession {
    const run: EngineSession['run'] = async (window) => {
      this.#runningSinceMs ??= this.#clock.monotonicMs()
      try {
        const result = await session.run(window)
        this.#failures = result.ok ? 0 : this.#failures + 1
        if (!result.ok) this.#failure = `${result.error.code}: ${result.error.detail}`
        return result
      } catch (cause) {
        this.#failures++
        this.#failure = cause instanceof Error ? cause.message : String(cause)
        throw cause
      } finally {
        this.#runningSinceMs = undefined
      }
    }
    return { input: session.input, output: session.output, run, dispose: () => session.dispose() }
  }
}
