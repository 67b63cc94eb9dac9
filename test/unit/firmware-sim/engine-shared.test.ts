import { describe, expect, it } from 'vitest'
import { SharedEngine } from '../../../firmware-sim/engine-shared.ts'
import { EngineFake } from '../../fixtures/sim-world.ts'

const [one, two] = [Uint8Array.of(1), Uint8Array.of(2)]

async function session(engine: SharedEngine, graph: Uint8Array, scale?: number) {
  const loaded = await engine.load(graph, scale === undefined ? undefined : { input: { scale, zeroPoint: 0 } })
  if (!loaded.ok) throw new Error(loaded.error.detail)
  return loaded.value
}

describe('a shared engine', () => {
  it('loads each graph once for the fleet, also when all ask at the same time', async () => {
    const inner = new EngineFake()
    const engine = new SharedEngine(inner)
    await Promise.all(Array.from({ length: 20 }, () => session(engine, one.slice())))
    await session(engine, two)
    expect(inner.loads).toBe(2)
  })

  it('loads a graph that remembers for each device: what one has heard is not the other’s', async () => {
    const inner = new EngineFake()
    const load = inner.load.bind(inner)
    inner.load = async (graph) => {
      const loaded = await load(graph)
      return loaded.ok ? { ok: true, value: { ...loaded.value, reset: () => undefined } } : loaded
    }
    const engine = new SharedEngine(inner)
    const sessions = await Promise.all(Array.from({ length: 5 }, () => session(engine, one)))
    sessions.push(await session(engine, one))
    expect(new Set(sessions).size).toBe(6)
    expect(sessions.every(({ reset }) => reset !== undefined)).toBe(true)
    expect(inner.loads).toBe(6)
  })

  it('loads a graph again for another quantization of its ends', async () => {
    const inner = new EngineFake()
    const engine = new SharedEngine(inner)
    await session(engine, one, 0.5)
    await session(engine, one, 0.25)
    await session(engine, one, 0.5)
    expect(inner.loads).toBe(2)
  })

  it('keeps a graph for the others when one device is done with it, and frees each once at the end', async () => {
    const inner = new EngineFake()
    const engine = new SharedEngine(inner)
    const [mine, theirs] = [await session(engine, one), await session(engine, one)]
    await mine.dispose()
    expect(inner.disposed).toBe(0)
    expect((await theirs.run(new Float32Array(490))).ok).toBe(true)
    await session(engine, two)
    await engine.close()
    await engine.close()
    expect(inner.disposed).toBe(2)
  })

  it('hands on a refusal, and closes all the same', async () => {
    const inner = new EngineFake()
    inner.failing = true
    const engine = new SharedEngine(inner)
    expect(await engine.load(one)).toMatchObject({ ok: false, error: { code: 'engine-load-failed' } })
    await engine.close()
    expect(inner.disposed).toBe(0)
  })
})
