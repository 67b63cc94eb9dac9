import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { inspectFile, inspectionLines } from '../../../../cli/model/model-inspect.ts'
import { wakePipeline } from '../../../../cli/model/wake-pipeline.ts'
import { anomalyFiles, anomalySpec, fourFiles, fourSpec, packSpec } from '../../../fixtures/pipeline-bundles.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-inspect-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

it('a bundle of pipelines is told pipeline by pipeline, its graphs with the ends that it states', async () => {
  const { bundle, manifest } = await packSpec(fourSpec, fourFiles())
  const file = join(dir, 'four.kinglet')
  writeFileSync(file, bundle)
  const text = inspectionLines(await inspectFile(file)).join('\n')
  expect(text).toMatch(/input +audio: sampleRateHz 16000/)
  expect(text).toMatch(
    /pipeline two +front end vector-windows; between graphs: 76 rows, step 8; 16 rows, step 1; head wake \(two\); counts wakes, /,
  )
  expect(text).toMatch(/lite \(one: melspectrogram > embedding-model > one; two: off; three: off; voice: silero-vad\)/)
  // A graph of three inputs runs, since the bundle says which is which, and its memory is what its packer states.
  const silero = text.slice(text.indexOf('graph silero-vad'))
  expect(silero).toMatch(/onnxruntime +runs it/)
  expect(silero).toMatch(/not planned: .*; its packer states 60000 bytes of RAM and 1000 multiply-accumulates/)
  expect(wakePipeline(file, manifest, 'voice')).toMatchObject({ index: 3, labels: ['speech'] })
  expect(() => wakePipeline(file, manifest, 'moon')).toThrow(/pipeline "moon" is not there or hears no words/)
})

it('what commands about words have no use for is said to be that', async () => {
  const { manifest } = await packSpec(anomalySpec, anomalyFiles())
  expect(() => wakePipeline('machine.kinglet', manifest)).toThrow(/no pipeline hears words/)
  const vectors = { ...manifest, input: { kind: 'vectors' as const, channels: 3, sampleRateHz: 100 } }
  expect(() => wakePipeline('machine.kinglet', vectors)).toThrow(/hears sound, the bundle reads vectors/)
})
