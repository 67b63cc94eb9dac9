import { describe, expect, it } from 'vitest'
import { verdictCodec } from '../../../../contract/messages.ts'
import { Downlink } from '../../../../gateway/broker/downlink.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'

type Packet = { topic: string; payload: Buffer; qos: number; retain: boolean }

function world() {
  const counters = new MessageCounters()
  const sent: Packet[] = []
  const state = { fails: false, full: false }
  const broker = {
    aedes: {
      publish(packet: Packet, done: (error?: Error) => void) {
        sent.push(packet)
        done(state.fails ? new Error('closed') : undefined)
      },
    },
  }
  const link = {
    client: (device: string) => (device === 'd1' ? { conn: { writableNeedDrain: state.full } } : undefined),
  }
  const downlink = new Downlink(counters)
  const connect = () => downlink.connect(broker as never, link as never)
  return { counters, sent, state, downlink, connect }
}
const wake = { site: 'lab', device: 'd1', boot: 3, index: 9 } as never

describe('the downlink', () => {
  it('retains assignments, answers a device that is there and reads, and tells it verdicts', () => {
    const { sent, state, downlink, connect } = world()
    connect()
    downlink.retain('t/assign', Uint8Array.of(1))
    expect(downlink.send({ device: 'd1' }, 't/block', Uint8Array.of(2))).toBe(true)
    downlink.verdict(wake, true)
    expect(sent.map(({ topic, qos, retain }) => [topic, qos, retain])).toEqual([
      ['t/assign', 1, true],
      ['t/block', 0, false],
      ['kinglet/v1/lab/d1/verdict', 0, false],
    ])
    expect(verdictCodec.decode(sent[2]!.payload)).toMatchObject({ value: { boot: 3, index: 9, confirmed: true } })
    expect(downlink.send({ device: 'gone' }, 't/block', Uint8Array.of(2))).toBe(false)
    // Its socket is full: each more would hold a place that all devices share.
    state.full = true
    expect(downlink.send({ device: 'd1' }, 't/block', Uint8Array.of(2))).toBe(false)
    downlink.verdict(wake, true)
    expect(sent).toHaveLength(3)
  })

  it('drops what comes before there is a broker, and counts what a broker did not take', () => {
    const { counters, sent, state, downlink, connect } = world()
    expect(downlink.send({ device: 'd1' }, 't/block', Uint8Array.of(2))).toBe(false)
    downlink.verdict(wake, false)
    expect([sent.length, counters.get('downlink', 'failed')]).toEqual([0, 1])
    connect()
    state.fails = true
    downlink.verdict(wake, false)
    expect([sent.length, counters.get('downlink', 'failed')]).toEqual([1, 2])
  })
})
