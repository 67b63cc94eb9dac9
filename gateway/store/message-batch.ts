import type { DeviceId, SiteId } from '../../contract/topics.ts'
import type { Origin } from '../origin.ts'

export const INGEST_KINDS = ['report', 'wake', 'event'] as const
export type IngestKind = (typeof INGEST_KINDS)[number]

/** A message as the broker took it, undecoded. */
export interface RawMessage {
  readonly kind: IngestKind
  readonly origin: Origin
  readonly receivedMs: number
  readonly payload: Buffer
}

/** chosen: messages that share a commit, about 15 ms of the store's thread */
export const BATCH_MESSAGES_MAX = 1_000
/** chosen: about 400 reports, more than come in one window under load; small, since each batch is new memory */
const BATCH_BYTES = 128 * 1024

/** kind (1), received (8), bytes of origin (1), bytes of payload (2); then both */
const HEADER_BYTES = 12
/** No id and no board has it (contract/topics.ts, admission.ts). */
const SEPARATOR = '/'

/** Messages on their way to the store's thread in one piece of memory, which is handed over and not copied. Record by record: header,
 *  origin as `site/device/board`, payload. */
export class MessageBatch {
  // Of its own and not of Node's pool: only such a buffer can be handed over.
  readonly #bytes = Buffer.allocUnsafeSlow(BATCH_BYTES)
  #length = 0
  #count = 0

  get count(): number {
    return this.#count
  }

  /** @param message payload of at most 65535 bytes (packet-bound.ts allows far less)
   *  @returns false when there is no room left; the batch is as it was */
  add({ kind, origin, receivedMs, payload }: RawMessage): boolean {
    const bytes = this.#bytes
    const sender = `${origin.site}${SEPARATOR}${origin.device}${SEPARATOR}${origin.board}`
    const start = this.#length
    const end = start + HEADER_BYTES + sender.length + payload.length
    if (this.#count === BATCH_MESSAGES_MAX || end > BATCH_BYTES) return false
    bytes[start] = INGEST_KINDS.indexOf(kind)
    bytes.writeDoubleLE(receivedMs, start + 1)
    bytes[start + 9] = sender.length
    bytes.writeUInt16LE(payload.length, start + 10)
    bytes.write(sender, start + HEADER_BYTES, 'latin1')
    bytes.set(payload, end - payload.length)
    this.#length = end
    this.#count++
    return true
  }

  /** The records; the batch must not be used any more when their memory was handed over. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }
}

/** The messages of a batch, in order; payloads are views of it. */
export function* readBatch(batch: Uint8Array): Generator<RawMessage> {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.length)
  for (let at = 0; at < bytes.length; ) {
    const senderBytes = bytes[at + 9]!
    const payloadBytes = bytes.readUInt16LE(at + 10)
    const payloadAt = at + HEADER_BYTES + senderBytes
    const [site, device, board] = bytes.toString('latin1', at + HEADER_BYTES, payloadAt).split(SEPARATOR)
    yield {
      kind: INGEST_KINDS[bytes[at]!]!,
      origin: { site: site as SiteId, device: device as DeviceId, board: board ?? '' },
      receivedMs: bytes.readDoubleLE(at + 1),
      payload: bytes.subarray(payloadAt, payloadAt + payloadBytes),
    }
    at = payloadAt + payloadBytes
  }
}
