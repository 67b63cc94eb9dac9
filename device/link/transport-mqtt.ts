import mqtt, { type MqttClient } from 'mqtt'
import {
  type DeviceId,
  devicePrefix,
  parseTopic,
  type SiteId,
  topicOf,
  type UplinkKind,
} from '../../contract/topics.ts'
import type { Transport, TransportEvent } from '../ports/transport.ts'

export interface MqttTransportOptions {
  /** mqtt:// or ws://, or mqtts:// or wss:// */
  readonly url: string
  readonly site: SiteId
  readonly device: DeviceId
  /** asked at every connection, so that a renewed token is used */
  readonly token: () => string
  /** told when the gateway has refused the token (CONNACK 4 or 5) */
  readonly refused?: () => void
  /** PEM: whom the device believes over TLS, and its own certificate where the gateway asks for one */
  readonly tls?: { readonly ca?: Buffer; readonly cert?: Buffer; readonly key?: Buffer } | undefined
  /** real ms, the bound of the first pause before another attempt; chosen per deployment, since a broker's restart is real time even in a simulation */
  readonly reconnectMs: number
  /** uniform in [0, 1): devices that lost one gateway together must not come back together; default: the middle, for a device that is alone */
  readonly chance?: () => number
}

/** Chosen, in parts of `reconnectMs`: with 2 s a gateway that is back has all its devices within 12. */
const PAUSE_MAX = 6
/** Chosen: with 2 s, five minutes for a device whose connections are ended again and again, as by another with its identity. */
const UNWELCOME_PAUSE_MAX = 150
/** Chosen: with 2 s, a connection that has held for a minute was a good one. */
const STEADY = 30

/** A device's link over MQTT 3.1.1 with mqtt.js, on Node and in a page (there over WebSocket). Publishes that were not acknowledged before a disconnect are dropped here: the
 *  core sends them again. */
export class TransportMqtt implements Transport {
  readonly #options: MqttTransportOptions
  #client: MqttClient | undefined
  /** attempts that came to nothing since the last connection */
  #failures = 0
  /** connections in a row that did not hold */
  #unsteady = 0
  #connectedMs: number | undefined
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(options: MqttTransportOptions) {
    this.#options = options
  }

  open(listener: (event: TransportEvent) => void): void {
    const { url, site, device, token, refused, tls } = this.#options
    const client = mqtt.connect(url, {
      protocolVersion: 4,
      clientId: device,
      username: device,
      password: token(),
      clean: true,
      // It would come back after the same time each time, as would all others: `#retryLater` does it.
      reconnectPeriod: 0,
      connectTimeout: 10_000,
      keepalive: 60,
      queueQoSZero: false,
      // A refused token may be renewed, and a gateway that has just started may not know its keys yet: try again.
      reconnectOnConnackError: true,
      resubscribe: false,
      ...tls,
      transformWsUrl: (wsUrl, _options, current) => {
        current.options.password = token()
        return wsUrl
      },
    })
    this.#client = client
    const isCurrent = () => this.#client === client
    client.on('connect', () => {
      this.#failures = 0
      this.#connectedMs = performance.now()
      // Not `#`: the broker would echo the device's own publishes.
      const prefix = devicePrefix(site, device)
      const filters = ['assign', 'block/+', 'verdict', 'meta'].map((kind) => prefix + kind)
      client.subscribe(filters, { qos: 1 }, (error) => {
        if (!isCurrent()) return
        // A device that cannot hear is not connected: closed, it tries again.
        if (error) client.stream.destroy()
        else listener({ type: 'connected' })
      })
    })
    client.on('close', () => {
      client.options.password = token()
      // mqtt.js would send its own copies again after a reconnect, beside the core's.
      for (const messageId of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(messageId))
      if (!isCurrent()) return
      listener({ type: 'disconnected', reason: 'connection closed' })
      // The listener may have closed this transport.
      if (isCurrent()) this.#retryLater(client)
    })
    // A refused or reset connection is followed by `close`; the core needs no second event for it.
    client.on('error', (error) => {
      const code = (error as { code?: unknown }).code
      if (isCurrent() && (code === 4 || code === 5)) refused?.()
    })
    client.on('message', (topic, payload) => {
      const parsed = parseTopic(topic)
      if (!parsed.ok || !isCurrent()) return
      const { kind } = parsed.value
      if (kind === 'block') listener({ type: 'received', kind, sha256: parsed.value.sha256, payload })
      else if (kind === 'assign' || kind === 'verdict' || kind === 'meta') listener({ type: 'received', kind, payload })
    })
    this.#published = (id) => {
      if (isCurrent()) listener({ type: 'published', id })
    }
  }

  publish(id: number, kind: UplinkKind, payload: Uint8Array, qos: 0 | 1): void {
    const { site, device } = this.#options
    const published = this.#published
    // Without a connection mqtt.js would keep the message and send it later.
    if (!this.#client?.connected) return
    // A copy, as the port promises; mqtt.js writes any bytes, and a page has no Buffer.
    const copy = payload.slice() as Buffer
    this.#client.publish(topicOf(site, device, kind), copy, { qos }, (error) => {
      if (!error) published(id)
    })
  }

  /** Exponential back-off with full jitter. A connection that did not hold makes the next pause longer as a failed attempt does, up to a higher bound:
   *  whoever ends it at once will do so again. */
  #retryLater(client: MqttClient): void {
    const { reconnectMs, chance = () => 0.5 } = this.#options
    if (this.#connectedMs === undefined) this.#failures = Math.min(this.#failures + 1, 16)
    else {
      const held = performance.now() - this.#connectedMs >= STEADY * reconnectMs
      this.#unsteady = held ? 0 : Math.min(this.#unsteady + 1, 16)
      this.#connectedMs = undefined
    }
    const bound = Math.max(
      Math.min(PAUSE_MAX, 2 ** Math.max(0, this.#failures - 1)),
      // The first may be a gateway that has just been started anew.
      Math.min(UNWELCOME_PAUSE_MAX, 2 ** Math.max(0, this.#unsteady - 1)),
    )
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => client.reconnect(), bound * reconnectMs * chance())
  }

  async close(): Promise<void> {
    const client = this.#client
    clearTimeout(this.#retry)
    this.#client = undefined
    await client?.endAsync(true)
  }

  #published: (id: number) => void = () => undefined
}
