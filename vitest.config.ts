import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // For what hangs; a busy machine takes minutes for what a quiet one does in seconds.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // Two cores is the smallest machine we promise to test on; real servers and inference run inside the tests.
    maxWorkers: 2,
    reporters: ['default', ['json', { outputFile: '.kinglet/test-results.json' }]],
  },
})
