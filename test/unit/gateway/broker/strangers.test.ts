import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Server } from 'node:net'
import type { Duplex } from 'node:stream'
import { expect, it } from 'vitest'
import { networkOf } from '../../../../gateway/broker/network.ts'
import { Strangers } from '../../../../gateway/broker/strangers.ts'

class FakeSocket extends EventEmitter {
  destroyed = false
  readonly localPort = 1
  readonly remoteAddress: string | undefined
  readonly remotePort: number
  constructor(remoteAddress: string | undefined, remotePort: number) {
    super()
    this.remoteAddress = remoteAddress
    this.remotePort = remotePort
  }
  destroy() {
    this.destroyed = true
    this.emit('close')
  }
}

function world(strangersMax: number, strangersPerAddressMax = strangersMax) {
  const server = new EventEmitter()
  let givenUp = 0
  const strangers = new Strangers({ strangersMax, strangersPerAddressMax }, () => givenUp++)
  strangers.watch(server as unknown as Server)
  let port = 0
  const come = (address: string | undefined) => {
    const socket = new FakeSocket(address, ++port)
    server.emit('connection', socket)
    return socket
  }
  const gone = (sockets: readonly FakeSocket[]) => sockets.map(({ destroyed }) => destroyed)
  return { strangers, come, gone, given: () => givenUp }
}

it('the oldest of an address with all its places gives up one for who comes', () => {
  const { strangers, come, gone, given } = world(100, 3)
  const sockets = ['a', 'a', 'b', 'a', 'a', 'a'].map(come)
  expect(gone(sockets)).toEqual([true, true, false, false, false, false])
  expect([strangers.count, given()]).toEqual([4, 2])
})

it('at the bound of all, the address that holds the most gives up its oldest', () => {
  const { strangers, come, gone } = world(6)
  const many = Array.from({ length: 4 }, () => come('many'))
  const few = [come('few'), come('few')]
  const others = ['x', 'y'].map(come)
  expect(gone(many)).toEqual([true, true, false, false])
  expect(gone([...few, ...others])).toEqual([false, false, false, false])
  expect(strangers.count).toBe(6)
  // Who floods takes from himself.
  for (let i = 0; i < 1_000; i++) come('many')
  expect(gone([...few.slice(1), ...others])).toEqual([false, false, false])
  expect(strangers.count).toBe(6)
})

it('who has said who he is, or is gone, holds no place', () => {
  const { strangers, come, gone } = world(3)
  const [device, other] = [come('a'), come('b')]
  const stream = new EventEmitter() as Duplex
  strangers.carries(stream, device as unknown as Duplex)
  expect(strangers.networkOf(stream)).toBe('a')
  strangers.known(stream)
  strangers.known(new EventEmitter() as Duplex)
  expect(strangers.count).toBe(1)
  for (let i = 0; i < 10; i++) come('c')
  expect(gone([device, other])).toEqual([false, false])
  other.destroy()
  expect(strangers.count).toBe(2)
  expect(come(undefined).destroyed).toBe(true)
  expect(strangers.count).toBe(2)
})

it('a request has a place until it is whole, and again once it is answered', async () => {
  const { strangers, come } = world(10)
  let answer = () => {}
  const listener = strangers.between(() => new Promise<void>((resolve) => (answer = resolve)) as unknown as undefined)
  const requestOf = (socket: FakeSocket, headers: IncomingMessage['headers']) => {
    const request = Object.assign(new EventEmitter(), { socket, headers }) as unknown as IncomingMessage
    listener(request, {} as ServerResponse)
    return request
  }
  const counts: number[] = []
  const note = () => counts.push(strangers.count)
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const socket = come('a')
  const post = requestOf(socket, { 'content-length': '5' })
  note()
  post.emit('end')
  note()
  answer()
  await turn()
  note()
  requestOf(socket, {})
  note()
  answer()
  await turn()
  const chunked = requestOf(socket, { 'transfer-encoding': 'chunked' })
  note()
  chunked.emit('end')
  note()
  socket.destroy()
  answer()
  await turn()
  note()
  expect(counts).toEqual([1, 0, 1, 0, 1, 0, 0])
})

it.each([
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
  ['2001:0db8::1', '2001:db8:0:0::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
  ['2001:db8:1:2:3::', '2001:db8:1:2::/64'],
  [undefined, 'unknown'],
])('%s shares as %s', (address, network) => {
  expect(networkOf(address)).toBe(network)
})
