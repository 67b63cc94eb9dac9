import { describe, expect, it } from 'vitest'
import { blockAirBytes, downloadAirBytes, messageAirBytes } from '../../../../../device/core/update/air-bytes.ts'

/** Topics begin with kinglet/v1/lab/bird-1/, 22 bytes; a publication and its acknowledgement have 11 bytes more. */
const address = { site: 'lab', device: 'bird-1' }
const SHA = 'ab'.repeat(32)

describe('a message on the air', () => {
  it('is payload, topic and overhead', () => {
    expect(messageAirBytes(address, 'report', 100)).toBe(100 + 22 + 6 + 11)
    expect(messageAirBytes(address, 'get', 0)).toBe(22 + 3 + 11)
    expect(messageAirBytes({ site: 's', device: 'a-longer-name' }, 'wake', 550)).toBe(550 + 11 + 2 + 14 + 4 + 11)
  })

  it('of a block has the hash in its topic', () => {
    expect(messageAirBytes(address, 'block', 100, SHA)).toBe(100 + 22 + 'block/'.length + 64 + 11)
  })
})

describe('a download on the air', () => {
  // In CBOR a request is 38 bytes (map, schema, hash) and its two numbers with their keys; an answer of data is 13 bytes (map, schema,
  // check), the two numbers and the data with 4 bytes before it. A number up to 23 takes 1 byte, up to 65 535 three; a key 1.
  const request = (offset: number, length: number) => 38 + 1 + offset + 1 + length + 22 + 3 + 11
  const answer = (offset: number, total: number, data: number) => 13 + 1 + offset + 1 + total + 4 + data + 92 + 11
  const first = request(1, 3) + answer(1, 3, 4_096)
  const second = request(3, 3) + answer(3, 3, 4_096)
  const last = request(3, 3) + answer(3, 3, 1_808)

  it('is a request and an answer for each block, the last one short', () => {
    expect(blockAirBytes(address, SHA, 0, 10_000)).toBe(first)
    expect(blockAirBytes(address, SHA, 4_096, 10_000)).toBe(second)
    expect(blockAirBytes(address, SHA, 8_192, 10_000)).toBe(last)
    expect([first, second, last]).toEqual([4_302, 4_306, 2_018])
    expect(downloadAirBytes(address, SHA, 0, 10_000)).toBe(4_302 + 4_306 + 2_018)
  })

  it('goes on from an offset, and at the end there is nothing left of it', () => {
    expect(downloadAirBytes(address, SHA, 4_096, 10_000)).toBe(4_306 + 2_018)
    expect(downloadAirBytes(address, SHA, 8_192, 10_000)).toBe(2_018)
    expect(downloadAirBytes(address, SHA, 10_000, 10_000)).toBe(0)
  })

  it('of whole blocks has no empty one at its end', () => {
    expect(downloadAirBytes(address, SHA, 0, 8_192)).toBe(4_302 + 4_306)
  })
})
