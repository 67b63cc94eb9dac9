import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { encodeFrame, FRAME_HEADER_BYTES, frameBytes, readFrame } from '../../../../../device/core/flash/flash-frame.ts'
import { FlashNor } from '../../../../../firmware-sim/flash-nor.ts'

const sha256Of = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()
const payloadOf = (length: number) => Uint8Array.from({ length }, (_, i) => i & 0xff)

describe('bytes that a payload takes', () => {
  it.each([
    [0, 16, 16],
    [1, 16, 32],
    [16, 16, 32],
    [17, 16, 48],
    [3, 1, 19],
    [0, 256, 256],
    [240, 256, 256],
    [241, 256, 512],
  ])('%d in words of %d are %d', (payload, word, bytes) => {
    expect(frameBytes(payload, word)).toBe(bytes)
    expect(encodeFrame({ seq: 1, payload: payloadOf(payload) }, word)).toHaveLength(bytes)
  })
})

describe('a frame', () => {
  it('is checksum, number, length, payload and erased bytes, little endian', () => {
    const frame = encodeFrame({ seq: 0x0102_0304, payload: Uint8Array.of(0xaa, 0xbb, 0xcc) }, 8)
    const body = Uint8Array.of(4, 3, 2, 1, 3, 0, 0, 0, 0xaa, 0xbb, 0xcc)
    const checksum = sha256Of(body).subarray(0, 8)
    expect([...frame]).toEqual([...checksum, ...body, 0xff, 0xff, 0xff, 0xff, 0xff])
  })

  it('comes back from any offset, at the largest number and empty too', () => {
    const flash = new FlashNor({ sizeBytes: 8_192 })
    flash.program(4_096, encodeFrame({ seq: 0xffff_ffff, payload: payloadOf(300) }, 16))
    flash.program(32, encodeFrame({ seq: 0, payload: payloadOf(0) }, 16))
    expect(readFrame(flash, 4_096, 4_096)).toEqual({ seq: 0xffff_ffff, payload: payloadOf(300) })
    expect(readFrame(flash, 32, 4_064)).toEqual({ seq: 0, payload: payloadOf(0) })
  })

  it('is found in just its room, and not in a byte less', () => {
    const flash = new FlashNor({ sizeBytes: 4_096 })
    flash.program(0, encodeFrame({ seq: 1, payload: payloadOf(5) }, 16))
    expect(readFrame(flash, 0, FRAME_HEADER_BYTES + 5)?.payload).toEqual(payloadOf(5))
    expect(readFrame(flash, 0, FRAME_HEADER_BYTES + 4)).toBeUndefined()
    // At the end of the chip there may be less than a header: nothing is read there.
    expect(readFrame(flash, 4_096 - 15, 15)).toBeUndefined()
  })

  it('has the number and the length that its checksum holds to, where bits read differently each time', () => {
    for (const byte of Array.from({ length: 8 }, (_, i) => 8 + i)) {
      const flash = new FlashNor({ sizeBytes: 4_096 })
      flash.program(0, encodeFrame({ seq: 3, payload: payloadOf(20) }, 16))
      const read = flash.read.bind(flash)
      let reads = 0
      flash.read = (offset, length) => {
        const out = read(offset, length)
        if (reads++ === 0 && offset <= byte && byte < offset + length) out[byte - offset]! ^= 4
        return out
      }
      const frame = readFrame(flash, 0, 4_096)
      if (byte < 12) expect(frame).toEqual({ seq: 3, payload: payloadOf(20) })
      else expect(frame).toBeUndefined()
    }
  })

  it.each([1, 2, 15])('is none where a bit reads otherwise, be it only at reading %d after the first', (later) => {
    const flash = new FlashNor({ sizeBytes: 4_096 })
    flash.program(0, encodeFrame({ seq: 3, payload: payloadOf(20) }, 16))
    const read = flash.read.bind(flash)
    let wholes = 0
    flash.read = (offset, length) => {
      const out = read(offset, length)
      if (length > FRAME_HEADER_BYTES && wholes++ === later) out[length - 1]! ^= 1
      return out
    }
    expect(readFrame(flash, 0, 4_096)).toBeUndefined()
  })

  it('of erased flash costs a look at the header and no more', () => {
    const lengths: number[] = []
    const flash = new FlashNor({ sizeBytes: 65_536 })
    const read = flash.read.bind(flash)
    flash.read = (offset, length) => {
      lengths.push(length)
      return read(offset, length)
    }
    expect(readFrame(flash, 0, 65_536)).toBeUndefined()
    expect(lengths).toEqual([FRAME_HEADER_BYTES])
  })

  it("is judged by the caller's sha256 where he has one", () => {
    const flash = new FlashNor({ sizeBytes: 4_096 })
    flash.program(0, encodeFrame({ seq: 1, payload: payloadOf(5) }, 16))
    const hashed: number[] = []
    const own = (bytes: Uint8Array) => {
      hashed.push(bytes.length)
      return sha256Of(bytes)
    }
    expect(readFrame(flash, 0, 4_096, own)?.payload).toEqual(payloadOf(5))
    // All that follows the checksum: number, length and payload, without the padding.
    expect(hashed).toEqual([8 + 5])
    expect(readFrame(flash, 0, 4_096, () => new Uint8Array(32))).toBeUndefined()
  })
})
