import { type ContractError, contractError } from '../../../contract/errors.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { metaCodec, metaGetCodec } from '../../../contract/messages.ts'
import { parseMetadataFile } from '../../../contract/metadata-file.ts'
import { present } from '../../../contract/present.ts'
import type { Release } from '../../../contract/release.ts'
import { releaseOfTarget } from '../../../contract/repository-target.ts'
import { err, type Result } from '../../../contract/result.ts'
import { advanceFloor, effectiveNow, raiseFloor } from '../../../contract/time-floor.ts'
import type { Fetched } from '../../../contract/tuf/metadata-fetch.ts'
import { beginUpdate, type UpdateCycle } from '../../../contract/tuf/update-cycle.ts'
import { factoryTrust } from '../flash/trust-record.ts'
import type { AgentState } from './agent-state.ts'
import type { Step } from './agent-step.ts'
import type { Consultation } from './consultation.ts'

/** The agent's part in asking the image repository, block by block over the gateway: the cycle and the search know what to fetch and
 *  what to believe (contract/tuf), this knows how to fetch. */

/** Requests for metadata are not queued and share this id with requests for blocks. */
const GET_ID = 0
/** Chosen: as long as a block of an image may take. */
export const META_TIMEOUT_MS = 10 * 60_000
/** Chosen: an hour without an answer ends a consultation; whoever asked tries again later. */
const META_ATTEMPTS_MAX = 6
/** Chosen: a consultation is about ten blocks; whoever lets each of them come at the last moment does not hold up the rest of a day. */
const CONSULTATION_MS_MAX = 6 * 3_600_000

/** What a consultation ended with. */
export interface Consulted {
  readonly path: string | undefined
  /** the release at `path`; undefined when nothing was looked for */
  readonly result: Result<Release | undefined, ContractError>
}

/** The time that metadata and assignments are judged by, Unix ms: the wall clock as far as it is believed. */
export function trustedNow(state: AgentState, nowWallMs: number): number {
  return effectiveNow(state.repository.trust.floor, nowWallMs > 0 ? nowWallMs : undefined)
}

/** Lets the floor under the clock rise by the time that has passed. */
export function ageFloor(step: Step): void {
  const { trust, floorAtMs } = step.state.repository
  const floor = advanceFloor(trust.floor, step.now.monotonicMs - floorAtMs)
  step.change('repository', { trust: { ...trust, floor }, floorAtMs: step.now.monotonicMs })
}

/** Begins to ask the repository what is at a path, or only what is new.
 *  @returns the end, when it came at once: a root that is none */
export function consult(step: Step, path: string | undefined): Consulted | undefined {
  ageFloor(step)
  const { config } = step.state
  const { trust } = step.state.repository
  const nowMs = trustedNow(step.state, step.now.wallMs)
  const options = { nowMs, schemes: config.schemes, targets: 'when-searched' } as const
  const begun = beginUpdate({ ...trust.files, verified: step.state.repository.trustVerified }, options)
  if (!begun.ok) {
    // What the flash kept is no root any more; the factory's still is, or the device was never given one.
    step.change('repository', { trust: factoryTrust(config.trustRoot), trustVerified: false, consultation: null })
    return { path, result: begun }
  }
  const cycle = begun.value
  step.change('repository', {
    consultation: {
      cycle,
      path,
      search: undefined,
      file: '',
      maxBytes: 0,
      received: NOTHING,
      startedAtMs: step.now.monotonicMs,
      requestedAtMs: 0,
      attempts: 0,
    },
  })
  return advance(step)
}

const TIMESTAMP = 'timestamp.json'
/** Whether the search for a newer root may be answered with the timestamp: most often there is none. */
const timestampWouldDo = ({ file, received, search }: Consultation): boolean =>
  search === undefined && received.length === 0 && file.endsWith('.root.json')

const NOTHING = new Uint8Array(0)

/** Ends a consultation that nobody waits for any more. */
export const forgetConsultation = (step: Step): void => step.change('repository', { consultation: null })

/** @returns the end of the consultation, when this message brought it */
export function metaArrived(step: Step, payload: Uint8Array): Consulted | undefined {
  const meta = metaCodec.decode(payload)
  // Nothing is lost by a message that cannot be read: the request is repeated.
  if (step.state.repository.consultation === null || !meta.ok) return undefined
  const { file, offset, totalBytes, data, error } = meta.value
  if (file === TIMESTAMP && timestampWouldDo(step.state.repository.consultation)) {
    // It says that there is no newer root, and is the answer to what comes next.
    const { consultation } = step.state.repository
    consultation.cycle.received('not-found')
    const next = consultation.cycle.next()
    if (next.kind !== 'fetch') return advance(step)
    step.change('repository', {
      consultation: { ...consultation, file: next.file, maxBytes: next.maxBytes, attempts: 0 },
    })
  }
  const { consultation } = step.state.repository
  if (file !== consultation.file || offset !== consultation.received.length) return undefined
  if (error === 'not-found') return fetched(step, 'not-found')
  const { maxBytes } = consultation
  const tooLarge = () => fetched(step, new Uint8Array(maxBytes + 1))
  if (error === 'too-large') return tooLarge()
  // Busy, or without a cloud: asked again after the timeout, as if no answer had come.
  if (error !== undefined || data === undefined) return undefined
  // Nor is a block that says less than it could: a byte at a time, a file would take for ever.
  if (data.length !== Math.min(LIMITS.blockBytes, totalBytes - offset)) return undefined
  const received = new Uint8Array(offset + data.length)
  received.set(consultation.received)
  received.set(data, offset)
  // Past its bound a file is refused by its length; the rest of it is not fetched.
  if (totalBytes > maxBytes) return tooLarge()
  if (received.length === totalBytes) return fetched(step, received)
  request(step, { ...consultation, received, attempts: 0 })
  return undefined
}

