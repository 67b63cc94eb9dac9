import { HOUR_MS } from '../store/telemetry-store.ts'

/** What is known of a device when somebody asks why it does not run another model. */
export interface Situation {
  readonly nowMs: number
  readonly board: string
  readonly family: string
  readonly removed: boolean
  readonly enrolled: boolean
  /** its tokens and keys were ended, and none was given since */
  readonly revoked: boolean
  /** null: it has none */
  readonly target: { readonly name: string; readonly version: number; readonly prefix: string } | null
  /** prefix of the model of its newest report; null: it never reported */
  readonly running: string | null
  readonly lastSeenMs: number
  /** of the document that gateways are given; null: none is signed */
  readonly signedSeq: number | null
  /** newest that its reports name */
  readonly acceptedSeq: number
  /** the open rollout that it takes part in */
  readonly rollout: {
    readonly id: string
    readonly state: string
    readonly arm: 'canary' | 'control' | 'none'
    readonly isExperiment: boolean
  } | null
  /** its assignment is not signed before it is its turn to install */
  readonly waits: boolean
  /** it keeps its target by a rollout that has completed for devices that were chosen, beside another production; null: it does not */
  readonly kept: { readonly rollout: string; readonly production: string } | null
  /** its newest events, newest first */
  readonly events: readonly {
    readonly code: string
    readonly error: string | null
    readonly model: string | null
    readonly atMs: number
    readonly assignmentSeq: number | null
  }[]
}

export interface WhyNot {
  readonly code:
    | (
        | 'removed'
        | 'not-enrolled'
        | 'revoked'
        | 'no-target'
        | 'control'
        | 'experiment'
        | 'kept'
        | 'never-heard'
        | 'silent'
        | 'being-signed'
      )
    | 'waits-its-turn'
    | ('refused' | 'not-accepted' | 'failed' | 'outside-window' | 'low-battery' | 'delayed' | 'paused' | 'under-way')
  readonly words: string
}

/** chosen: devices report every hour; two may be lost */
const SILENT_MS = 3 * HOUR_MS

/** The first thing that keeps a device from another model, from the cloud to the device.
 *  @returns undefined: it runs what it is to run, and no rollout keeps it there */
export function whyNot(at: Situation): WhyNot | undefined {
  const why = (code: WhyNot['code'], words: string): WhyNot => ({ code, words })
  if (at.removed) return why('removed', 'It was removed; what is shown is its history.')
  if (!at.enrolled)
    return why('not-enrolled', 'A gateway has named it, but it was never enrolled: claim it or import it.')
  if (at.revoked) return why('revoked', 'Its keys and tokens are revoked; a new claim brings it back.')
  const { target, rollout } = at
  if (target === null)
    return why('no-target', `Family ${at.family} has no production model for its board, ${at.board}.`)
  const name = `${target.name} ${target.version}`
  if (at.running === target.prefix) {
    if (rollout?.arm === 'canary' && rollout.isExperiment) {
      return why('experiment', `It runs ${name} for the time of experiment ${rollout.id}, and then what it ran before.`)
    }
    if (rollout?.arm !== 'control') return keptWords(at, name)
    return why('control', `It stays on ${name} as control of rollout ${rollout.id}, which is ${rollout.state}.`)
  }
  const silent = at.nowMs - at.lastSeenMs
  if (at.running === null && at.lastSeenMs === 0) return why('never-heard', 'It has never reported.')
  if (silent > SILENT_MS) return why('silent', `It has not been heard for ${Math.floor(silent / HOUR_MS)} h.`)
  if (at.waits) {
    return why(
      'waits-its-turn',
      `Its rollout lets only so many devices install at once: it is told of ${name} in its turn.`,
    )
  }
  if (at.signedSeq === null) return why('being-signed', `Its assignment of ${name} is not signed yet.`)
  return (
    deviceSays(at, target.prefix, name) ??
    (rollout?.state === 'paused' ? why('paused', `Rollout ${rollout.id} is paused.`) : undefined) ??
    (at.acceptedSeq < at.signedSeq
      ? why(
          'not-accepted',
          `It has not said that it accepted assignment ${at.signedSeq}; the newest it did is ${at.acceptedSeq}.`,
        )
      : why('under-way', `It has accepted ${name} and has not said more yet.`))
  )
}

function keptWords({ kept, family }: Situation, name: string): WhyNot | undefined {
  if (kept === null) return undefined
  const words = `It keeps ${name} by rollout ${kept.rollout}, for which it was chosen; production of family ${family} is ${kept.production}.`
  return { code: 'kept', words }
}

/** What its events tell of the present target, newest first. */
function deviceSays(at: Situation, prefix: string, name: string): WhyNot | undefined {
  const about = at.events.filter(({ model, assignmentSeq }) =>
    model === null ? assignmentSeq !== null && assignmentSeq === at.signedSeq : model === prefix,
  )
  const failures = about.filter(({ code }) => code === 'install-failed' || code === 'reverted')
  for (const { code, error } of about) {
    const because = error ?? 'it did not say why'
    if (code === 'install-refused') return { code: 'refused', words: `It refused ${name}: ${because}.` }
    if (code === 'install-failed' || code === 'reverted') {
      const times = failures.length === 1 ? 'once' : `${failures.length} times`
      return { code: 'failed', words: `It tried ${name} and failed ${times}, the last time: ${because}.` }
    }
    if (code === 'install-delayed') {
      if (error === 'outside-window')
        return { code: error, words: `It waits for its hours of updates to download ${name}.` }
      if (error === 'low-battery') return { code: error, words: `It waits for charge before it downloads ${name}.` }
      return {
        code: 'delayed',
        words: `Its last attempt at ${name} did not go through: ${because}. It tries again by itself.`,
      }
    }
    if (code === 'install-started' || code === 'download-complete' || code === 'trial-started') {
      return { code: 'under-way', words: `It is on the way to ${name}: ${code}.` }
    }
  }
  return undefined
}
