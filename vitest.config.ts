import { defineConfig } from 'vitest/config'

/** Tests that touch nothing of the process that they run in share one, and load each module once: a quarter less time. */
const SHARING = [
  'test/unit/**/*.test.ts',
  'test/simulation/**/*.test.ts',
  'test/property/**/*.test.ts',
  'test/contract/**/*.test.ts',
]

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'sharing', include: SHARING, isolate: false } },
      { extends: true, test: { name: 'alone', include: ['test/**/*.test.ts'], exclude: SHARING } },
    ],
    // For what hangs; a busy machine takes minutes for what a quiet one does in seconds.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Two cores is the smallest machine we promise to test on; real servers and inference run inside the tests.
    maxWorkers: 2,
    reporters: ['default', ['json', { outputFile: '.kinglet/test-results.json' }]],
  },
})
