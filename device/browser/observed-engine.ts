import type { Engine, EngineSession } from '../../model/engine/engine.ts'

/** An engine whose results somebody else sees too, as the page that draws them.
 *  @param ran told of each run that succeeded, with the session and its result, which is the caller's: it is read and not kept */
export const observedEngine = (
  engine: Engine,
  ran: (session: EngineSession, result: Float32Array) => void,
): Engine => ({
  get name() {
    return engine.name
  },
  async load(graph, io) {
    const loaded = await engine.load(graph, io)
    if (!loaded.ok) return loaded
    const inner = loaded.value
    const session: EngineSession = {
      input: inner.input,
      output: inner.output,
      async run(window) {
        const result = await inner.run(window)
        if (result.ok) ran(session, result.value)
        return result
      },
      ...(inner.reset && { reset: () => inner.reset?.() }),
      dispose: () => inner.dispose(),
    }
    return { ok: true, value: session }
  },
})
