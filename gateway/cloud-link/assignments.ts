import type { Clock } from '../../contract/clock.ts'
import { contractError } from '../../contract/errors.ts'
import { isBoard } from '../../contract/fields.ts'
import { isId } from '../../contract/id.ts'
import { LIMITS } from '../../contract/limits.ts'
import type { SeededRandom } from '../../contract/random.ts'
import { assignmentSchema, parseContent } from '../../contract/release.ts'
import { err, type Result } from '../../contract/result.ts'
import { asSigned, encodeSigned } from '../../contract/signed.ts'
import { type DeviceId, type SiteId, topicOf } from '../../contract/topics.ts'
import { type AssignmentFeed, assignmentFeedSchema } from '../../contract/uplink.ts'
import type { Logger } from '../../platform/logger.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { HeldAssignment, NewAssignment } from '../store/held-assignments.ts'
import type { StoreClient } from '../store/store-client.ts'
import type { CloudClient, CloudError } from './cloud-client.ts'
import { Retry } from './retry.ts'

/** Which part of the feed is asked for. */
export interface FeedOptions {
  /** names this gateway to the cloud */
  readonly gatewayId: string
  /** whose devices it serves; none: all sites that it is enrolled for */
  readonly sites: readonly string[]
  /** how long the cloud may hold a request open, 0 to 25 */
  readonly waitSeconds: number
  /** of the injected clock between two requests when nothing changed: a feed that answers at once must not become a busy loop */
  readonly idleMs: number
}

interface Parts {
  readonly cloud: CloudClient
  readonly store: StoreClient
  readonly counters: MessageCounters
  readonly clock: Clock
  readonly random: SeededRandom
  readonly logger: Logger
  /** retained, QoS 1; an empty payload clears the topic */
  publish(topic: string, payload: Uint8Array): void
}

/** contract bound of one answer: as many documents as it may have items, and their JSON around */
const FEED_BYTES_MAX = LIMITS.ingestRows * (LIMITS.assignmentBytes + 256)

/** Follows the cloud's feed of assignments, keeps the newest of each device on disk and publishes it retained, so that a device
 *  that wakes for a minute a day finds it. The gateway verifies no signature of it: the device does, and trusts nobody between.
 *  What does not name its own device is dropped all the same, and a sequence number that goes back is ignored.
 */
export class Assignments {
  readonly #parts: Parts
  readonly #options: FeedOptions
  readonly #retry: Retry
  #cursor = '0'

  constructor(parts: Parts, options: FeedOptions) {
    this.#parts = parts
    this.#options = options
    this.#retry = new Retry(parts.clock, parts.random)
  }

  /** Publishes what is on disk, then follows the feed until `close`. */
  async start(): Promise<void> {
    const { store, logger } = this.#parts
    const { sites } = this.#options
    if (sites.length === 0) logger.info({}, 'assignments of every site that it is enrolled for are held')
    await store.ask('serveSites', sites)
    const { cursor, held } = await store.ask('assignments')
    this.#cursor = cursor
    for (const assignment of held) this.#publish(assignment)
    this.#retry.start(() => this.#turn())
  }

  /** Publishes a device's assignment again, because its report names an older one. A broker may drop a delivery to a connected
   *  client: aedes takes a message that is overtaken by a later one of the same client for a duplicate. At most once a report,
   *  and a device ignores the number it has. */
  repeat(held: HeldAssignment): void {
    this.#parts.counters.add('assignment', 'repeated')
    this.#publish(held)
  }

  /** Serves a device no longer what was made for it before it was revoked or removed.
   *  @param beforeMs of the revocation, Unix ms of the cloud */
  async withdraw(device: string, beforeMs: number): Promise<void> {
    const { store, counters, logger } = this.#parts
    try {
      const dropped = await store.ask('dropAssignment', device, beforeMs)
      if (dropped === undefined) return
      counters.add('assignment', 'withdrawn')
      this.#publish({ ...dropped, document: new Uint8Array(0) })
    } catch (cause) {
      // The device is not let in anyway.
      logger.error({ err: cause, device }, 'an assignment could not be withdrawn')
    }
  }

  close(): Promise<void> {
    return this.#retry.close()
  }

