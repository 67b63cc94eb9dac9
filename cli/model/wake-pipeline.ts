import type { Head } from '../../contract/head.ts'
import type { BundleManifest, LadderStep } from '../../contract/manifest.ts'
import { CommandFailure } from '../failure.ts'

type WakeHead = Extract<Head, { kind: 'wake' }>

/** What a command about words works on. */
export interface WakePipeline extends Pick<WakeHead, 'labels' | 'policy'> {
  readonly index: number
  readonly id: string
}

/** The pipeline of a bundle that hears words.
 *  @param id one of several; default: the first that does
 *  @throws CommandFailure when there is none */
export function wakePipeline(path: string, { input, pipelines }: BundleManifest, id?: string): WakePipeline {
  if (input.kind !== 'audio')
    throw new CommandFailure(`${path}: this command hears sound, the bundle reads ${input.kind}`)
  for (const [index, pipeline] of pipelines.entries()) {
    if (id !== undefined && pipeline.id !== id) continue
    const { head } = pipeline
    if (head.kind === 'wake') return { index, id: pipeline.id, labels: head.labels, policy: head.policy }
  }
  const known = pipelines.map((pipeline) => `${pipeline.id} (${pipeline.head.kind})`).join(', ')
  throw new CommandFailure(
    `${path}: ${id === undefined ? 'no pipeline hears words' : `pipeline "${id}" is not there or hears no words`}`,
    {
      hint: `its pipelines are ${known}`,
    },
  )
}

/** A level at which only one pipeline runs. */
export const onlyPipeline = ({ level, runs }: LadderStep, index: number): LadderStep => ({
  level,
  runs: runs.map((run, at) => (at === index ? run : null)),
})
