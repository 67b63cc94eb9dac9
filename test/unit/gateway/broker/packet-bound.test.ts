import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../../contract/limits.ts'
import { boundPackets, PACKET_BYTES_MAX, PacketBound } from '../../../../gateway/broker/packet-bound.ts'

/** A QoS 1 PUBLISH by hand (MQTT 3.1.1 section 3.3), so that the test does not share a library with the broker. */
function publish(payloadBytes: number, topic = 'kinglet/v1/s/d/wake'): Buffer {
  const body = 2 + topic.length + 2 + payloadBytes
  const header = body < 128 ? [0x32, body] : [0x32, (body & 0x7f) | 0x80, body >> 7]
  return Buffer.concat([Buffer.from([...header, 0, topic.length]), Buffer.from(topic), Buffer.alloc(2 + payloadBytes)])
}
const ping = Buffer.of(0xc0, 0)

/** Feeds the stream in chunks of `size`; false as soon as one is refused. */
const accepts = (stream: Uint8Array, size: number): boolean => {
  const bound = new PacketBound()
  for (let at = 0; at < stream.length; at += size) if (!bound.accept(stream.subarray(at, at + size))) return false
  return true
}

describe('packet bound', () => {
  it('lets the largest messages of the contract through, however they are cut', () => {
    const longest = publish(LIMITS.wakeBytes, 'k'.repeat(LIMITS.topicBytes))
    const stream = Buffer.concat([ping, longest, ping, publish(0), longest])
    for (const size of [1, 2, 3, 7, 1_000, stream.length]) expect(accepts(stream, size)).toBe(true)
  })

  it('refuses one byte more at the header, before the body has come', () => {
    const longest = publish(LIMITS.wakeBytes + 1, 'k'.repeat(LIMITS.topicBytes))
    for (const size of [1, 2, 5, longest.length]) expect(accepts(longest, size)).toBe(false)
    expect(accepts(longest.subarray(0, 3), 1)).toBe(false)
  })

  it('refuses packet types that only a broker sends, and endless lengths', () => {
    expect(accepts(Uint8Array.of(0x20, 2, 0, 0), 4)).toBe(false)
    expect(accepts(Uint8Array.of(0xc0, 0x80, 0x80, 0x80, 0x80), 1)).toBe(false)
    expect(PACKET_BYTES_MAX[12]).toBe(0)
  })

  it('delivers nothing of a refused chunk', async () => {
    const stream = new PassThrough()
    let refused = 0
    boundPackets(stream, () => refused++)
    stream.write(Buffer.concat([ping, publish(5_000)]))
    await new Promise((resolve) => setImmediate(resolve))
    expect(stream.read()).toBeNull()
    expect(stream.read()).toBeNull()
    expect(refused).toBe(1)
  })
})
