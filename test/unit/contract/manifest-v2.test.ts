import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import {
  decodeGolden,
  encodeGolden,
  featuresSha256,
  parseManifest,
  requirementSha256,
} from '../../../contract/manifest.ts'
import type { PipelineManifest } from '../../../contract/manifest-v2.ts'
import { manifestSample, pipelineSample } from '../../fixtures/manifest.ts'
import { manifestV2Sample as base, manifestV2Link as link, manifestV2Wake as wake } from '../../fixtures/manifest-v2.ts'

const [pipeline] = base.pipelines as [PipelineManifest['pipelines'][number]]
const [run] = base.ladder[0]!.runs
const judge = (change: Partial<PipelineManifest>) => {
  const manifest = { ...base, ...change }
  const sections = new Map([
    ['manifest.json', new TextEncoder().encode(JSON.stringify(manifest))],
    ['golden.bin', new Uint8Array(10)],
    ...manifest.graphs.map(({ id }) => [`graph/${id}`, new Uint8Array(1)] as const),
  ])
  const result = parseManifest(sections)
  return result.ok ? 'ok' : `${result.error.code}: ${result.error.detail}`
}

describe('a manifest of pipelines', () => {
  it('is read as it is written', () => {
    expect(judge({})).toBe('ok')
  })

  it.each<[RegExp, Partial<PipelineManifest>]>([
    [/pipelines/, { pipelines: [] }],
    [
      /pipelines/,
      { pipelines: Array.from({ length: LIMITS.pipelines + 1 }, (_, i) => ({ ...pipeline, id: `p${i}` })) },
    ],
    [/two pipelines have one id/, { pipelines: [pipeline, pipeline] }],
    [/two graphs have one id/, { graphs: [...base.graphs, base.graphs[0]!] }],
    [/level full has runs of 0 pipelines, there are 1/, { ladder: [{ level: 'full', runs: [] }] }],
    [/level full runs no pipeline/, { ladder: [{ level: 'full', runs: [null] }] }],
    [/runs 1 graphs, its links join 2/, { ladder: [{ level: 'full', runs: [{ ...run!, graphs: ['mel'] }] }] }],
    [/names an unknown graph "moon"/, { ladder: [{ level: 'full', runs: [{ ...run!, graphs: ['mel', 'moon'] }] }] }],
    [/runs a graph twice/, { ladder: [{ level: 'full', runs: [{ ...run!, graphs: ['mel', 'mel'] }] }] }],
    [/descending/, { ladder: [base.ladder[0]!, base.ladder[0]!] }],
    [
      /a buffer of 4096 rows of 65536/,
      { pipelines: [{ ...pipeline, links: [{ ...link, rows: 4_096, rowValues: 65_536 }] }] },
    ],
    [/divisor/, { pipelines: [{ ...pipeline, links: [{ ...link, divisor: 0 }] }] }],
    [/2 cutoffs for 1 labels/, { pipelines: [{ ...pipeline, head: { ...wake, cutoffs: [1, 2] } }] }],
    [/pictures of more than/, { input: { kind: 'image', width: 300, height: 300, channels: 1, everyMs: 1 } }],
    [
      /golden vectors: there is no pipeline 1/,
      { golden: { ...base.golden, runs: [{ ...base.golden.runs[0]!, pipeline: 1 }] } },
    ],
    [
      /golden vectors: there is no input 1/,
      { golden: { ...base.golden, runs: [{ ...base.golden.runs[0]!, input: 1 }] } },
    ],
    [
      /golden vectors have 10 bytes, expected 11/,
      { golden: { ...base.golden, inputs: [{ count: 1, inputLength: 7 }] } },
    ],
    [
      /a wake head has wakes, posterior/,
      { pipelines: [{ ...pipeline, signals: [{ kind: 'ratio', name: 'sneezes', unit: '', harm: null }] }] },
    ],
    [
      /posterior is a value and makes no count/,
      {
        pipelines: [
          { ...pipeline, signals: [{ kind: 'count', name: 'posterior', unit: '', harm: null, per: 'hour' }] },
        ],
      },
    ],
    [
      /the signals take 96 numbers of a report, at most 64/,
      {
        pipelines: Array.from({ length: 6 }, (_, i) => ({
          ...pipeline,
          id: `p${i}`,
          signals: ['posterior', 'posterior-b'].map((name) => ({
            ...{ kind: 'histogram' as const, name, unit: '', harm: null },
            edges: [1, 2, 3, 4, 5, 6, 7],
          })),
        })),
        ladder: [{ level: 'full', runs: Array.from({ length: 6 }, () => run!) }],
      },
    ],
  ])('is refused with bundle-bad-manifest: %s', (why, change) => {
    expect(judge(change)).toMatch(/^bundle-bad-manifest/)
    expect(judge(change)).toMatch(why)
  })

  it('golden vectors lie input by input, then run by run, and come back', () => {
    const golden = {
      inputs: [[Int8Array.of(1, 2), Int8Array.of(3, -4)], [Int8Array.of(5)]],
      runs: [[Float32Array.of(0.5)], [Float32Array.of(1, 2), Float32Array.of(3, 4)]],
    }
    const shape = {
      inputs: [
        { count: 2, inputLength: 2 },
        { count: 1, inputLength: 1 },
      ],
      runs: [
        { pipeline: 0, input: 0, graphs: ['a'], results: 1, outputLength: 1 },
        { pipeline: 1, input: 1, graphs: ['b'], results: 2, outputLength: 2 },
      ],
      tolerance: 0,
    }
    const bytes = encodeGolden(golden, shape, 2)
    expect([...bytes.subarray(0, 5)]).toEqual([1, 2, 3, 252, 5])
    expect(bytes).toHaveLength(5 + 4 * 5)
    expect(decodeGolden(bytes, { v: 2, golden: shape })).toEqual(golden)
  })

  it('a release requires of version 1 its front end, of pipelines that the agent knows them and has the input', () => {
    expect(requirementSha256(pipelineSample)).toBe(featuresSha256(manifestSample.features))
    expect(requirementSha256({ ...base, v: 2 })).toBe(featuresSha256({ manifest: 2, pipelines: 1, input: 'audio' }))
    const vectors = { ...base, input: { kind: 'vectors' as const, channels: 3, sampleRateHz: 100 } }
    expect(requirementSha256(vectors)).not.toBe(requirementSha256(base))
  })
})
