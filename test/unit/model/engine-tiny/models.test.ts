import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadTiny } from '../../../../model/engine-tiny/graph.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../../fixtures/reference-data.ts'

const FOLDER = join(REFERENCE_DATA, 'int8-reference/models')

/** The model that a file of vectors is about: `NAME`, `PAIR-old` or `PAIR-new`, with the recording it was fed after a dot. */
const modelOf = (vectors: string): string => {
  const name = vectors.replace(/(\.ok-nabu-\d+)?\.jsonl$/, '')
  const pair = /^(.*)-(old|new)$/.exec(name)
  return join(REFERENCE_DATA, pair ? `model-pairs/${pair[1]}/${pair[2]}.tflite` : `models/${name}.tflite`)
}

interface Run {
  readonly in: readonly string[]
  readonly out: readonly string[]
}

describe.runIf(hasReferenceData)('models, byte for byte as the reference kernels', () => {
  const files = hasReferenceData ? readdirSync(FOLDER).filter((file) => file.endsWith('.jsonl')) : []
  it.each(files)('%s', (file) => {
    const [head = '', ...lines] = readFileSync(join(FOLDER, file), 'utf8').trim().split('\n')
    const { nonPersistent } = JSON.parse(head) as { nonPersistent: number }
    const runs = lines.map((line) => JSON.parse(line) as Run)
    const bytes = readFileSync(modelOf(file))
    for (const guard of [undefined, 0xa5]) {
      const loaded = loadTiny(bytes, guard === undefined ? {} : { guard })
      if (!loaded.ok) throw new Error(`${loaded.error.code}: ${loaded.error.detail}`)
      const graph = loaded.value
      expect(graph.memory.arenaBytes).toBeLessThanOrEqual(nonPersistent)
      // Guards are slow; a few runs of a model pass all its nodes.
      for (const [at, run] of runs.slice(0, guard !== undefined ? 6 : runs.length).entries()) {
        for (const [index, hex] of run.in.entries()) graph.inputBytes(index).set(Buffer.from(hex, 'hex'))
        graph.run()
        const out = graph.outputs.map((_, index) => Buffer.from(graph.outputBytes(index)).toString('hex'))
        expect(out, `run ${at}, ${guard === undefined ? 'plain' : 'guarded'}`).toEqual(run.out)
      }
    }
  })
})

describe.skipIf(hasReferenceData)('models of the reference data', () => {
  it.skip(`skipped: no ${FOLDER} (KINGLET_DATA names the folder of public models)`, () => {})
})
