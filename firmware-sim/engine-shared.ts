import { sha256Hex } from '../contract/bytes.ts'
import type { Engine, EngineIo, EngineSession } from '../model/engine/engine.ts'

/** An engine that loads each distinct graph once for a whole fleet: hundreds of devices run the same few networks. Sessions stay
 *  loaded until `close`. A graph that remembers what it has heard is loaded for each. */
export class SharedEngine implements Engine {
  readonly name: string
  readonly #engine: Engine
  readonly #sessions = new Map<string, ReturnType<Engine['load']>>()

  constructor(engine: Engine) {
    this.#engine = engine
    this.name = engine.name
  }

  async load(graph: Uint8Array, io?: EngineIo): ReturnType<Engine['load']> {
    const key = `${sha256Hex(graph)} ${JSON.stringify(io ?? {})}`
    const known = this.#sessions.get(key)
    const loading = known ?? this.#engine.load(graph, io)
    this.#sessions.set(key, loading)
    const loaded = await loading
    if (!loaded.ok) return loaded
    // What a graph remembers is one device's.
    if (loaded.value.reset !== undefined) return known === undefined ? loaded : this.#engine.load(graph, io)
    const { input, output } = loaded.value
    const run: EngineSession['run'] = (window) => loaded.value.run(window)
    return { ok: true, value: { input, output, run, dispose: async () => undefined } }
  }

  async close(): Promise<void> {
    for (const loading of this.#sessions.values()) {
      const loaded = await loading
      if (loaded.ok) await loaded.value.dispose()
    }
    this.#sessions.clear()
  }
}