/** Repeats the request under way, as after a reconnection. */
export function repeatRequest(step: Step): void {
  const { consultation } = step.state.repository
  if (consultation !== null) request(step, consultation)
}

/** @returns the end of the consultation, when nobody has answered for too long, or all the answers have taken too long */
export function consultationTimedOut(step: Step): Consulted | undefined {
  const { connected } = step.state
  const { consultation } = step.state.repository
  if (consultation === null || !connected) return undefined
  const lastsMs = step.now.monotonicMs - consultation.startedAtMs
  if (lastsMs >= CONSULTATION_MS_MAX) {
    return breakOff(step, contractError('download-stalled', `the image repository took ${lastsMs} ms to answer`))
  }
  if (step.now.monotonicMs - consultation.requestedAtMs < META_TIMEOUT_MS) return undefined
  if (consultation.attempts >= META_ATTEMPTS_MAX) return fetched(step, 'unavailable')
  request(step, consultation)
  return undefined
}

function fetched(step: Step, what: Fetched): Consulted | undefined {
  const { cycle, search } = present(step.state.repository.consultation, 'the consultation under way')
  if (search === undefined) cycle.received(what)
  else search.received(what)
  return advance(step)
}

/** Goes on to the next file, or ends. */
function advance(step: Step): Consulted | undefined {
  const consultation = present(step.state.repository.consultation, 'the consultation under way')
  const { cycle, path } = consultation
  let { search } = consultation
  if (search === undefined) {
    const next = cycle.next()
    if (next.kind === 'fetch') return fetch(step, consultation, next)
    keepTrust(step, cycle)
    if (next.kind === 'failed') return end(step, path, err(next.error))
    if (path === undefined) return end(step, path, { ok: true, value: undefined })
    search = cycle.findTarget(path)
    step.change('repository', { consultation: { ...consultation, search } })
  }
  const next = search.next()
  if (next.kind === 'fetch') return fetch(step, { ...consultation, search }, next)
  return end(step, path, next.kind === 'found' ? releaseOfTarget(next.target) : err(next.error))
}

function end(step: Step, path: string | undefined, result: Consulted['result']): Consulted {
  step.change('repository', { consultation: null })
  return { path, result }
}

/** Ends a consultation before its time; what it has verified is kept. */
function breakOff(step: Step, error: ContractError): Consulted {
  const { cycle, path, search } = present(step.state.repository.consultation, 'the consultation under way')
  if (search === undefined) keepTrust(step, cycle)
  return end(step, path, err(error))
}

function fetch(
  step: Step,
  consultation: Consultation,
  { file, maxBytes }: { file: string; maxBytes: number },
): Consulted | undefined {
  // The name of a role is somebody's word. One that no gateway serves is not asked for.
  if (!parseMetadataFile(file).ok) {
    return breakOff(step, contractError('metadata-malformed', `${file.slice(0, 80)} is no name of a file`))
  }
  request(step, { ...consultation, file, maxBytes, received: NOTHING, attempts: 0 })
  return undefined
}

function request(step: Step, consultation: Consultation): void {
  const { file, received, attempts } = consultation
  step.change('repository', {
    consultation: { ...consultation, requestedAtMs: step.now.monotonicMs, attempts: attempts + 1 },
  })
  if (!step.state.connected) return
  const payload = metaGetCodec.encode({
    file,
    offset: received.length,
    ...(timestampWouldDo(consultation) && { orTimestamp: true }),
  })
  step.radio('meta-get', payload.length, 'tx')
  step.effect({ type: 'publish', id: GET_ID, kind: 'meta-get', payload, qos: 0 })
}

/** Keeps what a cycle has verified, whether it succeeded or not: a new root holds although the timestamp after it is refused. */
function keepTrust(step: Step, cycle: UpdateCycle): void {
  const { trusted, changed, time } = cycle.result
  const { root, timestamp, snapshot } = trusted
  const floor = raiseFloor(step.state.repository.trust.floor, time)
  const trust = { files: { root, timestamp, snapshot }, floor }
  step.change('repository', { trust, trustVerified: true })
  // The floor alone is kept with the next change: what it has gained since is lost at a reset, and no more.
  if (changed.length > 0) step.effect({ type: 'write-trust', trust })
}
