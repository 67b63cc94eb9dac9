import type { UplinkKind } from '../../contract/topics.ts'

/** What a device's connection tells the core. `connected` comes after the device's own prefix is subscribed. */
export type TransportEvent =
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected'; readonly reason: string }
  | { readonly type: 'received'; readonly kind: 'assign' | 'verdict' | 'meta'; readonly payload: Uint8Array }
  /** sha256: the artifact the block belongs to, the last level of its topic */
  | { readonly type: 'received'; readonly kind: 'block'; readonly sha256: string; readonly payload: Uint8Array }
  | { readonly type: 'published'; readonly id: number }

/** One device's link to its gateway. Reconnects by itself; never queues: what was not acknowledged before a disconnect is the
 *  core's to send again.
 */
export interface Transport {
  /** Connects and keeps connected until `close`. */
  open(listener: (event: TransportEvent) => void): void
  /** Publishes under the device's prefix.
   *  @param id echoed by `published` when the broker has acknowledged (QoS 1) or the message left (QoS 0) */
  publish(id: number, kind: UplinkKind, payload: Uint8Array, qos: 0 | 1): void
  close(): Promise<void>
}