  async #turn(): Promise<void> {
    const cursor = this.#cursor
    const feed = await this.#poll(cursor)
    if (this.#retry.isClosed) return
    if (!feed.ok) {
      this.#parts.counters.add('assignment-feed', feed.error.code)
      if (feed.error.code !== 'unavailable') this.#parts.logger.warn({ error: feed.error }, 'assignment feed refused')
      return this.#retry.pause()
    }
    if (!(await this.#take(feed.value))) return this.#retry.pause()
    this.#retry.succeeded()
    if (this.#cursor === cursor) await this.#retry.wait(this.#options.idleMs)
  }

  async #poll(cursor: string): Promise<Result<AssignmentFeed, CloudError>> {
    const { gatewayId, sites, waitSeconds } = this.#options
    const query = new URLSearchParams({ after: cursor, waitSeconds: String(waitSeconds), gateway: gatewayId })
    for (const site of sites) query.append('site', site)
    const answer = await this.#parts.cloud.getJson(`/v1/assignments?${query.toString()}`, FEED_BYTES_MAX)
    if (!answer.ok) return answer
    const parsed = parseContent(assignmentFeedSchema, answer.value, 'assignment feed')
    return parsed.ok ? parsed : err({ ...parsed.error, status: undefined })
  }

  /** Stores documents, tags and cursor in one transaction, then publishes. */
  async #take(feed: AssignmentFeed): Promise<boolean> {
    const { store, counters, logger } = this.#parts
    const items: NewAssignment[] = []
    const departed: { device: string; site: string }[] = []
    for (const item of feed.items) {
      if (!this.#isOurs(item.site)) {
        // A cloud of before sends them all.
        counters.add('assignment', 'other-site')
        continue
      }
      if (item.document === null) {
        departed.push({ device: item.device, site: item.site })
        continue
      }
      const read = this.#read(item)
      if (read.ok) items.push(read.value)
      else {
        counters.add('assignment', read.error.code)
        logger.warn({ error: read.error, device: item.device }, 'assignment dropped')
      }
    }
    try {
      for (const held of departed.length === 0 ? [] : await store.ask('dropDeparted', departed)) {
        counters.add('assignment', 'withdrawn')
        this.#publish({ ...held, document: new Uint8Array(0) })
      }
      for (const { held, formerSite } of await store.ask('takeAssignments', items, feed.cursor)) {
        if (formerSite !== undefined && formerSite !== held.site) {
          this.#publish({ ...held, site: formerSite, document: new Uint8Array(0) })
        }
        counters.add('assignment', 'published')
        this.#publish(held)
      }
    } catch (cause) {
      logger.error({ err: cause }, 'assignments could not be stored')
      return false
    }
    this.#cursor = String(feed.cursor)
    return true
  }

  #isOurs(site: string): boolean {
    const { sites } = this.#options
    return sites.length === 0 || sites.includes(site)
  }

  #read({ site, device, board, document }: AssignmentFeed['items'][number]) {
    const envelope = asSigned(document)
    if (!envelope.ok) return envelope
    const parsed = parseContent(assignmentSchema, envelope.value.signed, 'assignment')
    if (!parsed.ok) return parsed
    const assignment = parsed.value
    if (
      assignment.device !== device ||
      assignment.site !== site ||
      assignment.board !== board ||
      !isId(device) ||
      !isId(site)
    ) {
      return err(contractError('wrong-device', `assignment for ${assignment.device} came as one for ${device}`))
    }
    if (!isBoard(board)) return err(contractError('malformed', `board "${board}"`))
    const bytes = encodeSigned(envelope.value)
    if (bytes.length > LIMITS.assignmentBytes)
      return err(contractError('too-large', `assignment of ${bytes.length} bytes`))
    const { seq, rollout } = assignment
    const tag = {
      seq,
      rollout: rollout?.id ?? '',
      stage: rollout?.stage ?? 0,
      arm: rollout?.arm ?? 'none',
      board,
    } as const
    return { ok: true, value: { held: { site, device, seq, document: bytes }, tag } } as const
  }

  #publish({ site, device, document }: HeldAssignment): void {
    this.#parts.publish(topicOf(site as SiteId, device as DeviceId, 'assign'), document)
  }
}
