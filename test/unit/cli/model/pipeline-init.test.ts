import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { initPackFile } from '../../../../cli/model/model-init.ts'
import { packFile } from '../../../../cli/model/model-pack.ts'
import { wakeWordFiles } from '../../../fixtures/pipeline-bundles.ts'
import { halvingAutoencoder, melLike, sileroLike, sileroOldLike } from '../../../fixtures/pipeline-graphs.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-init-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const path = (name: string) => join(dir, name)
const init = (name: string, graph: Uint8Array) => {
  writeFileSync(path(name), graph)
  const open = initPackFile(path(name), path('pack.yaml'), true)
  return { open, yaml: readFileSync(path('pack.yaml'), 'utf8') }
}
const packed = () => packFile(path('pack.yaml'), path('out.kinglet'), { replaces: true, highPass: false })

it.each<[string, () => Uint8Array, string[], RegExp]>([
  [
    'a voice detector with a state',
    sileroLike,
    ['window', 'labels', 'ramBytes', 'macs'],
    /guessed: a state .*state from stateN.*\n/,
  ],
  ['one with two', sileroOldLike, ['window', 'labels', 'ramBytes', 'macs'], /h from hn, c from cn/],
  ['an autoencoder', halvingAutoencoder, ['threshold'], /frames: 5/],
  ['an autoencoder of other values', () => halvingAutoencoder(64), ['window', 'threshold'], /length: 64/],
])('of %s the pack file that is written packs as it is', async (_, graph, open, why) => {
  const written = init('net.onnx', graph())
  expect(written.open).toEqual(open)
  expect(written.yaml).toMatch(why)
  expect((await packed()).packed.manifest.v).toBe(2)
})

it('of a word of openWakeWord it names the graphs before it, and packs beside them', async () => {
  for (const [name, bytes] of Object.entries(wakeWordFiles())) writeFileSync(path(name), bytes)
  const written = init('hey_jarvis.onnx', wakeWordFiles()['hey_jarvis.onnx'])
  expect(written.open).toEqual(['labels', 'melspectrogram.onnx', 'embedding_model.onnx'])
  expect((await packed()).packed.manifest.pipelines[0]!.links).toHaveLength(2)
})

it('what nothing can be guessed of is refused with what instead', () => {
  expect(() => init('mel.onnx', melLike())).toThrow(/no front end is known whose windows are/)
})
