import { createServer as createHttpServer, type Server as HttpServer, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, Server as TlsServer } from 'node:tls'
import { Aedes, type AedesOptions, type Client, type PublishPacket } from 'aedes'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { type TlsOptions, tlsServerOptions } from '../../platform/tls-options.ts'
import type { MessageCounters } from '../message-counters.ts'
import { type Certified, certifiedPeer } from './listener-tls.ts'
import { boundPackets } from './packet-bound.ts'
import { boundIdle, REQUEST_DEADLINES } from './request-deadlines.ts'
import { RetainedMessages } from './retained-messages.ts'
import type { StrangerLimits, Strangers } from './strangers.ts'

/** Bounds of the broker; times are of sockets and hence real, whatever clock the gateway runs on. */
export interface BrokerLimits extends StrangerLimits {
  /** live connections over both transports, beside those of strangers; further ones are closed at once */
  readonly connectionsMax: number
  /** a connection that sent no CONNECT within this is closed */
  readonly connectTimeoutMs: number
  /** a device that asks for a longer keep-alive, or for none (0), is held to this: a dead connection must not linger. The server may end a
   *  connection that it takes to be inactive whatever the keep-alive (MQTT 3.1.1 section 3.1.2.10) */
  readonly keepaliveSecondsMax: number
  /** a device that does not read for this long is disconnected */
  readonly drainTimeoutMs: number
}

/** chosen: a fleet that comes back as one waits in the kernel and is not told to go away; Linux cuts it to its own bound */
const BACKLOG = 4_096

export const BROKER_LIMITS: BrokerLimits = {
  connectionsMax: 20_000,
  // chosen: two of the largest crowds of one address
  strangersMax: 2 * BACKLOG,
  // chosen: so many the kernel hands over at once when a site behind one address comes back as one
  strangersPerAddressMax: BACKLOG,
  connectTimeoutMs: 10_000,
  keepaliveSecondsMax: 3_600,
  drainTimeoutMs: 20_000,
}

type Done = (error?: Error) => void

/** aedes for devices that talk to the gateway and to nobody else: what a device publishes is taken in `authorizePublish` and is
 *  not routed, since no other device may see it and its own `#` subscription must not echo it back over the radio. */
class DeviceBroker extends Aedes {
  override publish(packet: PublishPacket, clientOrDone?: Client | Done | null, done?: Done): void {
    if (typeof clientOrDone === 'object' && clientOrDone !== null) {
      done?.()
      return
    }
    super.publish(packet, done ?? (typeof clientOrDone === 'function' ? clientOrDone : () => {}))
  }
}

export type BrokerHandlers = Required<
  Pick<AedesOptions, 'preConnect' | 'authenticate' | 'authorizePublish' | 'authorizeSubscribe'>
>

export interface ListenOptions {
  readonly host: string
  readonly mqttPort: number
  readonly wsPort: number
  /** both ports speak TLS with it, and nothing else */
  readonly tls?: TlsOptions | undefined
  /** answers what comes to the WebSocket port and is no WebSocket; default: 426 */
  readonly onRequest?: RequestListener
  /** counts whoever has not said who he is */
  readonly strangers: Strangers
  /** where what TLS establishes about the device at the other end of a connection is noted */
  readonly certified?: WeakMap<Duplex, Certified>
}

/** MQTT 3.1.1 over TCP and WebSocket. QoS 1 publishes are acknowledged when `authorizePublish` calls back, not before. */
export class Broker {
  readonly aedes: Aedes
  readonly #limits: BrokerLimits
  readonly #counters: MessageCounters
  readonly #tcp: TcpServer
  readonly #http: HttpServer
  readonly #ws: WebSocketServer
  readonly #connections = new Set<Duplex>()
  readonly #certified: WeakMap<Duplex, Certified> | undefined
  readonly #strangers: Strangers

