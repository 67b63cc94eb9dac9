import { connect } from 'node:net'
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import { FakeCloud, gatewayOptions, report, tempDir, tokenIssuer, topic, until } from './gateway-harness.ts'

// What MQTT 3.1.1 (OASIS, 29 October 2014) asks of a server, by the numbers of its normative statements, packet by packet. Where this broker does
// otherwise docs/mqtt.md says why.
const cloud = new FakeCloud()
let gateway: Gateway
let token = ''
beforeAll(async () => {
  await cloud.start()
  const issuer = await tokenIssuer()
  token = await issuer.token('d1')
  gateway = await startGateway(gatewayOptions(cloud, tempDir(), { jwks: issuer.jwks }))
})
afterAll(async () => {
  await gateway.close()
  await cloud.stop()
})

const CONNECT = (more: Partial<IConnectPacket> = {}): Buffer =>
  generate({
    ...{ cmd: 'connect', protocolId: 'MQTT', protocolVersion: 4, clean: true, clientId: 'd1', keepalive: 60 },
    ...{ username: 'd1', password: Buffer.from(token) },
    ...more,
  })
const PING = Buffer.from([0xc0, 0])

/** A connection that says what it is given, and what came back of it: the packets' names, with the code of a CONNACK, and "closed". */
class Peer {
  readonly said: string[] = []
  readonly packets: Packet[] = []
  readonly #socket = connect({ host: '127.0.0.1', port: gateway.mqttPort })

  constructor(...bytes: readonly (Buffer | readonly number[])[]) {
    const incoming = parser({ protocolVersion: 4 })
    incoming.on('packet', (packet: Packet) => {
      this.packets.push(packet)
      this.said.push(packet.cmd === 'connack' ? `connack ${packet.returnCode}` : packet.cmd)
    })
    this.#socket.on('data', (data: Buffer) => incoming.parse(data)).on('error', () => {})
    this.#socket.once('close', () => this.said.push('closed'))
    for (const each of bytes) this.say(each)
  }

  say(bytes: Buffer | readonly number[]): void {
    this.#socket.write(Buffer.from(bytes))
  }

  /** @returns all it said once it has said so much, or is closed */
  async until(count: number): Promise<readonly string[]> {
    await until(
      `${count} answers, of which came ${this.said.join()}`,
      () => this.said.length >= count || this.said.at(-1) === 'closed',
    )
    return this.said
  }

  end(): void {
    this.#socket.destroy()
  }
}

const spoiled = (bytes: Buffer, at: number, to: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at] = to
  return copy
}
const publish = (more: object) =>
  generate({
    cmd: 'publish',
    topic: topic('d1', 'report'),
    payload: report(9, 1),
    qos: 1,
    messageId: 7,
    retain: false,
    dup: false,
    ...more,
  })
const subscribe = (filter: string, messageId = 5) =>
  generate({ cmd: 'subscribe', messageId, subscriptions: [{ topic: filter, qos: 1 }] })

