import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { Aedes } from 'aedes'
import { bytesToHex } from '../../../contract/bytes.ts'
import { type Get, getCodec, type MetaGet, metaGetCodec } from '../../../contract/messages.ts'
import { parseTopic } from '../../../contract/topics.ts'
import { answerMeta } from '../../../firmware-sim/memory-repository.ts'
import { answerGet } from '../../../firmware-sim/power-cut/gateway-scripted.ts'
import { DEVICE, SITE } from '../../fixtures/documents.ts'
import type { TufRepository } from '../../fixtures/tuf-repository.ts'

/** A broker that says to one device what it likes. Unless told otherwise it answers as an honest gateway would. */
export class LyingGateway {
  /** what is answered to a request for metadata or a block: messages, in order */
  meta: (get: MetaGet, honest: Uint8Array) => readonly Uint8Array[] = (_get, honest) => [honest]
  block: (get: Get, honest: Uint8Array) => readonly Uint8Array[] = (_get, honest) => [honest]
  readonly requests: string[] = []
  readonly #artifacts: ReadonlyMap<string, Uint8Array>
  readonly #repository: () => TufRepository
  readonly #sockets = new Set<Socket>()
  #broker: Aedes | undefined
  #server: Server | undefined

  constructor(artifacts: ReadonlyMap<string, Uint8Array>, repository: () => TufRepository) {
    this.#artifacts = artifacts
    this.#repository = repository
  }

  get mqttPort(): number {
    return (this.#server!.address() as AddressInfo).port
  }

  async start(): Promise<this> {
    const broker = await Aedes.createBroker()
    broker.authorizePublish = (client, packet, done) => {
      done(null)
      const parsed = parseTopic(packet.topic)
      if (client === null || !parsed.ok) return
      const payload = new Uint8Array(packet.payload as Buffer)
      if (parsed.value.kind === 'meta-get') this.#answerMeta(payload)
      else if (parsed.value.kind === 'get') this.#answerGet(payload)
      else this.requests.push(parsed.value.kind)
    }
    const server = createServer((socket) => {
      this.#sockets.add(socket)
      broker.handle(socket)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#broker = broker
    this.#server = server
    return this
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<unknown>((resolve) => this.#server?.close(resolve))
    await new Promise<void>((resolve) => this.#broker?.close(resolve))
  }

  /** @param kind the topic below the device's own: `assign`, `meta`, `verdict`, `block/…` */
  say(kind: string, payload: Uint8Array, retain = false): Promise<void> {
    const topic = `kinglet/v1/${SITE}/${DEVICE}/${kind}`
    const packet = { cmd: 'publish', topic, payload: Buffer.from(payload), qos: 1, retain, dup: false } as const
    return new Promise((resolve, reject) => {
      this.#broker!.publish(packet, (error) => (error ? reject(error) : resolve()))
    })
  }

  #answerMeta(payload: Uint8Array): void {
    const get = metaGetCodec.decode(payload)
    if (!get.ok) throw new Error(get.error.detail)
    this.requests.push(`meta-get ${get.value.file} ${get.value.offset}`)
    const file = (name: string) => {
      const found = this.#repository().file(`metadata/${name}`)
      return typeof found === 'number' ? undefined : found
    }
    for (const answer of this.meta(get.value, answerMeta(file, payload))) void this.say('meta', answer)
  }

  #answerGet(payload: Uint8Array): void {
    const get = getCodec.decode(payload)
    if (!get.ok) throw new Error(get.error.detail)
    const { sha256, offset } = get.value
    const hash = bytesToHex(sha256)
    this.requests.push(`get ${hash.slice(0, 8)} ${offset}`)
    const { block: honest } = answerGet(this.#artifacts, payload)
    for (const answer of this.block(get.value, honest)) void this.say(`block/${hash}`, answer)
  }
}
