import type { Clock } from '../../contract/clock.ts'
import type { LadderLevel } from '../../contract/ladder-levels.ts'
import { ok, type Result } from '../../contract/result.ts'
import { type EngineError, engineFailure } from '../../model/engine/engine.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import type { AgentHost } from './host.ts'
import type { Heard } from './listen/heard.ts'
import { createListener, type Listener } from './listen/listener.ts'

export interface EarsOptions {
  /** for audio that does not wait, see ListenerOptions.clock; without it every window is inferred */
  readonly clock?: Clock
}

/** Joins a host and the listener of what it runs: bundle and level both change under an update or the governor. Sound that has nothing
 *  to do with what came before wants ears of its own. */
export class Ears {
  readonly #host: AgentHost
  readonly #options: EarsOptions
  #bundle: OpenedBundle | undefined
  #level: LadderLevel | undefined
  #listener: Listener | undefined

  constructor(host: AgentHost, options: EarsOptions = {}) {
    this.#host = host
    this.#options = options
  }

  /** Hears a stretch of audio and has the agent count it. An engine that fails is told to the agent, which goes on as far as it can.
   *  @param samples of the bundle's input, see Listener
   *  @param beforeCounted told what was heard before the agent is: where time is the audio's, it moves on here
   *  @returns what was heard; undefined when the device hears nothing (between a reset and the next boot, hibernating, or because its
   *    bundle was replaced meanwhile); or the engine's error */
  async hear(
    samples: Float32Array,
    beforeCounted: (heard: Heard) => void = () => undefined,
  ): Promise<Result<Heard | undefined, EngineError>> {
    const listener = this.#listen()
    if (listener === undefined) return ok(undefined)
    const heard = await listener.listen(samples)
    if (heard.ok) {
      beforeCounted(heard.value)
      this.#host.hear(heard.value)
      return heard
    }
    if (heard.error.code === 'engine-disposed') return ok(undefined)
    this.#host.dispatch({ type: 'engine-failed', error: engineFailure(heard.error) })
    return heard
  }

  #listen(): Listener | undefined {
    const { bundle, level } = this.#host
    if (bundle === undefined || level === undefined) return undefined
    if (bundle === this.#bundle && level === this.#level) return this.#listener
    const { manifest, definitions, sessions } = bundle
    const step = manifest.ladder.find((candidate) => candidate.level === level)
    const graphs = step?.runs.flatMap((run) => run?.graphs ?? []) ?? []
    this.#bundle = bundle
    this.#level = level
    this.#listener =
      step === undefined || graphs.length === 0 || graphs.some((id) => !sessions.has(id))
        ? undefined
        : createListener({ manifest, definitions, step, sessions, ...this.#options })
    return this.#listener
  }
}
