import { createHash } from 'node:crypto'
import type { Context } from 'hono'
import type { DeviceRecord } from '../store/device-store.ts'
import type { Group } from '../store/group-store.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { CloudEnv } from './environment.ts'
import { fail } from './problem.ts'

/** Entity tags of what people decide about a thing, not of what is measured of it: the gate looks every minute, and who read a rollout before
 *  that may still pause it. */

const tagOf = (decided: readonly unknown[]): string =>
  `"${createHash('sha256').update(JSON.stringify(decided)).digest('base64url').slice(0, 16)}"`

/** It is another at each step of the rollout, of the gate or by hand. */
export const rolloutTag = (rollout: RolloutRecord): string => {
  const { id, state, stage, stageStartedMs, pausedSinceMs, pausedMs, grantedHours, policy, endedMs } = rollout
  return tagOf([id, state, stage, stageStartedMs, pausedSinceMs, pausedMs, grantedHours, policy, endedMs])
}

/** It is another when the device gets another model, rollout, family or window. */
export const deviceTag = (device: DeviceRecord): string => {
  const { name, target, pinned, rollout, stage, family, updateWindow, removedMs } = device
  return tagOf([name, target, pinned, rollout, stage, family, updateWindow, removedMs])
}

export const groupTag = ({ name, query, changedMs }: Group): string => tagOf([name, query, changedMs])

/** Refuses a change of something that is no longer as its sender saw it.
 *  @param tag of what is there; undefined: there is nothing
 *  @see RFC 9110 section 13.1 */
export function requireMatch(c: Context<CloudEnv>, tag: string | undefined): void {
  const match = c.req.header('if-match')
  if (match !== undefined && !(tag !== undefined && names(match, tag))) {
    const now = tag === undefined ? 'it is not there' : `it is ${tag} now`
    fail('precondition-failed', `If-Match: it has changed since, ${now}. Look at it again, then decide`)
  }
  const noneMatch = c.req.header('if-none-match')
  if (noneMatch !== undefined && tag !== undefined && names(noneMatch, tag)) {
    fail('precondition-failed', `If-None-Match: it is there already, as ${tag}`)
  }
}

const names = (header: string, tag: string): boolean =>
  header.trim() === '*' || header.split(',').some((each) => each.trim() === tag)
