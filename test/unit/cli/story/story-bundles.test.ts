import { expect, it } from 'vitest'
import { REISSUED, storyBundle } from '../../../../cli/story/story-bundles.ts'
import { sha256Hex } from '../../../../contract/bytes.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { Hearing } from '../../../../firmware-sim/hearing.ts'
import { soundSenses } from '../../../../firmware-sim/scene.ts'
import { loadSoundBank } from '../../../../firmware-sim/sound-bank.ts'
import { EngineOrtNode } from '../../../../model/engine/engine-ort-node.ts'
import { openBundle } from '../../../../model/opened-bundle.ts'

it('the model that is released once more hears exactly what the one in production hears', async () => {
  const [factory, again] = [storyBundle('kws-1'), storyBundle(REISSUED)]
  expect(sha256Hex(again.bytes)).not.toBe(sha256Hex(factory.bytes))
  expect(again.manifest).toEqual({ ...factory.manifest, name: REISSUED, version: 2, parent: sha256Hex(factory.bytes) })
  // As a device sees them: whole, and one memory of what is heard for both.
  const hearing = new Hearing(soundSenses(loadSoundBank('zoo/bank'), seededRandom(1)))
  const memories = []
  for (const { bytes } of [factory, again]) {
    const opened = await openBundle(bytes, new EngineOrtNode(), Number.POSITIVE_INFINITY)
    if (!opened.ok) throw new Error(opened.error.detail)
    memories.push(hearing.memoryOf(opened.value, 'gated'))
    await opened.value.dispose()
  }
  expect(memories[0]).toBe(memories[1])
})
