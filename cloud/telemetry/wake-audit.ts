import { linkedWakes } from '../../contract/attested-report.ts'
import { hexToBytes } from '../../contract/bytes.ts'
import { type ContractError, contractError } from '../../contract/errors.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { Wake } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import type { SecureRandom } from '../../contract/random.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { WakeChecks } from '../../contract/wake-check.ts'
import { exactLogE } from '../rollout/exact-test.ts'
import { BOOTS, HOUR_MS } from '../store/boot-timeline.ts'
import type { Store } from '../store/store.ts'
import { hourIndex } from '../store/telemetry-store.ts'
import type { CheckedSums, WakeCheck } from '../store/wake-check-store.ts'

/** chosen: slots of each of two hours that a gateway is asked for, once an hour: some 40 wakes, 45 kB on the uplink */
const CHECKS_OF_AN_HOUR = 2
/** chosen: by then an honest gateway has said its verdicts; and it still has the wakes (gateway/store/kept-wakes.ts keeps two days) */
const YOUNGEST_HOURS = 3
const OLDEST_HOURS = 26
/** chosen: a gateway that is heard and has not answered in a day does not want to */
const ANSWER_MS = 24 * HOUR_MS
/** Chosen: how often two judgements of a wake by one verifier may differ without anybody lying: another build of the engine rounds otherwise at the
 *  threshold, and a verifier that has been replaced judges otherwise until the gateways have it too. */
const DIFFER_MAX = 0.05
/** Chosen: share of checks in which wakes that the device signed are not to be had without anybody's fault: a cut of power between two messages. */
const WANTING_MAX = 0.1
/** Each of the two tests of a gateway fails an honest one with at most this chance, over all looks that there ever are. */
const ALPHA = 0.005

/** What a gateway is suspected of, and what it rests on; undefined: nothing beyond chance. */
export function suspicion({ wakes, differ, devices }: CheckedSums): string | undefined {
  const limit = Math.log(1 / ALPHA)
  if (exactLogE(differ, wakes, DIFFER_MAX) >= limit) {
    return `${differ} of ${wakes} verdicts differ from a second judgement of the same wakes`
  }
  const all = { checks: sumOf(devices, 'checks'), wanting: sumOf(devices, 'wanting') }
  // Without any one of the devices too, so that none can accuse its gateway alone.
  const leastLogE = devices.reduce(
    (least, { checks, wanting }) => Math.min(least, exactLogE(all.wanting - wanting, all.checks - checks, WANTING_MAX)),
    Number.POSITIVE_INFINITY,
  )
  if (devices.length > 0 && leastLogE >= limit) {
    const of = devices.filter(({ wanting }) => wanting > 0).length
    return `in ${all.wanting} of ${all.checks} checks wakes that ${of} devices have signed were not to be had, or not judged`
  }
  return undefined
}

const sumOf = (devices: CheckedSums['devices'], of: 'checks' | 'wanting'): number =>
  devices.reduce((total, device) => total + device[of], 0)

/** What a second judgement says of what was claimed of a slot.
 *  @param claimed verdicts of the gateway
 *  @param judged verdicts on those wakes of it that the device has signed
 *  @param isWhole whether all wakes that it has signed were brought
 *  @returns in how many of how many at least the two differ. Claims on wakes that were not brought are not among them; they are wanting. */
export function compareVerdicts(
  claimed: { readonly confirmed: number; readonly rejected: number },
  judged: { readonly confirmed: number; readonly rejected: number },
  isWhole: boolean,
): { readonly wakes: number; readonly differ: number; readonly wanting: boolean } {
  const said = claimed.confirmed + claimed.rejected
  const seen = judged.confirmed + judged.rejected
  const more = Math.max(0, claimed.confirmed - judged.confirmed) + Math.max(0, claimed.rejected - judged.rejected)
  return { wakes: Math.min(said, seen), differ: more - Math.max(0, said - seen), wanting: !isWhole || said !== seen }
}

interface Parts {
  readonly store: Store
  readonly random: SecureRandom
  /** a second judgement of a wake; undefined: it cannot be judged */
  judge(wake: Wake): Promise<boolean | undefined>
  quarantine(gateway: string, reason: string): void
}

/** Has wakes judged twice. A gateway says its verdicts of a slot first; then slots are drawn by the cloud's own chance, which nobody can know
 *  before, and the gateway is asked for the wakes themselves. Which wakes those are the device has signed (contract/attested-report.ts), so
 *  none can be put in the place of another. */
