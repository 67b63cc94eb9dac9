import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import { featuresSha256, parseManifest } from '../../../contract/manifest.ts'
import { manifestSample, pipelineSample } from '../../fixtures/manifest.ts'

const utf8 = (text: string) => new TextEncoder().encode(text)
const golden = manifestSample.golden
const sectionsOf = (manifest: unknown, change: Record<string, Uint8Array | undefined> = {}) => {
  const all: Record<string, Uint8Array | undefined> = {
    'manifest.json': utf8(JSON.stringify(manifest)),
    'graph/full': new Uint8Array(1),
    'graph/lite': new Uint8Array(1),
    'golden.bin': new Uint8Array(golden.count * (golden.inputLength + 4 * golden.outputLength)),
    ...change,
  }
  return new Map(Object.entries(all).filter((entry): entry is [string, Uint8Array] => entry[1] !== undefined))
}
const judge = (change: Record<string, unknown>, sections?: Record<string, Uint8Array | undefined>) => {
  const result = parseManifest(sectionsOf({ ...manifestSample, ...change }, sections))
  return result.ok ? 'ok' : `${result.error.code}: ${result.error.detail}`
}

describe('parseManifest', () => {
  it('reads a manifest that holds together', () => {
    expect(parseManifest(sectionsOf(manifestSample))).toEqual({ ok: true, value: pipelineSample })
  })

  it('looks at the size first, then at the version', () => {
    const large = utf8(JSON.stringify(manifestSample).padEnd(LIMITS.manifestBytes + 1))
    expect(judge({}, { 'manifest.json': large })).toMatch(/^too-large/)
    expect(judge({ v: 3 })).toMatch(/^unknown-schema-version/)
    expect(judge({ v: { toString: null } })).toMatch(/^unknown-schema-version/)
  })

  it.each<[RegExp, Record<string, unknown>, Record<string, Uint8Array | undefined>]>([
    [/no manifest/, {}, { 'manifest.json': undefined }],
    [/not JSON/, {}, { 'manifest.json': utf8('{') }],
    [/not JSON/, {}, { 'manifest.json': Uint8Array.of(0xff) }],
    [/labels/, { labels: [] }, {}],
    [/labels/, { labels: new Array(65).fill('x') }, {}],
    [/manifest/, { surprise: 1 }, {}],
    [/two graphs have one id/, { graphs: [manifestSample.graphs[0], manifestSample.graphs[0]] }, {}],
    [/"lite" has no section/, {}, { 'graph/lite': undefined }],
    [/unknown graph/, { ladder: [{ level: 'full', graph: 'huge', hopFrames: 10, gate: null }] }, {}],
    [/descending/, { ladder: [...manifestSample.ladder].reverse() }, {}],
    [/descending/, { ladder: [manifestSample.ladder[0], manifestSample.ladder[0]] }, {}],
    [/ignored label/, { policy: { ...manifestSample.policy, ignoreLabels: ['marvin'] } }, {}],
    [/golden vectors name/, { golden: { ...golden, graph: 'huge' } }, {}],
    [/golden vectors have/, {}, { 'golden.bin': new Uint8Array(7) }],
    [/golden vectors have 0/, {}, { 'golden.bin': undefined }],
    [/hopFrames/, { ladder: [{ level: 'full', graph: 'full', hopFrames: 0, gate: null }] }, {}],
  ])('refuses with bundle-bad-manifest: %s', (why, change, sections) => {
    expect(judge(change, sections)).toMatch(/^bundle-bad-manifest/)
    expect(judge(change, sections)).toMatch(why)
  })

  it('golden outputs are one a label', () => {
    const fewer = { ...golden, outputLength: 3 }
    const bytes = new Uint8Array(fewer.count * (fewer.inputLength + 12))
    expect(judge({ golden: fewer }, { 'golden.bin': bytes })).toMatch(/outputs and labels/)
  })
})

it('the hash of a feature definition does not depend on the order of its fields', () => {
  expect(featuresSha256({ a: 1e-6, b: 'x' })).toBe(featuresSha256({ b: 'x', a: 1e-6 }))
  expect(featuresSha256({ a: 1e-6 })).not.toBe(featuresSha256({ a: 2e-6 }))
})
