import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Tests that touch nothing of the process that they run in share one, and load each module once: a quarter less time. */
const SHARING = [
  'test/unit/**/*.test.ts',
  'test/simulation/**/*.test.ts',
  'test/property/**/*.test.ts',
  'test/contract/**/*.test.ts',
]

/** Files of three quarters of a minute and more, longest first. One that begins last leaves the other core idle at the end. */
const LONG = [
  'simulation/gate-field',
  'simulation/powercut',
  'simulation/gate-drift',
  'simulation/patch-fleet',
  'simulation/gate-rollout',
  'runtime/node/cli-services',
  'runtime/browser/agent-page-update',
  'simulation/gate-slices',
  'runtime/node/gateway-kill',
  'runtime/node/image-repository',
  'simulation/gate-fleets',
  'runtime/node/tuf-client',
  'runtime/node/gateway-verifier',
  'runtime/node/attacks-patch',
  'runtime/node/cli',
].map((name) => `/test/${name}.test.ts`)

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId }: TestSpecification): number => {
      const rank = LONG.findIndex((name) => moduleId.endsWith(name))
      return rank < 0 ? LONG.length : rank
    }
    return (await super.sort(files)).sort((a, b) => rankOf(a) - rankOf(b))
  }
}

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'sharing', include: SHARING, isolate: false } },
      { extends: true, test: { name: 'alone', include: ['test/**/*.test.ts'], exclude: SHARING } },
    ],
    sequence: { sequencer: LongestFirst },
    // For what hangs; a busy machine takes minutes for what a quiet one does in seconds.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Two cores is the smallest machine we promise to test on; real servers and inference run inside the tests.
    maxWorkers: 2,
    reporters: ['default', ['json', { outputFile: '.kinglet/test-results.json' }]],
  },
})
