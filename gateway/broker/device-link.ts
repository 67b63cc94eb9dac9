import type { Client, PublishPacket } from 'aedes'
import { LRUCache } from 'lru-cache'
import type { Clock } from '../../contract/clock.ts'
import { TokenBucket, type TokenRate } from '../../platform/token-bucket.ts'
import type { MessageCounters } from '../message-counters.ts'
import { admit, canonicalFilter, maySubscribe, publishKind, type Session, SUBSCRIPTIONS_MAX } from './admission.ts'
import type { BrokerHandlers } from './broker.ts'
import type { Ingest } from './ingest.ts'
import type { KeySource } from './key-source.ts'
import type { Certified } from './listener-tls.ts'
import type { Revocations } from './revocations.ts'
import type { Strangers } from './strangers.ts'
import type { Takeovers } from './takeovers.ts'
import { Turnstile } from './turnstile.ts'

interface Parts {
  readonly clock: Clock
  readonly keys: KeySource
  readonly counters: MessageCounters
  readonly ingest: Ingest
  readonly revocations: Pick<Revocations, 'refuses'>
  readonly takeovers: Pick<Takeovers, 'refuses' | 'takenOver'>
  /** by which address a connection shares with others */
  readonly strangers: Pick<Strangers, 'networkOf'>
  /** reports, wakes and events of one device; more wait */
  readonly rate: TokenRate
  /** what TLS says of the device at the other end of a connection */
  readonly certified: { get(connection: Client['conn']): Certified | undefined }
  /** a device asks for a block; answers on its own */
  get(session: Session, payload: Buffer): void
  /** a device asks for a metadata file; answers on its own */
  metaGet(session: Session, payload: Buffer): void
}

interface Link {
  readonly session: Session
  readonly client: Client
  readonly filters: Set<string>
  /** reports, wakes and events that it may send now */
  readonly messages: TokenBucket
  cancelExpiry: () => void
}

/** Chosen: enough for the four threads that check signatures; a fleet that comes back as one then waits for its turn, each with the CONNECT that it
 *  has sent, and does not take the time from those that are in already. */
const ADMISSIONS_MAX = 32

/** chosen: devices whose rate is remembered; the one that was away for longest is forgotten and begins anew */
const REMEMBERED_MAX = 20_000

const isGone = (client: Client): boolean => client.closed || client.conn.destroyed

type Refusal = Error & { returnCode: number }
const refusal = (message: string, returnCode: number): Refusal => Object.assign(new Error(message), { returnCode })
/** chosen: timers of Node hold at most 24.8 days */
const TIMER_MS_MAX = 86_400_000

/** Joins admission and ingest to the broker's hooks, and knows which device is connected.
 *
 *  MQTT 3.1.1 has no negative acknowledgement: a publish that is not allowed ends the connection, as the standard asks (section
 *  3.3.5); a filter that is not allowed is answered with 0x80. Two live connections of one identity: aedes ends the older
 *  (MQTT-3.1.4-2); it is counted as connection/taken-over, since it is also what a cloned device looks like (takeovers.ts).
 */
