import { connect, type Socket } from 'node:net'
import { LIMITS } from '../contract/limits.ts'
import { COUNTER_NAMES, reportCodec } from '../contract/messages.ts'

/** Lean MQTT publishers for `bench/gateway.ts`: packets are made before the clock starts and acknowledgements are counted by their
 *  bytes, so that one core of load can saturate one core of broker, which mqtt.js cannot. */

export interface LoadPlan {
  readonly port: number
  readonly site: string
  readonly devices: readonly { readonly name: string; readonly token: string }[]
  readonly boot: number
  readonly messagesPerDevice: number
  /** QoS 1 messages of one device that may be unacknowledged */
  readonly window: number
}

const field = (bytes: Uint8Array): Buffer => {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}

/** Fixed header and body of one packet, MQTT 3.1.1 section 2.2. */
function packet(type: number, body: Buffer): Buffer {
  const header = [type]
  let length = body.length
  do {
    header.push((length & 0x7f) | (length > 0x7f ? 0x80 : 0))
    length >>= 7
  } while (length > 0)
  return Buffer.concat([Buffer.from(header), body])
}

export const connectPacket = (name: string, token: string): Buffer =>
  packet(
    0x10,
    Buffer.concat([
      field(Buffer.from('MQTT')),
      // level 4; user name, password, clean session; keep-alive 600 s
      Buffer.from([4, 0xc2, 2, 0x58]),
      field(Buffer.from(name)),
      field(Buffer.from(name)),
      field(Buffer.from(token)),
    ]),
  )

/** @param filters QoS 1 each; packet identifier 1 */
export const subscribePacket = (filters: readonly string[]): Buffer =>
  packet(
    0x82,
    Buffer.concat([Buffer.of(0, 1), ...filters.flatMap((filter) => [field(Buffer.from(filter)), Buffer.of(1)])]),
  )

/** A report as a device sends it after `seq + 1` hours. */
function reportPayload(boot: number, seq: number): Uint8Array {
  const hours = seq + 1
  return reportCodec.encode({
    boot,
    seq,
    uptimeMs: hours * 3_600_000,
    wallMs: 1_790_000_000_000 + hours * 3_600_000,
    model: new Uint8Array(8).fill(7),
    slot: 0,
    level: seq % 4,
    counters: COUNTER_NAMES.map((_, i) => hours * (i % 3 === 0 ? 3_000_000 : 40 + i)),
    levelMs: [hours * 3_000_000, hours * 500_000, hours * 100_000, 0, 0],
    energyMj: [hours * 900, hours * 8_000, hours * 12_000, hours * 700, 0],
    batteryPermille: 1_000 - (seq % 1_000),
    posteriorBins: Array.from({ length: LIMITS.histogramBins }, (_, i) => hours * 1_000 * (i + 1)),
    noiseBins: Array.from({ length: LIMITS.histogramBins }, (_, i) => hours * 900 * (i + 1)),
    assignmentSeq: 3,
  })
}

/** Publishers that are connected and have made their packets, so that only messages are measured. */
export interface Load {
  /** @returns milliseconds from the first publish to the last acknowledgement, over all devices; disconnects then */
  run(): Promise<number>
}

export async function prepareLoad(plan: LoadPlan): Promise<Load> {
  const sockets = await Promise.all(plan.devices.map((device) => open(plan, device)))
  const packets = plan.devices.map(({ name }) => {
    const topic = field(Buffer.from(`kinglet/v1/${plan.site}/${name}/report`))
    return Array.from({ length: plan.messagesPerDevice }, (_, seq) => {
      const id = Buffer.alloc(2)
      id.writeUInt16BE((seq % 65_535) + 1)
      return packet(0x32, Buffer.concat([topic, id, reportPayload(plan.boot, seq)]))
    })
  })
  return {
    async run() {
      const start = performance.now()
      await Promise.all(sockets.map((socket, i) => publishAll(socket, packets[i]!, plan.window)))
      const elapsedMs = performance.now() - start
      for (const socket of sockets) socket.destroy()
      return elapsedMs
    },
  }
}

function open(plan: LoadPlan, { name, token }: LoadPlan['devices'][number]): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port: plan.port, host: '127.0.0.1', noDelay: true })
    socket.once('error', reject)
    socket.write(connectPacket(name, token))
    socket.once('data', (connack) => {
      if (connack[0] === 0x20 && connack[3] === 0) resolve(socket)
      else reject(new Error(`connection refused: ${connack[3]}`))
    })
  })
}

function publishAll(socket: Socket, packets: readonly Buffer[], window: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let sent = 0
    let ackBytes = 0
    const send = (count: number): void => {
      const end = Math.min(packets.length, sent + count)
      if (end > sent) socket.write(Buffer.concat(packets.slice(sent, end)))
      sent = end
    }
    socket.on('data', (chunk) => {
      // Every PUBACK has four bytes and nothing else comes.
      const before = ackBytes >> 2
      ackBytes += chunk.length
      const acked = ackBytes >> 2
      if (acked === packets.length) resolve()
      else send(acked - before)
    })
    socket.once('close', () => reject(new Error('the broker closed a connection')))
    send(window)
  })
}
