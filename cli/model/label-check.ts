import { present } from '../../contract/present.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { foldersWithAudio, readAudio } from '../audio-files.ts'
import { CommandFailure } from '../failure.ts'
import { argmax, clipHearing } from './clip-hearing.ts'
import { wakePipeline } from './wake-pipeline.ts'

/** chosen: of each label; enough to tell an order that is wrong from a network that is poor */
const CLIPS_A_LABEL = 12
/** chosen: with fewer, chance does what a wrong order does */
const CLIPS_MIN = 6

export interface LabelCheck {
  readonly clips: number
  readonly correct: number
  /** pairs of labels of which each is heard as the other, most of the time */
  readonly swapped: readonly (readonly [string, string])[]
}

/** Hears labelled clips with the first graph of a bundle of windows, to find out whether the labels are in the order of its outputs.
 *  @param dir folders named as labels; others are passed over
 *  @returns undefined where there are none */
export async function checkLabels(
  { manifest, definition, sessions }: OpenedBundle,
  dir: string,
): Promise<LabelCheck | undefined> {
  if (definition.kind !== 'mfcc') return undefined
  const { labels } = wakePipeline('the bundle', manifest)
  const session = present(sessions.get(present(manifest.graphs[0], 'a graph').id), 'its session')
  const hear = clipHearing(definition, session)
  const heard = new Map<string, number[]>()
  for (const [label, files] of foldersWithAudio(dir)) {
    if (!labels.includes(label)) continue
    const counts = labels.map(() => 0)
    const count = Math.min(CLIPS_A_LABEL, files.length)
    for (let i = 0; i < count; i++) {
      const audio = readAudio(present(files[Math.floor((i * files.length) / count)], 'a clip'), definition.sampleRateHz)
      if ('refusal' in audio) continue
      const result = await hear(audio.samples)
      if (!result.ok) throw new CommandFailure(`${result.error.code}: ${result.error.detail}`)
      const best = argmax(result.value)
      counts[best] = (counts[best] ?? 0) + 1
    }
    if (counts.some((clips) => clips > 0)) heard.set(label, counts)
  }
  if (heard.size === 0) return undefined
  let [clips, correct] = [0, 0]
  const mostly = new Map<string, string>()
  for (const [label, counts] of heard) {
    const total = counts.reduce((sum, count) => sum + count, 0)
    clips += total
    correct += counts[labels.indexOf(label)] ?? 0
    const best = argmax(counts)
    if (total >= CLIPS_MIN && 2 * (counts[best] ?? 0) > total) mostly.set(label, labels[best] ?? '')
  }
  const swapped = [...mostly].filter(([a, b]) => a < b && mostly.get(b) === a)
  return { clips, correct, swapped }
}
