import { connect, type MqttClient } from 'mqtt'
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
  /** real ms between attempts; chosen per deployment, since a broker's restart is real time even in a simulation */
  readonly reconnectMs: number
}

/** A device's link over MQTT 3.1.1 with mqtt.js. Publishes that were not acknowledged before a disconnect are dropped here: the
 *  core sends them again. */
export class TransportMqtt implements Transport {
  readonly #options: MqttTransportOptions
  #client: MqttClient | undefined

  constructor(options: MqttTransportOptions) {
    this.#options = options
  }

  open(listener: (event: TransportEvent) => void): void {
    const { url, site, device, token, reconnectMs, refused, tls } = this.#options
    const client = connect(url, {
      protocolVersion: 4,
      clientId: device,
      username: device,
      password: token(),
      clean: true,
      reconnectPeriod: reconnectMs,
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
      // Not `#`: the broker would echo the device's own publishes.
      const prefix = devicePrefix(site, device)
      const filters = ['assign', 'block/+', 'verdict', 'meta'].map((kind) => prefix + kind)
      client.subscribe(filters, { qos: 1 }, (error) => {
        if (!isCurrent()) return
        // A device that cannot hear is not connected. Closed, mqtt.js tries again after `reconnectMs`.
        if (error) client.stream.destroy()
        else listener({ type: 'connected' })
      })
    })
    client.on('close', () => {
      client.options.password = token()
      // mqtt.js would send its own copies again after a reconnect, beside the core's.
      for (const messageId of Object.keys(client.outgoing)) client.removeOutgoingMessage(Number(messageId))
      if (isCurrent()) listener({ type: 'disconnected', reason: 'connection closed' })
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
    this.#client.publish(topicOf(site, device, kind), Buffer.from(payload), { qos }, (error) => {
      if (!error) published(id)
    })
  }

  async close(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    await client?.endAsync(true)
  }

  #published: (id: number) => void = () => undefined
}
