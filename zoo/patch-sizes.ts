// Measures what each retraining setting costs on the radio and what it is worth: patch bytes against accuracy on speakers
// that were never trained on. Writes docs/patch-sizes.json and docs/patch-sizes.svg.
// Usage: patch-sizes.js --speech DIR --work DIR --zoo DIR --docs DIR [--seed N] [--draws N]
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { sha256Hex } from '../contract/bytes.ts'
import { decodeGolden, graphSection, SECTIONS } from '../contract/manifest.ts'
import type { ManifestV1 } from '../contract/manifest-v1.ts'
import { EngineOrtNode } from '../model/engine/engine-ort-node.ts'
import { openBundle } from '../model/opened-bundle.ts'
import { packBundle } from '../model/pack.ts'
import { makePatch } from '../release/patch/make-patch.ts'
import type { Metadata } from './card.ts'
import { clipsInNoise, type LabelledClip, scoreClips, testClips } from './clip-score.ts'
import { readCorpus } from './corpus.ts'
import { openNetwork } from './network.ts'
import { createNoisePool } from './noise-pool.ts'
import { type PatchSizes, plotPatchSizes } from './patch-sizes-plot.ts'
import { synthesize } from './synthesize.ts'
import { weightChanges } from './weight-changes.ts'

/** What every device reads, and what a release has of updates as small as these: a second version saves less than its entry takes. */
const VERSION = { version: 1 } as const

/** The deployed bundle with another network in it and nothing else changed but name, version and lineage, and the golden
 *  outputs that follow from the network; the card stays, so that the size is that of the change of the network. */
const bundleWith = async (deployed: Uint8Array, name: string, network: Uint8Array): Promise<Uint8Array> => {
  const engine = new EngineOrtNode()
  const opened = await openBundle(deployed, engine, Number.POSITIVE_INFINITY)
  if (!opened.ok) throw new Error(`${opened.error.code}: ${opened.error.detail}`)
  const { sections } = opened.value
  const manifest = JSON.parse(new TextDecoder().decode(sections.get(SECTIONS.manifest))) as ManifestV1
  await opened.value.dispose()
  const { v: _v, golden, graphs, ...rest } = manifest
  const packed = await packBundle(
    {
      manifest: {
        ...rest,
        name,
        version: manifest.version + 1,
        parent: sha256Hex(deployed),
        graphs: graphs.map(({ id, input, output }) => ({ id, input, output })),
        goldenTolerance: golden.tolerance,
      },
      graphs: new Map(graphs.map(({ id }) => [id, id === golden.graph ? network : sections.get(graphSection(id))!])),
      goldenInputs: decodeGolden(sections.get(SECTIONS.golden)!, opened.value.manifest).inputs[0]!,
      card: new TextDecoder().decode(sections.get(SECTIONS.card)),
    },
    engine,
  )
  if (!packed.ok) throw new Error(`${packed.error.code}: ${packed.error.detail}`)
  return packed.value.bundle
}

const rounded = (value: number, digits: number): number => Number(value.toFixed(digits))

const main = async () => {
  const { values } = parseArgs({
    options: {
      speech: { type: 'string' },
      work: { type: 'string' },
      zoo: { type: 'string' },
      docs: { type: 'string' },
      seed: { type: 'string', default: '1' },
      draws: { type: 'string', default: '10' },
    },
  })
  const { speech, work, zoo, docs } = values
  if (speech === undefined || work === undefined || zoo === undefined || docs === undefined)
    throw new Error('--speech, --work, --zoo and --docs are needed')
  const seed = Number(values.seed)
  const pool = createNoisePool(await synthesize(join(work, 'synth'), seed), 'test', seed, 6, 10)
  const test = testClips(readCorpus(speech, seed), pool, seed)
  // One draw of noise moves an accuracy by two points; more draws tell neighbours apart.
  const draws = Array.from({ length: Number(values.draws) }, (_, n) => clipsInNoise(test.quiet, pool, seed, n + 1))
  const model = (name: string) => join(zoo, 'models', `${name}.onnx`)
  const base = readFileSync(model('kws-1'))
  const bundle = readFileSync(join(zoo, 'bundles', 'kws-1.kinglet'))
  const { input } = JSON.parse(readFileSync(join(zoo, 'models', 'kws-1.json'), 'utf8')) as Metadata

  const measure = async (name: string, path: string): Promise<PatchSizes['settings'][number]> => {
    const bytes = readFileSync(path)
    const network = await openNetwork(path, input)
    const accuracy = async (clips: readonly LabelledClip[]) => (await scoreClips(network, clips)).accuracy
    const many: number[] = []
    for (const draw of draws) many.push(await accuracy(draw))
    const result = await bundleWith(bundle, name, bytes)
    const changes = weightChanges(base, bytes)
    return {
      name,
      changedWeightsPercent: rounded((100 * changes.weights) / changes.weightsTotal, 2),
      changedBiases: changes.biases,
      largestStep: changes.largestStep,
      patchBytes: { bundle: makePatch(bundle, result, VERSION).length, onnx: makePatch(base, bytes, VERSION).length },
      fullBytes: { bundle: makePatch(null, result, VERSION).length, onnx: makePatch(null, bytes, VERSION).length },
      accuracy: {
        quiet: await accuracy(test.quiet),
        zeroDb: await accuracy(test.zeroDb),
        zeroDbManyDraws: rounded(many.reduce((a, b) => a + b, 0) / many.length, 4),
      },
    }
  }

  const retrained = join(work, 'retrained')
  const settings = existsSync(retrained) ? readdirSync(retrained).filter((name) => name.endsWith('.onnx')) : []
  const out: PatchSizes = {
    command: `node zoo/work/js/zoo/patch-sizes.js --speech DIR --work zoo/work --zoo zoo --docs docs --seed ${seed} --draws ${draws.length}`,
    seed,
    base: 'kws-1',
    clips: test.quiet.length,
    noiseDraws: draws.length,
    settings: [],
  }
  const measured: PatchSizes['settings'][number][] = []
  for (const [name, path] of [
    ['kws-1', model('kws-1')] as const,
    ['kws-2', model('kws-2')] as const,
    ...settings.map((file) => [basename(file, '.onnx'), join(retrained, file)] as const),
  ]) {
    const row = await measure(name, path)
    measured.push(row)
    console.log(JSON.stringify(row))
  }
  measured.sort((a, b) => a.patchBytes.bundle - b.patchBytes.bundle)
  const sizes = { ...out, settings: measured }
  writeFileSync(join(docs, 'patch-sizes.json'), `${JSON.stringify(sizes, null, 2)}\n`)
  writeFileSync(join(docs, 'patch-sizes.svg'), plotPatchSizes(sizes))
}

await main()
