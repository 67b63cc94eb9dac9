import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores is the smallest machine we promise to test on; real servers and inference run inside the tests.
    maxWorkers: 2,
    reporters: ['default', ['json', { outputFile: '.kinglet/test-results.json' }]],
  },
})
