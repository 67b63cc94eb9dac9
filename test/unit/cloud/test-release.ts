import { encodeBundle } from '../../../contract/bundle.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import { type BundleManifest, encodeGolden, featuresSha256 } from '../../../contract/manifest.ts'
import type { Release } from '../../../contract/release.ts'

const FEATURES = {
  kind: 'mfcc',
  sampleRateHz: 16_000,
  windowSamples: 480,
  strideSamples: 320,
  fftSize: 512,
  melBands: 40,
  melLowerHz: 20,
  melUpperHz: 4_000,
  logOffset: 1e-6,
  coefficients: 10,
  frames: 49,
}

/** A bundle that decodes and a release of it. The graph is not one. */
export function testRelease(
  name: string,
  version: number,
  overrides: { parent?: string; securityCounter?: number; boards?: string[]; manifest?: Partial<BundleManifest> } = {},
): { bundle: Uint8Array; sha256: string; release: Release } {
  const { parent = null, securityCounter = 1, boards = [] } = overrides
  const manifest: BundleManifest = {
    v: 1,
    ...{ name, version, parent, securityCounter, boards, features: FEATURES },
    labels: ['yes', 'no'],
    featureQuantization: { scale: 1, zeroPoint: 0 },
    graphs: [
      {
        id: 'full',
        input: null,
        output: null,
        ...{ arenaBytes: 16_000, ramBytes: 18_000, constantBytes: 24_376, macs: 2_656_768 },
      },
    ],
    ladder: [{ level: 'full', graph: 'full', hopFrames: 5, gate: null }],
    policy: { smoothingWindows: 3, thresholdPermille: 800, refractoryMs: 1000, wakeHoldMs: 2000, ignoreLabels: [] },
    golden: { graph: 'full', count: 1, inputLength: 490, outputLength: 2, tolerance: 0.01 },
    ...overrides.manifest,
  }
  const bundle = encodeBundle([
    { name: 'manifest.json', data: new TextEncoder().encode(JSON.stringify(manifest)) },
    { name: 'graph/full', data: new Uint8Array(1000).fill(version) },
    { name: 'golden.bin', data: encodeGolden([{ input: new Int8Array(490), output: new Float32Array(2) }]) },
  ])
  const sha256 = sha256Hex(bundle)
  const release: Release = {
    v: 1,
    type: 'release',
    ...{ name, version, sha256, bytes: bundle.length, securityCounter, boards },
    arenaBytes: 16_000,
    constantBytes: 24_376,
    featuresSha256: featuresSha256(FEATURES),
  }
  return { bundle, sha256, release }
}