  private constructor(options: ListenOptions, aedes: Aedes, limits: BrokerLimits, counters: MessageCounters) {
    this.aedes = aedes
    this.#limits = limits
    this.#counters = counters
    this.#certified = options.certified
    this.#strangers = options.strangers
    const { tls, strangers, onRequest = (_request, response) => response.writeHead(426).end() } = options
    const answer = strangers.between(onRequest)
    // Events are small and each waits for its acknowledgement: do not hold them back for a fuller segment.
    if (tls === undefined) {
      this.#tcp = createTcpServer({ noDelay: true }, (socket) => this.#accept(socket, socket))
      this.#http = createHttpServer(REQUEST_DEADLINES, answer)
    } else {
      const secure = { noDelay: true, ...tlsServerOptions(tls) }
      this.#tcp = createTlsServer(secure, (socket) => this.#accept(socket, socket))
      this.#http = createHttpsServer({ ...REQUEST_DEADLINES, ...secure }, answer)
      for (const server of [this.#tcp, this.#http]) {
        server.on('tlsClientError', () => counters.add('connection', 'handshake-failed'))
      }
    }
    for (const server of [this.#tcp, this.#http]) {
      strangers.watch(server)
      // What has not spoken yet, or not finished a handshake, counts too. Before this bound is met strangers give up their places.
      server.maxConnections = limits.connectionsMax + limits.strangersMax
    }
    boundIdle(this.#http)
    this.#ws = new WebSocketServer({
      server: this.#http,
      perMessageDeflate: false,
      // A frame may carry several packets or a part of one; the packets themselves are bounded behind it.
      maxPayload: 65_536,
      handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false),
    })
    this.#ws.on('connection', (socket, request) => this.#accept(createWebSocketStream(socket), request.socket))
    // The listeners' own errors surface in `listen`; afterwards only handshakes fail.
    this.#ws.on('error', () => counters.add('connection', 'handshake-failed'))
  }

  /** @throws when a port is taken; the other is free again then */
  static async listen(
    options: ListenOptions,
    handlers: BrokerHandlers,
    limits: BrokerLimits,
    counters: MessageCounters,
  ): Promise<Broker> {
    const { keepaliveSecondsMax: keepaliveMax } = limits
    const aedes = new DeviceBroker({
      ...handlers,
      preConnect: (client, packet, callback) => {
        options.strangers.known(client.conn)
        const { keepalive = 0 } = packet
        packet.keepalive = keepalive === 0 ? keepaliveMax : Math.min(keepalive, keepaliveMax)
        handlers.preConnect(client, packet, callback)
      },
      connectTimeout: limits.connectTimeoutMs,
      // Not its own bound, which it answers with a code that MQTT 3.1.1 reserves: see `preConnect`.
      keepaliveLimit: 0,
      drainTimeout: limits.drainTimeoutMs,
      // chosen: deliveries under way at once; a device that reads slowly holds one of them until drainTimeout
      concurrency: 1_000,
      maxTopicLevels: 8,
    })
    aedes.on('clientError', () => counters.add('connection', 'error'))
    aedes.on('connectionError', () => counters.add('connection', 'error'))
    await aedes.listen()
    // It has none before.
    new RetainedMessages().serve((aedes as { readonly persistence?: unknown }).persistence)
    const broker = new Broker(options, aedes, limits, counters)
    try {
      await listening(broker.#tcp, options.mqttPort, options.host)
      await listening(broker.#http, options.wsPort, options.host)
    } catch (cause) {
      await broker.close()
      throw cause
    }
    return broker
  }

  /** Takes other certificates into use for the connections that come from now on. @throws when they cannot be used, or there were none */
  renewTls(tls: TlsOptions): void {
    for (const server of [this.#tcp, this.#http]) {
      if (!(server instanceof TlsServer)) throw new Error('the ports do not speak TLS')
      server.setSecureContext(tlsServerOptions(tls))
    }
  }

  get mqttPort(): number {
    return (this.#tcp.address() as AddressInfo).port
  }

  get wsPort(): number {
    return (this.#http.address() as AddressInfo).port
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Stops listening, ends every connection. Call `Ingest.close` first, so that what is queued is still acknowledged. */
  async close(): Promise<void> {
    this.#tcp.close()
    this.#http.close()
    this.#ws.close()
    await new Promise<void>((resolve) => this.aedes.close(resolve))
    for (const stream of this.#connections) stream.destroy()
  }

  /** @param socket below the stream: the stream itself, or what a WebSocket runs over */
  #accept(stream: Duplex, socket: Duplex): void {
    this.#strangers.carries(stream, socket)
    if (this.#connections.size >= this.#limits.connectionsMax + this.#limits.strangersMax) {
      this.#counters.add('connection', 'too-many')
      stream.on('error', () => {})
      stream.destroy()
      return
    }
    this.#connections.add(stream)
    const certified = certifiedPeer(socket)
    if (certified !== undefined) this.#certified?.set(stream, certified)
    stream.once('close', () => this.#connections.delete(stream))
    boundPackets(stream, () => {
      this.#counters.add('connection', 'too-large')
      stream.destroy()
    })
    this.aedes.handle(stream)
  }
}

async function listening(server: TcpServer | HttpServer, port: number, host: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host, backlog: BACKLOG }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
