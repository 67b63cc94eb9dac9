import { verdictCodec } from '../../contract/messages.ts'
import { type DeviceId, type SiteId, topicOf } from '../../contract/topics.ts'
import type { MessageCounters } from '../message-counters.ts'
import type { PendingWake } from '../store/pending-wakes.ts'
import type { Broker } from './broker.ts'
import type { DeviceLink } from './device-link.ts'

/** What goes down to devices. It is made before the broker, whose handlers need what answers devices, which needs it. A device may be
 *  heard while the broker's second port is still being opened: what is for it before `connect` is dropped, and counted as such. It asks
 *  again, and assignments are all published later. */
export class Downlink {
  readonly #counters: MessageCounters
  #connected: { readonly broker: Pick<Broker, 'aedes'>; readonly link: Pick<DeviceLink, 'client'> } | undefined

  constructor(counters: MessageCounters) {
    this.#counters = counters
  }

  connect(broker: Pick<Broker, 'aedes'>, link: Pick<DeviceLink, 'client'>): void {
    this.#connected = { broker, link }
  }

  /** Keeps a message for whoever subscribes and sends it, QoS 1. An empty payload clears the topic. */
  retain(topic: string, payload: Uint8Array): void {
    this.#publish(topic, payload, 1, true)
  }

  /** Answers a device, best effort: what is lost is asked for again.
   *  @returns false when the device is gone or reads too slowly, and nothing was sent */
  send({ device }: { readonly device: string }, topic: string, payload: Uint8Array): boolean {
    const client = this.#connected?.link.client(device)
    // Each delivery to a socket that is full holds one of the places that all devices share, until it is read from.
    if (client === undefined || client.conn.writableNeedDrain) return false
    this.#publish(topic, payload, 0, false)
    return true
  }

  /** Tells a device what the verifier made of its wake, best effort. */
  verdict({ site, device, boot, index }: PendingWake, confirmed: boolean): void {
    const topic = topicOf(site as SiteId, device as DeviceId, 'verdict')
    if (this.#connected === undefined) this.#counters.add('downlink', 'failed')
    this.send({ device }, topic, verdictCodec.encode({ boot, index, confirmed }))
  }

  #publish(topic: string, payload: Uint8Array, qos: 0 | 1, retain: boolean): void {
    const aedes = this.#connected?.broker.aedes
    if (aedes === undefined) {
      this.#counters.add('downlink', 'failed')
      return
    }
    const packet = { cmd: 'publish', topic, payload: Buffer.from(payload), qos, retain, dup: false } as const
    aedes.publish(packet, (error) => {
      if (error) this.#counters.add('downlink', 'failed')
    })
  }
}
