import { beforeAll, describe, expect, it } from 'vitest'
import { decodeBundle, encodeBundle } from '../../../contract/bundle.ts'
import type { ManifestV1 } from '../../../contract/manifest-v1.ts'
import { ok } from '../../../contract/result.ts'
import type { Engine, EngineSession } from '../../../model/engine/engine.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { checkGolden, graphNeeds, openBundle } from '../../../model/opened-bundle.ts'
import type { Packed } from '../../../model/pack.ts'
import { graphFile, packKws } from '../../fixtures/bundles.ts'
import { writtenManifest } from '../../fixtures/manifest.ts'

let packed: Packed
beforeAll(async () => {
  packed = await packKws()
})

/** The packed bundle with some sections replaced, container and hashes in order. */
function changed(sections: Record<string, Uint8Array>, manifest: Partial<ManifestV1> = {}): Uint8Array {
  const decoded = decodeBundle(packed.bundle)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  const all = new Map([...decoded.value, ...Object.entries(sections)])
  all.set('manifest.json', new TextEncoder().encode(JSON.stringify({ ...writtenManifest(packed.bundle), ...manifest })))
  return encodeBundle([...all].map(([name, data]) => ({ name, data })))
}
const open = async (data: Uint8Array, ramBytes = Number.POSITIVE_INFINITY, engine: Engine = new EngineOrtNode()) => {
  const opened = await openBundle(data, engine, ramBytes)
  if (!opened.ok) return opened.error.code
  await opened.value.dispose()
  return 'ok'
}
const claims = (change: Partial<ManifestV1['graphs'][number]>) => ({
  graphs: writtenManifest(packed.bundle).graphs.map((graph) => ({ ...graph, ...change })),
})

/** The real engine, counting what it has loaded and what was given back. */
class CountingEngine implements Engine {
  readonly name = 'counting'
  loaded = 0
  disposed = 0
  readonly #engine = new EngineOrtNode()
  readonly #load: (session: EngineSession, index: number) => EngineSession

  constructor(load: (session: EngineSession, index: number) => EngineSession = (session) => session) {
    this.#load = load
  }

  async load(...args: Parameters<Engine['load']>): ReturnType<Engine['load']> {
    const session = await this.#engine.load(...args)
    if (!session.ok) return session
    const { input, output } = session.value
    const counted: EngineSession = {
      input,
      output,
      run: (window) => session.value.run(window),
      dispose: async () => {
        this.disposed++
        await session.value.dispose()
      },
    }
    return ok(this.#load(counted, this.loaded++))
  }
}

describe('openBundle', () => {
  it('opens every graph of a good bundle, and gives all of them back', async () => {
    const engine = new CountingEngine()
    const opened = await openBundle(packed.bundle, engine, Number.POSITIVE_INFINITY)
    if (!opened.ok) throw new Error(opened.error.detail)
    expect([...opened.value.sessions.keys()]).toEqual(['full', 'lite'])
    expect(opened.value.manifest).toEqual(packed.manifest)
    await opened.value.dispose()
    expect([engine.loaded, engine.disposed]).toEqual([2, 2])
  })

  it('needs the RAM of its largest graph, to the byte', async () => {
    const needed = Math.max(...packed.manifest.graphs.map(({ ramBytes }) => ramBytes))
    expect(await open(packed.bundle, needed)).toBe('ok')
    expect(await open(packed.bundle, needed - 1)).toBe('arena-over-budget')
  })

  it('does not believe claims below what the planner finds', async () => {
    expect(await open(changed({}, claims({ ramBytes: 15_999 })))).toBe('arena-over-budget')
    expect(await open(changed({}, claims({ arenaBytes: 1 })))).toBe('arena-over-budget')
    expect(await open(changed({}, claims({ ramBytes: 300_000 })))).toBe('ok')
  })

  it('refuses in order: container, manifest, features, memory, engine', async () => {
    expect(await open(packed.bundle.subarray(0, 1_000))).toBe('bundle-truncated')
    expect(await open(changed({}, { v: 3 as never }))).toBe('unknown-schema-version')
    expect(await open(changed({}, { labels: [] }))).toBe('bundle-bad-manifest')
    expect(await open(changed({}, { features: { ...writtenManifest(packed.bundle).features, frames: 48 } }))).toBe(
      'unsupported-features',
    )
    expect(await open(changed({ 'graph/lite': new Uint8Array(64) }))).toBe('unsupported-engine')
  })

  it('a front end that does not fit the graph is model-load-failed, and nothing stays loaded', async () => {
    const engine = new CountingEngine((session, index) =>
      index === 1 ? { ...session, input: { ...session.input, elements: 7 } } : session,
    )
    expect(await open(packed.bundle, Number.POSITIVE_INFINITY, engine)).toBe('model-load-failed')
    expect(engine.disposed).toBe(engine.loaded)
  })
})

describe('checkGolden', () => {
  const check = async (data: Uint8Array, engine: Engine = new EngineOrtNode()) => {
    const opened = await openBundle(data, engine, Number.POSITIVE_INFINITY)
    if (!opened.ok) throw new Error(opened.error.detail)
    const result = await checkGolden(opened.value)
    await opened.value.dispose()
    return result
  }

  it('this runtime reproduces the packed outputs, to the bit', async () => {
    expect(await check(packed.bundle)).toEqual({ ok: true, value: 0 })
  })

  it('another network under the same vectors is golden-mismatch', async () => {
    expect(await check(changed({ 'graph/full': graphFile('kws-2') }))).toMatchObject({
      ok: false,
      error: { code: 'golden-mismatch' },
    })
  })

  it('NaN is within no tolerance', async () => {
    const sick = (session: EngineSession): EngineSession => ({
      ...session,
      run: async () => ok(new Float32Array(12).fill(Number.NaN)),
    })
    expect(
      await check(
        changed({}, { golden: { ...writtenManifest(packed.bundle).golden, tolerance: 1e9 } }),
        new CountingEngine(sick),
      ),
    ).toMatchObject({
      ok: false,
      error: { code: 'golden-mismatch' },
    })
  })
})

it('graphNeeds tells what the planner tells of the reference network', () => {
  expect(graphNeeds(graphFile('kws-1'))).toMatchObject({
    ok: true,
    value: { arenaBytes: 16_000, constantBytes: 24_376, macs: 2_656_768 },
  })
  expect(graphNeeds(new Uint8Array(3))).toMatchObject({ ok: false, error: { code: 'unsupported-engine' } })
})