export class WakeAudit {
  readonly #parts: Parts
  #pickedHour = -1
  /** checks that are being judged: an answer that comes twice counts once */
  readonly #judging = new Set<number>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Draws slots, once an hour, and books what was asked for in vain. */
  look(nowMs: number): void {
    if (hourIndex(nowMs) === this.#pickedHour) return
    this.#pickedHour = hourIndex(nowMs)
    const { store } = this.#parts
    store.atomically(() => {
      for (const gateway of store.wakeChecks.judging(hourIndex(nowMs) - OLDEST_HOURS)) this.#draw(gateway, nowMs)
      const late = store.wakeChecks.overdue(nowMs - ANSWER_MS, nowMs - HOUR_MS)
      for (const { id } of late) store.wakeChecks.book(id, { wakes: 0, differ: 0, wanting: true })
      for (const gateway of new Set(late.map((check) => check.gateway))) this.#decide(gateway)
    })
  }

  /** Of the youngest hour, so that one that begins to lie is found soon, and of any other, so that none is safe. */
  #draw(gateway: string, nowMs: number): void {
    const { wakeChecks } = this.#parts.store
    const youngest = hourIndex(nowMs) - YOUNGEST_HOURS
    for (const hour of [youngest, youngest - 1 - this.#below(OLDEST_HOURS - YOUNGEST_HOURS)]) {
      const slots = [...wakeChecks.candidates(gateway, hour)]
      for (let asked = 0; asked < CHECKS_OF_AN_HOUR && slots.length > 0; ) {
        const [drawn] = slots.splice(this.#below(slots.length), 1)
        if (wakeChecks.ask(gateway, present(drawn, 'a slot within the list'), LIMITS.wakeCheckWakes, nowMs)) asked++
      }
    }
  }

  /** Evenly in [0, n), but for one part in 2^32 / n. */
  #below(n: number): number {
    const { buffer, byteOffset } = this.#parts.random.bytes(4)
    return new DataView(buffer, byteOffset).getUint32(0) % n
  }

  /** What is asked of a gateway. */
  asked(gateway: string): WakeChecks {
    const { wakeChecks, devices } = this.#parts.store
    const checks = wakeChecks.asked(gateway, LIMITS.wakeChecks).flatMap((check) => {
      const device = devices.byId(check.device)
      if (device === undefined) return []
      const { id, first, last } = check
      return [{ id, device: device.name, ...wakeChecks.bootOf(check, BOOTS), first, last }]
    })
    return { v: 1, checks }
  }

  /** Judges what a gateway brings. @returns `not-found` when that is not asked of it, or is being judged */
  async answer(gateway: string, id: number, wakes: readonly string[]): Promise<Result<void, ContractError>> {
    const { store } = this.#parts
    const check = store.wakeChecks.asked(gateway, Number.MAX_SAFE_INTEGER).find((asked) => asked.id === id)
    if (check === undefined || this.#judging.has(id)) {
      return err(contractError('not-found', `check ${id} is not asked of ${gateway}`))
    }
    this.#judging.add(id)
    try {
      const result = await this.#judge(check, wakes.map(hexToBytes))
      store.atomically(() => {
        store.wakeChecks.book(id, result)
        this.#decide(gateway)
      })
      return ok(undefined)
    } finally {
      this.#judging.delete(id)
    }
  }

  async #judge(check: WakeCheck, messages: readonly Uint8Array[]) {
    const { first, last, slot } = check
    const signed = this.#parts.store.wakeChecks.signed(check)
    const found = linkedWakes(signed, messages)
    const judged = { confirmed: 0, rejected: 0 }
    let brought = 0
    for (const [index, wake] of found) {
      if (index < first || index > last) continue
      brought++
      if (Math.floor((wake.uptimeMs ?? -1) / HOUR_MS) !== slot) continue
      const isConfirmed = await this.#parts.judge(wake)
      if (isConfirmed !== undefined) judged[isConfirmed ? 'confirmed' : 'rejected']++
    }
    // A device that has signed to have dropped messages has perhaps dropped those.
    const isWhole = brought === last - first + 1 || (signed.at(-1)?.drops ?? 0) > 0
    return compareVerdicts(check, judged, isWhole)
  }

  #decide(gateway: string): void {
    const { store, quarantine } = this.#parts
    const reason = suspicion(store.wakeChecks.sums(gateway))
    if (reason === undefined) return
    quarantine(gateway, reason)
    // Whoever is let out again is judged by what he does from then on.
    store.wakeChecks.forget(gateway)
  }
}
