import type { Server as HttpServer, IncomingMessage, RequestListener } from 'node:http'
import type { Server as TcpServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { networkOf } from './network.ts'

export interface StrangerLimits {
  /** connections that wait for the other side to say who it is or what it wants, of all addresses */
  readonly strangersMax: number
  /** of one address */
  readonly strangersPerAddressMax: number
}

interface Stranger {
  readonly network: string
  /** ends the connection; what runs over it, TLS or WebSocket, ends with it */
  end(): void
}

/** What both ends of a connection are called, below TLS and above it. */
type Ends = Pick<IncomingMessage['socket'], 'remoteAddress' | 'remotePort' | 'localPort'>

/** Connections of which nobody knows yet who is at the other end: from the first moment, before any TLS handshake, until a whole CONNECT or a whole
 *  request has come; one of HTTP again from its answer to its next request. Whoever holds such a place costs memory and a descriptor and has shown
 *  nothing for it, so places have a bound, and at the bound the one that was held for longest is given up for who comes: an honest device needs its
 *  place for a moment. It is taken from the network that holds the most, so that one who holds many takes them from himself.
 *
 *  What has said who it is leaves: it has other bounds (`connectionsMax`, admission). */
export class Strangers {
  readonly #limits: StrangerLimits
  readonly #givenUp: () => void
  /** by the ends of the connection */
  readonly #byEnds = new Map<string, Stranger>()
  /** the places of each network, oldest first */
  readonly #held = new Map<string, Map<string, Stranger>>()
  /** the networks that hold so many, by how many: the largest is found without looking at all of them */
  readonly #networks: Set<string>[] = []
  readonly #socketOf = new WeakMap<Duplex, Ends>()

  /** @param givenUp told of each connection that is ended for another */
  constructor(limits: StrangerLimits, givenUp: () => void) {
    this.#limits = limits
    this.#givenUp = givenUp
  }

  get count(): number {
    return this.#byEnds.size
  }

  /** Counts the connections of a server from the first moment on, before whatever else the server does with them. */
  watch(server: TcpServer | HttpServer): void {
    server.prependListener('connection', (socket) => {
      // Gone already, and nothing to tell it from others by.
      if (socket.remoteAddress === undefined) {
        socket.destroy()
        return
      }
      const ends = endsOf(socket)
      const stranger = { network: networkOf(socket.remoteAddress), end: () => socket.destroy() }
      socket.once('close', () => this.#leave(ends))
      this.#enter(ends, stranger)
    })
  }

  /** A listener by which an HTTP connection has a place while its request is not whole, and again once it is answered. */
  between(onRequest: RequestListener): RequestListener {
    return (request, response) => {
      const { socket } = request
      const ends = endsOf(socket)
      const stranger = this.#byEnds.get(ends)
      const hasBody =
        request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length']) > 0
      if (hasBody) request.once('end', () => this.#leave(ends))
      else this.#leave(ends)
      void Promise.resolve(onRequest(request, response) as unknown).finally(() => {
        if (stranger !== undefined && !socket.destroyed && !this.#byEnds.has(ends)) this.#enter(ends, stranger)
      })
    }
  }

  /** @param stream what packets come by
   *  @param socket below it: the stream itself, TLS, or what a WebSocket runs over */
  carries(stream: Duplex, socket: Duplex): void {
    this.#socketOf.set(stream, socket as Duplex & Ends)
  }

  /** It has said who it is: from now on we are the ones to act. @param stream of `carries` */
  known(stream: Duplex): void {
    const socket = this.#socketOf.get(stream)
    if (socket !== undefined) this.#leave(endsOf(socket))
  }

  /** By which it shares with others. @param stream of `carries` */
  networkOf(stream: Duplex): string {
    return networkOf(this.#socketOf.get(stream)?.remoteAddress)
  }

  #enter(ends: string, stranger: Stranger): void {
    const { strangersMax, strangersPerAddressMax } = this.#limits
    const own = this.#held.get(stranger.network)
    if (own !== undefined && own.size >= strangersPerAddressMax) this.#giveUp(own)
    else if (this.#byEnds.size >= strangersMax) {
      const [largest] = this.#networks.at(-1) ?? []
      this.#giveUp(largest === undefined ? undefined : this.#held.get(largest))
    }
    this.#byEnds.set(ends, stranger)
    const held = this.#held.get(stranger.network) ?? new Map<string, Stranger>()
    held.set(ends, stranger)
    this.#held.set(stranger.network, held)
    this.#resize(stranger.network, held.size - 1, held.size)
  }

  #leave(ends: string): void {
    const stranger = this.#byEnds.get(ends)
    if (stranger === undefined) return
    const { network } = stranger
    this.#byEnds.delete(ends)
    const held = this.#held.get(network)
    if (held === undefined) return
    held.delete(ends)
    if (held.size === 0) this.#held.delete(network)
    this.#resize(network, held.size + 1, held.size)
  }

  #giveUp(held: ReadonlyMap<string, Stranger> | undefined): void {
    for (const [ends, stranger] of held ?? []) {
      this.#leave(ends)
      this.#givenUp()
      stranger.end()
      return
    }
  }

  #resize(network: string, from: number, to: number): void {
    this.#networks[from]?.delete(network)
    if (to > 0) {
      const others = this.#networks[to] ?? new Set()
      others.add(network)
      this.#networks[to] = others
    }
    while (this.#networks.length > 0 && (this.#networks.at(-1)?.size ?? 0) === 0) this.#networks.pop()
  }
}

/** Of one connection; TLS and what is below it have the same. */
const endsOf = ({ remoteAddress = '', remotePort = 0, localPort = 0 }: Ends): string =>
  `${remoteAddress} ${remotePort} ${localPort}`