export class DeviceLink {
  readonly #parts: Parts
  readonly #links = new WeakMap<Client, Link>()
  readonly #byDevice = new Map<string, Link>()
  readonly #messages = new LRUCache<string, TokenBucket>({ max: REMEMBERED_MAX })
  readonly #turnstile = new Turnstile(ADMISSIONS_MAX)
  readonly #connects = new WeakMap<Client, { readonly clientId: string; readonly will: PublishPacket | undefined }>()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  get connected(): number {
    return this.#byDevice.size
  }

  client(device: string): Client | undefined {
    return this.#byDevice.get(device)?.client
  }

  readonly handlers: BrokerHandlers = {
    preConnect: (client, packet, callback) => {
      // Sessions end with their connection: the one thing a device must not miss, its assignment, is retained, and a queue for
      // absent devices would need a bound and a disk. CONNACK says "no session present", which MQTT allows.
      packet.clean = true
      this.#connects.set(client, { clientId: packet.clientId, will: packet.will as PublishPacket | undefined })
      callback(null, true)
    },
    authenticate: (client, username, password, done) => {
      const { clientId = '', will } = this.#connects.get(client) ?? {}
      const certified = this.#parts.certified.get(client.conn)
      const claim = { clientId, username, password, will, certified }
      const { keys, clock, revocations } = this.#parts
      this.#turnstile
        .pass(this.#parts.strangers.networkOf(client.conn), async () =>
          isGone(client) ? undefined : admit(claim, keys, clock, revocations),
        )
        .then((admitted) => {
          if (admitted === undefined) return
          if (admitted.ok) {
            // It left while its token was checked: aedes drops the answer, and nobody would take the link away again.
            if (isGone(client)) return
            // Revoked, or its key replaced, while its token was checked.
            const { device, issuedMs, kid } = admitted.value
            if (revocations.refuses(device, issuedMs)) return done(refusal('device-revoked', 5), null)
            if (!keys.has(kid)) return done(refusal('token-invalid: its key was replaced', 4), null)
            if (this.#byDevice.has(device) && this.#parts.takeovers.refuses(device)) {
              this.#parts.counters.add('connection', 'held-off')
              return done(refusal('held-off: two connections of this device push each other off', 3), null)
            }
            this.#connect(client, admitted.value)
            done(null, true)
            return
          }
          const { code, detail } = admitted.error
          this.#parts.counters.add('connection', code)
          // CONNACK 4 "bad user name or password" for the token, 5 "not authorized" for what it does not cover.
          done(refusal(`${code}: ${detail}`, code.startsWith('token-') ? 4 : 5), null)
        })
        // Only a bug or a key source that throws something unforeseen comes here; the device may try again.
        .catch((cause: unknown) => done(refusal(`internal: ${String(cause)}`, 3), null))
    },
    authorizePublish: (client, packet, callback) => {
      const link = client === null ? undefined : this.#links.get(client)
      const kind = link === undefined ? undefined : publishKind(link.session, packet.topic)
      if (link === undefined || kind === undefined) return this.#refusePublish('bad-topic', callback)
      // QoS 2 would need a store of half-done handshakes, and identities make every message harmless to repeat.
      if (packet.retain || packet.qos === 2) return this.#refusePublish('not-authorized', callback)
      const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload
      if (kind === 'get') this.#parts.get(link.session, payload)
      else if (kind === 'meta-get') this.#parts.metaGet(link.session, payload)
      else return this.#paced(link, () => this.#parts.ingest.accept(kind, link.session, payload, callback))
      callback()
    },
    authorizeSubscribe: (client, subscription, callback) => {
      const link = this.#links.get(client)
      if (link === undefined || !maySubscribe(link.session, subscription.topic)) {
        this.#parts.counters.add('subscription', 'bad-topic')
        return callback(null, null)
      }
      const topic = canonicalFilter(link.session, subscription.topic)
      if (!link.filters.has(topic) && link.filters.size >= SUBSCRIPTIONS_MAX) {
        this.#parts.counters.add('subscription', 'too-many')
        return callback(null, null)
      }
      link.filters.add(topic)
      // In place: aedes looks retained messages up by the packet's own list.
      subscription.topic = topic
      callback(null, subscription)
    },
  }

  unsubscribed(client: Client, filters: readonly string[]): void {
    const link = this.#links.get(client)
    for (const filter of filters) link?.filters.delete(canonicalFilter(link.session, filter))
  }

  /** Ends the device's connection if its token is one of those that are refused now. */
  revoked(device: string): void {
    const link = this.#byDevice.get(device)
    if (link === undefined || !this.#parts.revocations.refuses(device, link.session.issuedMs)) return
    this.#parts.counters.add('connection', 'revoked')
    link.client.close()
  }

  /** Ends connections whose tokens no key that is good now has signed: who holds a stolen key must not stay because he is in. */
  keysChanged(): void {
    for (const { session, client } of [...this.#byDevice.values()]) {
      if (this.#parts.keys.has(session.kid)) continue
      this.#parts.counters.add('connection', 'key-replaced')
      client.close()
    }
  }

  /** Forgets timers; the broker ends the connections. */
  close(): void {
    for (const link of this.#byDevice.values()) link.cancelExpiry()
  }

  /** Has the message of a device that sends more than its share wait: nothing of it is lost, and nothing further is read from it meanwhile. */
  #paced(link: Link, accept: () => void): void {
    const { clock, counters, rate } = this.#parts
    const now = clock.monotonicMs()
    const left = link.messages.left(now)
    link.messages.take(1)
    if (left >= 1) {
      accept()
      return
    }
    counters.add('publish', 'slowed')
    clock.after(((1 - left) / rate.perSecond) * 1000, () => {
      if (!isGone(link.client)) accept()
    })
  }

  #connect(client: Client, session: Session): void {
    const former = this.#byDevice.get(session.device)
    if (former !== undefined) {
      this.#parts.counters.add('connection', 'taken-over')
      this.#parts.takeovers.takenOver(session.device)
      // The broker ends one of the same client id; this one may have written it in another case.
      if (former.client.id !== client.id) former.client.close()
    }
    this.#parts.counters.add('connection', 'accepted')
    // What it owes stays owed when it comes again.
    const messages = this.#messagesOf(session.device)
    const link: Link = { session, client, messages, filters: new Set(), cancelExpiry: () => {} }
    this.#links.set(client, link)
    this.#byDevice.set(session.device, link)
    client.conn.once('close', () => {
      link.cancelExpiry()
      if (this.#byDevice.get(session.device) === link) this.#byDevice.delete(session.device)
    })
    this.#awaitExpiry(link)
  }

  #messagesOf(device: string): TokenBucket {
    let messages = this.#messages.get(device)
    if (messages === undefined) {
      messages = new TokenBucket(this.#parts.rate, this.#parts.clock.monotonicMs())
      this.#messages.set(device, messages)
    }
    return messages
  }

  #awaitExpiry(link: Link): void {
    const leftMs = link.session.expiresMs - this.#parts.clock.wallMs()
    if (leftMs <= 0) {
      this.#parts.counters.add('connection', 'expired')
      link.client.close()
      return
    }
    link.cancelExpiry = this.#parts.clock.after(Math.min(leftMs, TIMER_MS_MAX), () => this.#awaitExpiry(link))
  }

  #refusePublish(outcome: string, callback: (error: Error) => void): void {
    this.#parts.counters.add('publish', outcome)
    callback(new Error(outcome))
  }
}
