import type { Duplex } from 'node:stream'
import { LIMITS } from '../../contract/limits.ts'

/** Largest remaining length by MQTT packet type (the high nibble of the first byte). Types a client may not send are 0. */
const TYPE = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrel: 6,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
}
const topicField = 2 + LIMITS.topicBytes
export const PACKET_BYTES_MAX: readonly number[] = Array.from({ length: 16 }, (_, type) => {
  switch (type) {
    case TYPE.connect:
      // chosen: a device token is about 300 bytes; room for a will of the largest event and for long ids
      return 4_096
    case TYPE.publish:
      return topicField + 2 + Math.max(LIMITS.wakeBytes, LIMITS.reportBytes, LIMITS.eventBytes, LIMITS.getBytes)
    case TYPE.subscribe:
    case TYPE.unsubscribe:
      // chosen: sixteen filters of the longest topic
      return 2 + 16 * (topicField + 1)
    case TYPE.puback:
    case TYPE.pubrel:
    case 5: // pubrec and
    case 7: // pubcomp answer what the gateway sent
      return 2
    default:
      return 0
  }
})

/** Follows the framing of an MQTT 3.1.1 byte stream and says at the fixed header, before any of a body is buffered, whether the
 *  packet is within bounds. */
export class PacketBound {
  #state: 'type' | 'length' | 'body' = 'type'
  #limit = 0
  #remaining = 0
  #shift = 0

  /** @returns false when the chunk begins a packet that is larger than its type may be, or whose length field is malformed */
  accept(chunk: Uint8Array): boolean {
    let at = 0
    while (at < chunk.length) {
      if (this.#state === 'body') {
        const taken = Math.min(this.#remaining, chunk.length - at)
        at += taken
        this.#remaining -= taken
        if (this.#remaining === 0) this.#state = 'type'
        continue
      }
      const byte = chunk[at++]!
      if (this.#state === 'type') {
        this.#limit = PACKET_BYTES_MAX[byte >> 4]!
        this.#remaining = 0
        this.#shift = 0
        this.#state = 'length'
        continue
      }
      this.#remaining |= (byte & 0x7f) << this.#shift
      if (this.#remaining > this.#limit) return false
      this.#shift += 7
      if ((byte & 0x80) === 0) this.#state = this.#remaining === 0 ? 'type' : 'body'
      // MQTT 3.1.1 section 2.2.3: at most four bytes of length
      else if (this.#shift > 21) return false
    }
    return true
  }
}

/** Puts the bound in front of whoever reads the stream. `read` is the one way bytes leave a Readable, so wrapping it costs no
 *  further stream and no copy.
 *  @param refuse called once, at the first oversized packet; nothing is delivered from that chunk on */
export function boundPackets(stream: Duplex, refuse: () => void): void {
  const bound = new PacketBound()
  const read = stream.read.bind(stream)
  let refused = false
  stream.read = (size?: number) => {
    const chunk: unknown = refused ? null : read(size)
    if (!(chunk instanceof Uint8Array)) return chunk
    if (bound.accept(chunk)) return chunk
    refused = true
    refuse()
    return null
  }
}
