import { describe, expect, it } from 'vitest'
import { decodeBundle } from '../../../contract/bundle.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { decodeGolden, parseManifest, requirementSha256 } from '../../../contract/manifest.ts'
import { releaseSchema } from '../../../contract/release.ts'
import { ok } from '../../../contract/result.ts'
import { BOARDS } from '../../../model/boards.ts'
import type { Engine } from '../../../model/engine/engine.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { type PackInput, packBundle } from '../../../model/pack.ts'
import { goldenInputs, graphFile, packInput, packKws } from '../../fixtures/bundles.ts'
import { keywordNetwork } from '../../fixtures/onnx-networks.ts'

const refusal = async (change: Partial<PackInput>, manifest: Partial<PackInput['manifest']> = {}): Promise<string> => {
  const input = packInput({ change: manifest })
  const packed = await packBundle({ ...input, ...change }, new EngineOrtNode())
  return packed.ok ? 'ok' : packed.error.code
}

describe('packBundle', () => {
  it('gives the same bytes for the same input', async () => {
    const [a, b] = [await packKws(), await packKws()]
    expect(sha256Hex(a.bundle)).toBe(sha256Hex(b.bundle))
    expect(a.release).toEqual(b.release)
    expect((await packKws({ version: 2 })).release.sha256).not.toBe(a.release.sha256)
  })

  it('writes what it measured, and a release document that says the same', async () => {
    const { bundle, manifest, release } = await packKws({ name: 'kws-9', version: 9, securityCounter: 3 })
    const sections = decodeBundle(bundle)
    if (!sections.ok) throw new Error(sections.error.detail)
    expect([...sections.value.keys()]).toEqual(['manifest.json', 'graph/full', 'graph/lite', 'golden.bin', 'card.json'])
    expect(parseManifest(sections.value)).toEqual({ ok: true, value: manifest })
    const [full, lite] = manifest.graphs
    expect(full).toMatchObject({ id: 'full', macs: 2_656_768, constantBytes: 24_376, arenaBytes: 16_000 })
    expect(lite!.macs).toBeLessThan(full!.macs / 4)
    expect(full!.ramBytes).toBeGreaterThanOrEqual(full!.arenaBytes)
    expect(release).toEqual({
      v: 1,
      type: 'release',
      name: 'kws-9',
      version: 9,
      sha256: sha256Hex(bundle),
      bytes: bundle.length,
      securityCounter: 3,
      arenaBytes: full!.ramBytes,
      constantBytes: 24_376,
      featuresSha256: requirementSha256(manifest),
      boards: [],
    })
    expect(releaseSchema.safeParse(release).success).toBe(true)
  })

  it('refuses a threshold that no output can reach, and takes the highest that one can', async () => {
    // Its int8 output is stated to end at 255/256.
    const ends = { input: { scale: 0.05, zeroPoint: -3 }, output: { scale: 1 / 256, zeroPoint: -128 } }
    const { graphs } = packInput()
    const change = { graphs: new Map([...graphs, ['full', keywordNetwork({ io: 'int8' })]]) }
    const claims = [
      { id: 'full', ...ends },
      { id: 'lite', input: null, output: null },
    ]
    const under = (thresholdPermille: number) => ({
      graphs: claims,
      policy: { ...packInput().manifest.policy, thresholdPermille },
    })
    expect(await refusal(change, under(996))).toBe('ok')
    expect(await refusal(change, under(997))).toBe('bundle-bad-manifest')
  })

  it('golden vectors are what this engine gives for the given windows', async () => {
    const { bundle, manifest } = await packKws()
    const sections = decodeBundle(bundle)
    if (!sections.ok) throw new Error(sections.error.detail)
    const { inputs, runs } = decodeGolden(sections.value.get('golden.bin')!, manifest)
    expect(inputs[0]!.map((input) => [...input])).toEqual(goldenInputs(4).map((input) => [...input]))
    for (const output of runs[0]!) expect(output.reduce((a, b) => a + b)).toBeCloseTo(1, 1)
  })

  it('packs for every board it knows', async () => {
    expect(await refusal({}, { boards: BOARDS.map(({ name }) => name) })).toBe('ok')
  })

  it.each<[string, () => Partial<PackInput>, Partial<PackInput['manifest']>]>([
    ['bundle-bad-manifest', () => ({ graphs: new Map() }), {}],
    ['bundle-bad-manifest', () => ({}), { graphs: [] }],
    ['bundle-bad-manifest', () => ({ goldenInputs: [] }), {}],
    ['bundle-bad-manifest', () => ({ goldenInputs: goldenInputs(LIMITS.goldenVectors + 1) }), {}],
    ['bundle-bad-manifest', () => ({}), { name: 'Not An Id' }],
    [
      'bundle-bad-manifest',
      () => ({}),
      { labels: ['yes', 'no'], policy: { ...packInput().manifest.policy, ignoreLabels: [] } },
    ],
    ['inference-failed', () => ({ goldenInputs: [new Int8Array(7)] }), {}],
    [
      'unsupported-engine',
      () => ({
        graphs: new Map([
          ['full', new Uint8Array(10)],
          ['lite', graphFile('kws-lite')],
        ]),
      }),
      {},
    ],
    ['unsupported-features', () => ({}), { features: { kind: 'spectrogram' } }],
    ['wrong-board', () => ({}), { boards: ['abacus'] }],
    // 43.4 ms an inference do not go into one 20 ms frame.
    [
      'latency-over-budget',
      () => ({}),
      { boards: ['NUCLEO-L4R5ZI'], ladder: [{ level: 'full', graph: 'full', hopFrames: 1, gate: null }] },
    ],
    ['too-large', () => ({ card: 'x'.repeat(LIMITS.bundleBytes) }), {}],
    [
      'bundle-bad-manifest',
      () => ({}),
      { policy: { ...packInput().manifest.policy, ignoreLabels: packInput().manifest.labels } },
    ],
  ])('refuses a false claim with %s (%#)', async (code, change, manifest) => {
    expect(await refusal(change(), manifest)).toBe(code)
  })

  /** An engine whose sessions answer otherwise than the real ones.
   *  @param change of one output, by the graph's number and how often it has run */
  const changed = (change: (output: Float32Array, graph: number, runs: number) => Float32Array): Engine => {
    const real = new EngineOrtNode()
    const runs = new Map<number, number>()
    return {
      name: real.name,
      async load(bytes, io) {
        const loaded = await real.load(bytes, io)
        if (!loaded.ok) return loaded
        const [session, graph] = [loaded.value, bytes.length > 20_000 ? 0 : 1]
        return ok({
          input: session.input,
          output: session.output,
          dispose: () => session.dispose(),
          run: async (window) => {
            const result = await session.run(window)
            runs.set(graph, (runs.get(graph) ?? 0) + 1)
            return result.ok ? ok(change(result.value, graph, runs.get(graph)!)) : result
          },
        })
      },
    }
  }
  const packedBy = async (engine: Engine): Promise<string> => {
    const packed = await packBundle(packInput(), engine)
    return packed.ok ? 'ok' : `${packed.error.code}: ${packed.error.detail}`
  }

  it('refuses a network that gives no numbers, whichever level it is for', async () => {
    expect(await packedBy(changed((output) => output))).toBe('ok')
    for (const [broken, name] of [
      [0, 'full'],
      [1, 'lite'],
    ] as const) {
      const nan = changed((output, graph) => (graph === broken ? output.fill(Number.NaN, 2, 3) : output))
      const label = packInput().manifest.labels[2]
      expect(await packedBy(nan)).toBe(`inference-failed: graph "${name}" gives NaN for "${label}" of golden input 0`)
    }
  })

  it('refuses golden vectors that do not come again', async () => {
    // Of the full graph, one run in nine is off: those that make the vectors agree with themselves once, and not twice.
    const drifting = changed((output, graph, runs) =>
      graph === 0 && runs > 8 ? output.map((value) => value + 0.1) : output,
    )
    expect(await packedBy(drifting)).toMatch(/^golden-mismatch: /)
  })
})
