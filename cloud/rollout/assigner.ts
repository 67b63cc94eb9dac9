import type { Clock } from '../../contract/clock.ts'
import type { Assignment } from '../../contract/release.ts'
import { encodeSigned } from '../../contract/signed.ts'
import type { DeviceRecord } from '../store/device-store.ts'
import type { Store } from '../store/store.ts'
import type { Director } from '../trust/director.ts'
import { ZoneWindows } from '../trust/zone-window.ts'
import { giveTurns } from './executor.ts'

/** chosen: documents signed in one transaction at most; 200 take about 20 ms */
const SLICE = 200

/** Turns what devices are to run into signed assignments. What is still to do stands in the store (`dirty`), so a process
 *  that dies between two slices goes on where it was.
 */
export class Assigner {
  readonly #store: Store
  readonly #directors: { readonly current: Director }
  readonly #clock: Clock
  readonly #ttlMs: number
  readonly #windows = new ZoneWindows()

  /** @param directors whose current key signs
   *  @param ttlMs validity of an assignment; it is signed anew when a quarter of it is left */
  constructor(store: Store, directors: { readonly current: Director }, clock: Clock, ttlMs: number) {
    this.#store = store
    this.#directors = directors
    this.#clock = clock
    this.#ttlMs = ttlMs
  }

  /** Signs one slice.
   *  @param enough asked after each document whether the slice has taken long enough
   *  @returns how many were signed, and whether something may be left */
  signSlice(enough: () => boolean = () => false): { signed: number; more: boolean } {
    const now = this.#clock.wallMs()
    return this.#store.atomically(() => {
      this.#store.assignments.markExpiring(now + this.#ttlMs / 4, SLICE)
      let devices = this.#store.devices.dirty(SLICE)
      // Once a round: with its last slice.
      if (devices.length < SLICE && giveTurns(this.#store, now) > 0) devices = this.#store.devices.dirty(SLICE)
      let signed = 0
      for (const device of devices) {
        this.#assign(device, now)
        signed++
        if (enough()) break
      }
      return { signed, more: signed < devices.length || devices.length === SLICE }
    })
  }

  #assign(device: DeviceRecord, now: number): void {
    const { assignments, models, devices, rollouts } = this.#store
    const release = device.target === null ? undefined : models.byId(device.target)
    devices.clean(device.id)
    if (release === undefined) return
    const { name, version, sha256 } = release
    // A store restored from a backup may be behind what the device accepted; its reports tell.
    const seq = Math.max(assignments.lastSeq(device.id), this.#store.fleet.acceptedSeq(device.id)) + 1
    const expiresMs = now + this.#ttlMs
    const hours = devices.windowOf(device)
    const window = hours === null ? undefined : this.#windows.at(hours, now)
    const assignment: Assignment = {
      v: 1,
      type: 'assignment',
      device: device.name,
      site: device.site,
      board: device.board,
      seq,
      issuedMs: now,
      expiresMs,
      target: { name, version, sha256 },
      rollout: device.rollout === null ? null : { id: device.rollout, stage: device.stage, arm: device.arm },
      ...(window !== undefined && { window }),
    }
    const document = new TextDecoder().decode(encodeSigned(this.#directors.current.sign(assignment)))
    assignments.put({ device: device.id, seq, release: release.id, issuedMs: now, expiresMs, document })
    rollouts.noteTold(device.id, release.id, seq)
  }
}
