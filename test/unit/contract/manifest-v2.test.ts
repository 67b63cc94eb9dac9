import { describe, expect, it } from 'vitest'
import { levelHears } from '../../../contract/level-measures.ts'
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

const measures = {
  ...{ words: 20, heard: 18, hours: 0.5, falseWakes: 2 },
  ...{ ramBytes: 2, millijoulePerHour: 9_000, board: 'xG24' },
}
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

  it('may say what its levels were measured to do, pipeline by pipeline', () => {
    expect(judge({ ladder: [{ ...base.ladder[0]!, measured: [measures] }] })).toBe('ok')
    expect(judge({ ladder: [{ ...base.ladder[0]!, measured: [null] }] })).toBe('ok')
    expect(judge({ boards: ['xG24'], ladder: [{ ...base.ladder[0]!, measured: [measures] }] })).toBe('ok')
  })

  it.each<[RegExp, (typeof measures | null)[]]>([
    [/level full: measures of 2 pipelines, there are 1/, [measures, null]],
    [/level full: 21 of 20 words heard/, [{ ...measures, heard: 21 }]],
    [/words/, [{ ...measures, words: 0, heard: 0 }]],
    [/words/, [{ ...measures, words: 1_000_001 }]],
    [/hours/, [{ ...measures, hours: 0 }]],
    [/hours/, [{ ...measures, hours: 1e9 }]],
    [/falseWakes/, [{ ...measures, falseWakes: -1 }]],
    [/millijoulePerHour/, [{ ...measures, millijoulePerHour: Number.MAX_VALUE }]],
    [/board/, [{ ...measures, board: 'x'.repeat(1_000) }]],
  ])('of which nothing is believed that cannot be: %s', (what, measured) => {
    expect(judge({ ladder: [{ ...base.ladder[0]!, measured }] })).toMatch(what)
  })

  it('has no measures of a pipeline that is off, nor energy on a board that it does not list', () => {
    const two = {
      pipelines: [pipeline, { ...pipeline, id: 'other' }],
      golden: { ...base.golden, runs: [base.golden.runs[0]!, { ...base.golden.runs[0]!, pipeline: 1 }] },
    }
    const ladder = (measured: (typeof measures | null)[]) => [{ level: 'full' as const, runs: [run!, null], measured }]
    expect(judge({ ...two, ladder: ladder([measures, measures]) })).toMatch(/measures of pipeline 1, which is off/)
    expect(judge({ boards: ['NDP9120'], ladder: [{ ...base.ladder[0]!, measured: [measures] }] })).toMatch(
      /energy on xG24, which the bundle does not list/,
    )
  })

  it('hears at a level where a pipeline is not measured, or found at least a quarter of its words', () => {
    const { runs } = base.ladder[0]!
    expect(levelHears(undefined, runs)).toBe(true)
    expect(levelHears([null], runs)).toBe(true)
    expect(levelHears([{ ...measures, heard: 5 }], runs)).toBe(true)
    expect(levelHears([{ ...measures, heard: 4 }], runs)).toBe(false)
    // Of two one is enough, unless it is off.
    const deaf = { ...measures, heard: 0 }
    expect(levelHears([deaf, measures], [run!, run!])).toBe(true)
    expect(levelHears([deaf, null], [run!, null])).toBe(false)
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
