import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import type { CloudClient } from '../cloud-link/cloud-client.ts'
import type { MessageCounters } from '../message-counters.ts'

/** chosen: a device that loses its link comes back over its own dead connection once; two devices with one identity push each other off
 *  at every reconnect, seconds apart */
const TAKEOVERS_MIN = 5
const WINDOW_MS = 10 * 60_000
/** chosen: the cloud keeps the alert open for a day */
const TELL_EVERY_MS = 3_600_000
/** chosen: devices watched; the one that was quiet for longest is forgotten */
const DEVICES_MAX = 10_000

/** Chosen: takeovers within the window after which the next one waits: more than what a device does that has a bad day. */
const HOLD_AFTER = 8
/** Chosen: how long the next one is refused after so many; twice as long after each further one. A device whose own dead connection is in its
 *  way waits no longer than that takes to die: only a live one holds its place. */
const HOLD_MS_MIN = 10_000
const HOLD_MS_MAX = 10 * 60_000

interface Watched {
  /** of takeovers, and of what was refused instead */
  times: readonly number[]
  toldMs: number
  /** takeovers since they became too many */
  holds: number
  heldUntilMs: number
}

/** Notices two devices with one identity by how often their connections take each other's place, tells the cloud, and lets the one that is there keep its
 *  place for longer and longer: two that push each other off for ever are of no use and keep a radio and the gateway busy. */
export class Takeovers {
  readonly #clock: Clock
  readonly #cloud: CloudClient
  readonly #counters: MessageCounters
  readonly #watched = new LRUCache<string, Watched>({ max: DEVICES_MAX })

  constructor(parts: { readonly clock: Clock; readonly cloud: CloudClient; readonly counters: MessageCounters }) {
    this.#clock = parts.clock
    this.#cloud = parts.cloud
    this.#counters = parts.counters
  }

  /** Whether a connection of a device that has a live one is refused. That counts as a takeover: the two are still there. */
  refuses(device: string): boolean {
    const now = this.#clock.monotonicMs()
    const watched = this.#watched.peek(device)
    if (watched === undefined || now >= watched.heldUntilMs) return false
    this.#note(device, now)
    return true
  }

  takenOver(device: string): void {
    const now = this.#clock.monotonicMs()
    const watched = this.#note(device, now)
    if (watched.times.length < HOLD_AFTER) return
    watched.heldUntilMs = now + Math.min(HOLD_MS_MAX, HOLD_MS_MIN * 2 ** watched.holds)
    watched.holds = Math.min(watched.holds + 1, 16)
  }

  #note(device: string, now: number): Watched {
    const watched = this.#watched.get(device) ?? {
      ...{ times: [], holds: 0 },
      ...{ toldMs: Number.NEGATIVE_INFINITY, heldUntilMs: Number.NEGATIVE_INFINITY },
    }
    this.#watched.set(device, watched)
    const recent = watched.times.filter((ms) => ms > now - WINDOW_MS)
    // It was quiet for as long as one has to be: they begin anew.
    if (recent.length === 0) watched.holds = 0
    watched.times = [...recent, now].slice(-HOLD_AFTER)
    if (watched.times.length >= TAKEOVERS_MIN && now - watched.toldMs >= TELL_EVERY_MS) {
      watched.toldMs = now
      void this.#tell(device, watched)
    }
    return watched
  }

  async #tell(device: string, watched: Watched): Promise<void> {
    const times = watched.times.slice(-TAKEOVERS_MIN)
    const sinceMs = Math.round(
      this.#clock.wallMs() - (this.#clock.monotonicMs() - present(times[0], 'the first of the takeovers')),
    )
    const notice = { device, takenOver: times.length, sinceMs }
    const told = await this.#cloud.relay('/v1/notices', Buffer.from(JSON.stringify(notice)), 4_096)
    const taken = told.ok && told.value.status === 200
    this.#counters.add('notice', taken ? 'accepted' : 'failed')
    // If it goes on, the next one is said again.
    if (!taken) watched.toldMs = Number.NEGATIVE_INFINITY
  }
}
