import { type LevelMeasures, levelHears, RECALL_FLOOR } from '../../contract/level-measures.ts'
import { type LadderStep, labelsOfPipeline } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import { levelMilliwatt } from '../../device/core/power/governor.ts'
import { BOARDS, type Board, boardNamed } from '../../model/boards.ts'
import { featureTiming } from '../../model/features/feature-definition.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { levelRamBytes } from '../../model/pipeline/level-plan.ts'
import { foldersWithAudio } from '../audio-files.ts'
import { CommandFailure } from '../failure.ts'
import { LabelledHearing, laidOut } from './labelled-hearing.ts'
import { onlyPipeline, type WakePipeline } from './wake-pipeline.ts'

/** Chosen: of fewer one word more or less moves a level by more than five points. */
const WORDS_LEAST = 20
const HOUR_MS = 3_600_000
const SECONDS_PER_HOUR = 3_600

/** Measures what each level of a bundle hears of labelled recordings, through the shipping listener with the bundle's own policies.
 *  @param path of the bundle or its pack file, for messages
 *  @param dir `DIR/<label>/*.wav`, one word a recording; `_negative`, and labels that nothing wakes for, hold none
 *  @returns for each level of the ladder one for each pipeline: null where it is off, hears no words, or none of its words is there
 *  @throws CommandFailure for a folder of which nothing can be told, and when no level hears its words */
export async function measureLevels(
  bundle: OpenedBundle,
  path: string,
  dir: string,
): Promise<readonly (readonly (LevelMeasures | null)[])[]> {
  const { manifest } = bundle
  if (manifest.input.kind !== 'audio')
    throw new CommandFailure(`${path}: levels are measured on sound, the bundle reads ${manifest.input.kind}`)
  const board = boardNamed(manifest.boards[0] ?? '') ?? present(BOARDS[0], 'a board')
  const there = new Set([...foldersWithAudio(dir)].map(([name]) => name))
  const wakes = manifest.pipelines.map(({ id, head }, index): WakePipeline | null => {
    if (head.kind !== 'wake') return null
    const { labels, policy } = head
    const hasWord = labels.some((label) => there.has(label) && !policy.ignoreLabels.includes(label))
    return hasWord ? { id, index, labels, policy } : null
  })
  if (wakes.every((pipeline) => pipeline === null))
    throw new CommandFailure(`${dir}: no folder is a word of ${path}`, {
      hint: `expected DIR/<label>/*.wav with labels ${manifest.pipelines.flatMap((_, i) => labelsOfPipeline(manifest, i)).join(', ')}`,
    })
  const all = new Set(manifest.pipelines.flatMap((_, i) => labelsOfPipeline(manifest, i)))
  const ladder: (LevelMeasures | null)[][] = []
  for (const step of manifest.ladder) {
    const measured: (LevelMeasures | null)[] = []
    for (const [index, pipeline] of wakes.entries())
      measured.push(
        pipeline === null || step.runs[index] == null ? null : await measure(bundle, pipeline, step, dir, all, board),
      )
    ladder.push(measured)
  }
  if (!manifest.ladder.some(({ runs }, at) => levelHears(ladder[at], runs)))
    throw new CommandFailure(`${path}: no level hears ${percent(RECALL_FLOOR)} of the words in ${dir}`, {
      hint: 'devices would listen at none of them: see what `kinglet model curve` says of the thresholds',
    })
  return ladder
}

async function measure(
  bundle: OpenedBundle,
  pipeline: WakePipeline,
  step: LadderStep,
  dir: string,
  elsewhere: ReadonlySet<string>,
  board: Board,
): Promise<LevelMeasures> {
  const { manifest } = bundle
  const hearing = new LabelledHearing(bundle, pipeline.index, step, laidOut(dir, pipeline, elsewhere), () => undefined)
  const words = await hearing.words()
  const { wakes, windows, audioMs } = await hearing.others()
  const [skipped] = hearing.skipped
  if (skipped !== undefined) throw new CommandFailure(`${skipped.file}: ${skipped.reason}`)
  if (words.length < WORDS_LEAST || audioMs === 0)
    throw new CommandFailure(
      `${dir}: ${words.length} words of pipeline "${pipeline.id}" and ${(audioMs / 1000).toFixed(0)} s without one`,
      { hint: `${WORDS_LEAST} words at least, and some sound without one` },
    )
  const run = present(step.runs[pipeline.index], 'a run')
  const { frameMs } = featureTiming(present(manifest.pipelines[pipeline.index], 'a pipeline').features)
  const openShare = run.gate === null ? 1 : Math.min(1, (windows.length * run.hopFrames * frameMs) / audioMs)
  const holdShare = Math.min(1, (wakes.length * pipeline.policy.wakeHoldMs) / audioMs)
  const alone = onlyPipeline(step, pipeline.index)
  return {
    words: words.length,
    heard: words.filter((word) => word.wakes.includes(word.label)).length,
    hours: Number((audioMs / HOUR_MS).toPrecision(6)),
    falseWakes: wakes.length,
    ramBytes: levelRamBytes(manifest, alone),
    millijoulePerHour: Math.round(SECONDS_PER_HOUR * levelMilliwatt(manifest, board, alone, openShare, holdShare)),
    board: board.name,
  }
}

const percent = (share: number): string => `${Number((100 * share).toFixed(1))} %`

/** What a level was measured to do, a line for each pipeline; empty where nothing was measured. */
export const evidenceLines = (
  { level, measured, runs }: LadderStep,
  pipelines: readonly { readonly id: string }[],
): readonly string[] =>
  (measured ?? []).flatMap((own, index) => {
    if (own === null) return []
    const { words, heard, hours, falseWakes, ramBytes, millijoulePerHour, board } = own
    const deaf = levelHears(measured, runs) ? '' : `; below ${percent(RECALL_FLOOR)}: no device listens at it by itself`
    return [
      `${level}, ${pipelines[index]?.id}: hears ${heard} of ${words} words (${percent(heard / words)}), ` +
        `wakes falsely ${(falseWakes / hours).toFixed(1)} times an hour (${falseWakes} in ${Number(hours.toPrecision(3))} h), ` +
        `${ramBytes} bytes of RAM, ${(millijoulePerHour / 1000).toFixed(1)} J an hour on ${board} (computed)${deaf}`,
    ]
  })
