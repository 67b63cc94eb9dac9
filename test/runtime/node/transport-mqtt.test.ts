import type { AddressInfo } from 'node:net'
import { createServer, type Server, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { describe, expect, it } from 'vitest'
import { type DeviceId, parseTopic, type SiteId, type UplinkKind } from '../../../contract/topics.ts'
import { TransportMqtt } from '../../../device/link/transport-mqtt.ts'
import { type TransportBench, transportSuite } from '../../contract/transport.suite.ts'

const site = 'lab' as SiteId
const device = 'bird-1' as DeviceId

interface BrokerOptions {
  readonly accepts?: (password: string) => boolean
  /** 'no': the broker says so in its SUBACK; 'cut': it closes the connection */
  readonly subscribes?: () => 'yes' | 'no' | 'cut'
}

/** A real broker on a real socket. */
async function brokerBench({ accepts = () => true, subscribes = () => 'yes' }: BrokerOptions = {}) {
  const arrived: { kind: UplinkKind; payload: Uint8Array }[] = []
  const at: {
    broker: Aedes | undefined
    server: Server | undefined
    port: number
    withheld: boolean
    held: (() => void)[]
  } = {
    broker: undefined,
    server: undefined,
    port: 0,
    withheld: false,
    held: [],
  }
  const retained = new Map<string, Buffer>()
  const sockets = new Set<Socket>()
  const up = async () => {
    const broker = await Aedes.createBroker()
    broker.authenticate = (_client, _name, password, done) => done(null, accepts(password?.toString() ?? ''))
    broker.authorizeSubscribe = (_client, subscription, done) => {
      const answer = subscribes()
      done(answer === 'cut' ? new Error('cut') : null, answer === 'yes' ? subscription : null)
    }
    broker.authorizePublish = (client, packet, done) => {
      const parsed = parseTopic(packet.topic)
      if (client !== null && parsed.ok) {
        arrived.push({ kind: parsed.value.kind as UplinkKind, payload: new Uint8Array(packet.payload as Buffer) })
      }
      // The acknowledgement waits for this.
      if (client !== null && at.withheld) at.held.push(() => done(null))
      else done(null)
    }
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      broker.handle(socket)
    })
    await new Promise<void>((resolve) => server.listen(at.port, '127.0.0.1', resolve))
    at.port = (server.address() as AddressInfo).port
    at.broker = broker
    at.server = server
    for (const [topic, payload] of retained) await publish(topic, payload, true)
  }
  const publish = (topic: string, payload: Uint8Array, retain = false) =>
    new Promise<void>((resolve, reject) => {
      at.broker!.publish(
        { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain, dup: false },
        (error) => (error ? reject(error) : resolve()),
      )
    })
  const down = async () => {
    const { broker, server } = at
    at.broker = undefined
    at.server = undefined
    at.held = []
    for (const socket of sockets) socket.destroy()
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())))
    await new Promise<void>((resolve) => (broker === undefined ? resolve() : broker.close(() => resolve())))
  }
  await up()
  const tokens: string[] = []
  const transport = new TransportMqtt({
    url: `mqtt://127.0.0.1:${at.port}`,
    site,
    device,
    token: () => {
      tokens.push(`token-${tokens.length}`)
      return tokens.at(-1)!
    },
    reconnectMs: 40,
  })
  const bench: TransportBench = {
    transport,
    arrived,
    send: async (kind, payload, retain = false) => {
      if (retain) retained.set(`kinglet/v1/lab/bird-1/${kind}`, Buffer.from(payload))
      await publish(`kinglet/v1/lab/bird-1/${kind}`, payload, retain)
    },
    sendBlock: (sha256, payload) => publish(`kinglet/v1/lab/bird-1/block/${sha256}`, payload),
    sendElsewhere: async (payload) => {
      await publish('kinglet/v1/lab/bird-2/verdict', payload)
      await publish('kinglet/v1/lab/bird-1/block/not-a-hash', payload)
    },
    withhold: (on) => {
      at.withheld = on
    },
    down,
    up,
    dispose: async () => {
      await transport.close()
      await down()
    },
  }
  return { bench, tokens }
}

describe('TransportMqtt', () => {
  transportSuite(async () => (await brokerBench()).bench)

  it('asks for a token at every connection, until one is accepted', async () => {
    const { bench } = await brokerBench({ accepts: (password) => password === 'token-3' })
    await new Promise<void>((resolve) => {
      bench.transport.open(({ type }) => {
        if (type === 'connected') resolve()
      })
    })
    await bench.dispose()
  })

  it.each(['no', 'cut'] as const)(
    'a refused subscription (%s) is no connection: it is tried again',
    async (refusal) => {
      let asked = 0
      const { bench } = await brokerBench({ subscribes: () => (asked++ < 9 ? refusal : 'yes') })
      await new Promise<void>((resolve) => {
        bench.transport.open(({ type }) => {
          if (type === 'connected') resolve()
        })
      })
      expect(asked).toBeGreaterThan(9)
      await bench.dispose()
    },
  )
})

describe('coming back', () => {
  /** When connections came, ms; each is ended at once. */
  async function cutting() {
    const atMs: number[] = []
    const server = createServer((socket) => {
      atMs.push(performance.now())
      socket.on('error', () => undefined)
      socket.destroy()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { atMs, server, url: `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}` }
  }
  const waited = async (what: () => boolean) => {
    for (let i = 0; i < 2_000 && !what(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(what()).toBe(true)
  }

  it('is tried after pauses that double, up to six times the first, and are a random part of that', async () => {
    for (const part of [1, 0.25]) {
      const { atMs, server, url } = await cutting()
      const transport = new TransportMqtt({ url, site, device, token: () => 't', reconnectMs: 100, chance: () => part })
      transport.open(() => undefined)
      await waited(() => atMs.length >= 7)
      await transport.close()
      server.close()
      const pauses = atMs.slice(1, 7).map((ms, i) => ms - atMs[i]!)
      ;[1, 2, 4, 6, 6, 6].forEach((bound, i) => {
        expect(pauses[i]!, `pause ${i}`).toBeGreaterThan(bound * 100 * part - 5)
        expect(pauses[i]!, `pause ${i}`).toBeLessThan(bound * 100 * part + 150)
      })
    }
  })

  it('after being pushed off again and again takes longer each time, past that bound', async () => {
    const broker = await Aedes.createBroker()
    const atMs: number[] = []
    broker.on('client', (client) => {
      atMs.push(performance.now())
      setTimeout(() => client.close(), 5)
    })
    const server = createServer((socket) => void broker.handle(socket))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `mqtt://127.0.0.1:${(server.address() as AddressInfo).port}`
    const transport = new TransportMqtt({ url, site, device, token: () => 't', reconnectMs: 10, chance: () => 1 })
    transport.open(() => undefined)
    await waited(() => atMs.length >= 9)
    await transport.close()
    server.close()
    broker.close()
    // 10, 20, 40 … 1 280 ms
    const pauses = atMs.slice(1, 9).map((ms, i) => ms - atMs[i]!)
    pauses.forEach((ms, i) => {
      expect(ms, `pause ${i}`).toBeGreaterThan(10 * 2 ** i)
    })
  })
})