type Case = readonly [
  statement: string,
  what: string,
  bytes: () => (Buffer | readonly number[])[],
  said: readonly string[],
]
const CASES: readonly Case[] = [
  ['3.1.0-1', 'another packet before CONNECT', () => [PING], ['closed']],
  ['3.1.0-2', 'a second CONNECT', () => [CONNECT(), CONNECT()], ['connack 0', 'closed']],
  ['3.1.2-1', 'another protocol name', () => [spoiled(CONNECT(), CONNECT().indexOf('MQTT'), 0x58)], ['closed']],
  [
    '3.1.2-3',
    'the reserved flag of CONNECT',
    () => [spoiled(CONNECT(), CONNECT().indexOf('MQTT') + 5, 0xc3)],
    ['closed'],
  ],
  ['3.1.2.10', 'keep-alive 0', () => [CONNECT({ keepalive: 0 }), PING], ['connack 0', 'pingresp']],
  ['3.1.2.10', 'the longest keep-alive', () => [CONNECT({ keepalive: 65_535 }), PING], ['connack 0', 'pingresp']],
  [
    '3.1.2-24',
    'silence for one and a half times the keep-alive',
    () => [CONNECT({ keepalive: 1 })],
    ['connack 0', 'closed'],
  ],
  ['3.1.4-2', 'a token of nobody', () => [CONNECT({ password: Buffer.from('no') })], ['connack 4', 'closed']],
  ['3.2.2-5', 'a client id that is not the token’s', () => [CONNECT({ clientId: 'd2' })], ['connack 5', 'closed']],
  ['3.1.3-8', 'no client id', () => [CONNECT({ clientId: '', clean: true })], ['connack 5', 'closed']],
  [
    '2.2.2-2',
    'reserved bits of SUBSCRIBE',
    () => [CONNECT(), spoiled(subscribe(topic('d1', '#')), 0, 0x80)],
    ['connack 0', 'closed'],
  ],
  ['3.8.3-3', 'SUBSCRIBE without a filter', () => [CONNECT(), [0x82, 2, 0, 5]], ['connack 0', 'closed']],
  ['3.8.4-1', 'SUBSCRIBE', () => [CONNECT(), subscribe(topic('d1', '#'))], ['connack 0', 'suback']],
  [
    '3.8.4-5',
    'SUBSCRIBE to what is another’s',
    () => [CONNECT(), subscribe(topic('d2', '#'))],
    ['connack 0', 'suback'],
  ],
  [
    '3.10.4-5',
    'UNSUBSCRIBE of what was not subscribed',
    () => [CONNECT(), generate({ cmd: 'unsubscribe', messageId: 3, unsubscriptions: ['x'] })],
    ['connack 0', 'unsuback'],
  ],
  ['3.3.4', 'PUBLISH of QoS 1', () => [CONNECT(), publish({})], ['connack 0', 'puback']],
  ['3.3.1-4', 'PUBLISH of QoS 3', () => [CONNECT(), spoiled(publish({}), 0, 0x36)], ['connack 0', 'closed']],
  [
    '3.3.2-2',
    'PUBLISH with a wildcard',
    () => [CONNECT(), publish({ topic: topic('d1', '+') })],
    ['connack 0', 'closed'],
  ],
  [
    '3.3.5-2',
    'PUBLISH to what is another’s',
    () => [CONNECT(), publish({ topic: topic('d2', 'report') })],
    ['connack 0', 'closed'],
  ],
  ['docs/mqtt.md', 'PUBLISH of QoS 2', () => [CONNECT(), publish({ qos: 2 })], ['connack 0', 'closed']],
  [
    'docs/mqtt.md',
    'PUBLISH with the retain flag',
    () => [CONNECT(), publish({ retain: true })],
    ['connack 0', 'closed'],
  ],
  ['3.12.4-1', 'PINGREQ', () => [CONNECT(), PING], ['connack 0', 'pingresp']],
  ['3.14.4-1', 'DISCONNECT', () => [CONNECT(), [0xe0, 0]], ['connack 0', 'closed']],
  ['2.2.3', 'a length of five bytes', () => [CONNECT(), [0x30, 0xff, 0xff, 0xff, 0xff, 1]], ['connack 0', 'closed']],
  ['2.2.2-2', 'a type that is reserved', () => [CONNECT(), [0xf0, 0]], ['connack 0', 'closed']],
  ['docs/mqtt.md', 'MQTT 5', () => [spoiled(CONNECT(), CONNECT().indexOf('MQTT') + 4, 5)], ['closed']],
]

it.each(CASES)('[MQTT-%s] %s', async (_statement, _what, bytes, said) => {
  const [first = [], ...rest] = bytes()
  const peer = new Peer(first)
  // Each when the one before is answered: what is malformed ends a connection before what came with it is answered.
  for (const each of rest) {
    await peer.until(1)
    peer.say(each)
  }
  expect(await peer.until(said.length)).toEqual(said)
  peer.end()
})

it('[MQTT-3.1.4-2] one of the same client id ends the one before', async () => {
  const first = new Peer(CONNECT())
  expect(await first.until(1)).toEqual(['connack 0'])
  const second = new Peer(CONNECT(), PING)
  expect(await first.until(2)).toEqual(['connack 0', 'closed'])
  expect(await second.until(2)).toEqual(['connack 0', 'pingresp'])
  second.end()
})

it('[MQTT-2.3.1-6] [MQTT-3.8.4-2] answers bear the number of what they answer, and 0x80 is for a filter that is refused', async () => {
  const filters = [topic('d1', '#'), topic('d2', '#'), topic('d1', 'assign')].map((each) => ({
    topic: each,
    qos: 1 as const,
  }))
  const peer = new Peer(
    ...[CONNECT(), generate({ cmd: 'subscribe', messageId: 77, subscriptions: filters }), publish({ messageId: 78 })],
    generate({ cmd: 'unsubscribe', messageId: 79, unsubscriptions: [topic('d1', 'assign')] }),
  )
  await peer.until(4)
  const numbers = peer.packets.slice(1).map(({ cmd, messageId }) => [cmd, messageId])
  expect(numbers).toEqual(
    expect.arrayContaining([
      ['suback', 77],
      ['puback', 78],
      ['unsuback', 79],
    ]),
  )
  expect(peer.packets.find(({ cmd }) => cmd === 'suback')).toMatchObject({ granted: [1, 128, 1] })
  expect(peer.packets[0]).toMatchObject({ cmd: 'connack', sessionPresent: false })
  peer.end()
})
