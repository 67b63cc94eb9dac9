import type { Changes } from '../store/device-changes.ts'
import type { GateReading } from '../store/gate-reading.ts'
import type { RolloutRecord } from '../store/rollout-store.ts'
import type { Store } from '../store/store.ts'
import { HOUR_MS, hourIndex } from '../store/telemetry-store.ts'
import { KeptHours, RolloutEvidence } from './device-evidence.ts'
import { type Gathered, gather, stageFrame } from './evidence.ts'
import { judgeRead } from './gate.ts'
import type { GateFrame, GateInput } from './gate-input.ts'
import { readStage, type StageRead } from './stage-read.ts'

/** What one look at a rollout has read, as data. */
export interface GateLook extends Pick<Gathered, 'contacts' | 'sameUntilMs'> {
  readonly rollout: string
  /** of the rollout's row, as it was looked at */
  readonly revision: string
  readonly nowMs: number
  readonly reading: GateReading
  /** what the reading is computed from again while nothing changes */
  readonly frame: GateFrame
  readonly read: StageRead
}

/** What of the rollout's row bears on a reading. */
export const revisionOf = (rollout: RolloutRecord): string => {
  const { stage, stageStartedMs, state, pausedMs, pausedSinceMs, grantedHours, policy } = rollout
  return JSON.stringify([stage, stageStartedMs, state, pausedMs, pausedSinceMs, grantedHours, policy.minInstalledShare])
}

/** Whether what a gate says is to be kept with what it was computed from: once an hour, and whenever the verdict changes. */
function isToBeKept(
  { readings }: Store,
  { rollout, reading, nowMs }: Pick<GateLook, 'rollout' | 'reading' | 'nowMs'>,
): boolean {
  const kept = readings.newest(rollout)
  return kept === undefined || kept.verdict !== reading.verdict || nowMs - kept.atMs >= HOUR_MS
}

/** The look of before at a later time, where no device has changed since.
 *  @returns undefined when another look is needed: the hour has turned, somebody has fallen silent, or it is to be kept */
export function sameLook(store: Store, last: GateLook, rollout: RolloutRecord, nowMs: number): GateLook | undefined {
  if (last.revision !== revisionOf(rollout) || hourIndex(nowMs) !== hourIndex(last.nowMs)) return undefined
  if (nowMs < last.nowMs || nowMs > last.sameUntilMs) return undefined
  const frame = { ...last.frame, ...stageFrame(rollout, nowMs) }
  const look = { ...last, nowMs, frame, reading: judgeRead(rollout.policy, frame, last.read), contacts: [] }
  return isToBeKept(store, look) ? undefined : look
}

/** Looks at rollouts, and keeps what it has read of each device until that changes. What is kept is only a copy: it goes with the process. */
export class GateLooks {
  readonly #store: Store
  readonly #kept: KeptHours
  readonly #evidence = new Map<string, RolloutEvidence>()
  readonly #looks = new Map<string, GateLook>()

  /** @param hoursBytes what kept hours may take; what is beyond is read again at each look */
  constructor(store: Store, hoursBytes: number) {
    this.#store = store
    this.#kept = new KeptHours(hoursBytes)
  }

  /** To be told before a look, in the transaction of it. */
  note({ all, devices }: Changes): void {
    for (const [id, evidence] of this.#evidence) {
      if (all) this.#forget(id, evidence)
      else if (evidence.refresh(devices)) this.#looks.delete(id)
    }
  }

  /** Reads the gate of a rollout. In a transaction, so that all is of one moment.
   *  @returns the input only where it is to be kept */
  look(rollout: RolloutRecord, nowMs: number): { readonly look: GateLook; readonly input: GateInput | null } {
    const store = this.#store
    const { id, policy } = rollout
    const last = this.#looks.get(id)
    const same = last && sameLook(store, last, rollout, nowMs)
    if (same !== undefined) return { look: same, input: null }
    const evidence = this.#evidence.get(id) ?? new RolloutEvidence(store, rollout, this.#kept)
    this.#evidence.set(id, evidence)
    const { input, contacts, sameUntilMs } = gather(store, rollout, evidence, nowMs)
    const read = readStage(policy, input)
    const { signals: _, ...frame } = input
    const reading = judgeRead(policy, frame, read)
    const look = { rollout: id, revision: revisionOf(rollout), nowMs, reading, frame, read, contacts, sameUntilMs }
    this.#looks.set(id, look)
    return { look, input: isToBeKept(store, look) ? input : null }
  }

  /** What is kept of rollouts that are over is of no use. */
  forgetEnded(): void {
    for (const [id, evidence] of this.#evidence) if (this.#store.rollouts.isOver(id)) this.#forget(id, evidence)
  }

  #forget(id: string, evidence: RolloutEvidence): void {
    evidence.drop()
    this.#evidence.delete(id)
    this.#looks.delete(id)
  }
}
