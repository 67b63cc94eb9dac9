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

interface Watched {
  times: readonly number[]
  toldMs: number
}

/** Notices two devices with one identity by how often their connections take each other's place, and tells the cloud. */
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

  takenOver(device: string): void {
    const now = this.#clock.monotonicMs()
    const watched = this.#watched.get(device) ?? { times: [], toldMs: Number.NEGATIVE_INFINITY }
    this.#watched.set(device, watched)
    watched.times = [...watched.times, now]
    watched.times = watched.times.filter((ms) => ms > now - WINDOW_MS).slice(-TAKEOVERS_MIN)
    if (watched.times.length < TAKEOVERS_MIN || now - watched.toldMs < TELL_EVERY_MS) return
    watched.toldMs = now
    void this.#tell(device, watched)
  }

  async #tell(device: string, watched: Watched): Promise<void> {
    const { times } = watched
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
