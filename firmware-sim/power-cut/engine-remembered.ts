import type { Engine, EngineIo, EngineSession } from '../../model/engine/engine.ts'
import { SharedEngine } from '../engine-shared.ts'

/** An engine that runs each window through each graph once and remembers the answer: the networks are deterministic, and a sweep asks
 *  the same golden vectors tens of thousands of times. What it answers is what the engine below answered. */
export class RememberedEngine implements Engine {
  readonly name: string
  readonly #shared: SharedEngine
  readonly #answers = new WeakMap<object, Map<string, ReturnType<EngineSession['run']>>>()

  constructor(engine: Engine) {
    this.#shared = new SharedEngine(engine)
    this.name = engine.name
  }

  async load(graph: Uint8Array, io?: EngineIo): ReturnType<Engine['load']> {
    const loaded = await this.#shared.load(graph, io)
    // A graph that remembers answers the same window otherwise the next time.
    if (!loaded.ok || loaded.value.reset !== undefined) return loaded
    const { input, output, run, dispose } = loaded.value
    // The tensors' descriptions are the shared session's own objects: one a loaded graph.
    const answers = this.#answers.get(input) ?? new Map<string, ReturnType<EngineSession['run']>>()
    this.#answers.set(input, answers)
    const remembered: EngineSession['run'] = (window) => {
      const key = new TextDecoder('latin1').decode(new Uint8Array(window.buffer, window.byteOffset, window.byteLength))
      const answer = answers.get(key) ?? run(window)
      answers.set(key, answer)
      return answer
    }
    return { ok: true, value: { input, output, run: remembered, dispose } }
  }

  close(): Promise<void> {
    return this.#shared.close()
  }
}
