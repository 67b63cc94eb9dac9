import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import Database from 'better-sqlite3'
import type { MqttClient } from 'mqtt'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventCodec } from '../../../contract/messages.ts'
import { seededRandom } from '../../../contract/random.ts'
import type { GatewayStats } from '../../../gateway/gateway.ts'
import { connectDevice, FakeCloud, report, tempDir, tokenIssuer, topic, until, wake } from './gateway-harness.ts'

const root = resolve(import.meta.dirname, '../../..')
let compiled: string
let entry: string

/** Compiles the process's import graph beside the packages it needs; types are checked elsewhere. */
beforeAll(() => {
  compiled = mkdtempSync(join(root, 'node_modules', '.gateway-kill-'))
  const source = join(root, 'test/runtime/node/gateway-process.ts')
  const read = ts.readConfigFile(join(root, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent(read.config, ts.sys, root)
  // The store's thread is named by its address, not imported.
  const worker = join(root, 'gateway/store/store-worker.ts')
  ts.createProgram([source, worker], {
    ...options,
    noEmit: false,
    noCheck: true,
    outDir: compiled,
    rootDir: root,
  }).emit()
  entry = join(compiled, 'test/runtime/node/gateway-process.js')
})
afterAll(() => rmSync(compiled, { recursive: true, force: true }))

async function spawn(options: object): Promise<{ process: ChildProcess; url: string; said(): string }> {
  const process = fork(entry, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
  let said = ''
  process.stderr!.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const { mqttPort } = await new Promise<{ mqttPort: number }>((resolve, reject) => {
    process.once('message', (message) => resolve(message as { mqttPort: number }))
    process.once('close', (code) => reject(new Error(`gateway ended with ${code}: ${said}`)))
  })
  return { process, url: `mqtt://127.0.0.1:${mqttPort}`, said: () => said }
}
const query = (process: ChildProcess) =>
  new Promise<{ stats: GatewayStats; sums: { wakes: number } }>((resolve) => {
    process.once('message', (message) => resolve(message as never))
    process.send('stats')
  })

const MESSAGES = 400
const event = (seq: number): Buffer =>
  Buffer.from(
    eventCodec.encode({
      boot: 1,
      seq,
      wallMs: 0,
      code: 0,
      model: undefined,
      error: undefined,
      detail: undefined,
      assignmentSeq: undefined,
    }),
  )
interface Message {
  readonly kind: string
  readonly payload: Buffer
  acknowledged: boolean
}
const outbox = (): Message[] =>
  Array.from({ length: MESSAGES }, (_, i) => [
    { kind: 'report', payload: report(1, i), acknowledged: false },
    { kind: 'wake', payload: wake(1, i + 1, i % 4 === 0 ? 20 : 80), acknowledged: false },
    { kind: 'event', payload: event(i), acknowledged: false },
  ]).flat()

/** Sends what is not acknowledged, thirty at a time, until all is or the connection breaks. */
async function sendAll(client: MqttClient, messages: Message[], onAck: () => void): Promise<void> {
  const closed = new Promise<'closed'>((resolve) => client.once('close', () => resolve('closed')))
  const queue = messages.filter(({ acknowledged }) => !acknowledged)
  const lane = async (): Promise<void> => {
    for (let message = queue.shift(); message !== undefined; message = queue.shift()) {
      const { kind, payload } = message
      const answered = new Promise<Error | undefined>((resolve) => {
        client.publish(topic('d1', kind), payload, { qos: 1 }, (error) => resolve(error ?? undefined))
      })
      if ((await Promise.race([answered, closed])) !== undefined) return
      message.acknowledged = true
      onAck()
    }
  }
  await Promise.all(Array.from({ length: 30 }, lane))
}

describe('the thread of the store', () => {
  it('ends with the gateway, which has answered what it took and leaves the rest to be sent again', async () => {
    const issuer = await tokenIssuer()
    const cloud = await new FakeCloud().start()
    await cloud.stop()
    const options = { cloudUrl: cloud.url, dataDir: tempDir(), jwks: issuer.jwks, verifierDelayMs: 1 }
    const first = await spawn(options)
    const exit = new Promise<number | null>((resolve) => first.process.once('exit', (code) => resolve(code)))
    const client = await connectDevice(first.url, 'd1', await issuer.token('d1'))
    client.on('error', () => {})
    const messages = outbox()
    let left = 100
    await sendAll(client, messages, () => {
      if (--left === 0) first.process.send('close')
    })
    client.end(true)
    expect(await exit).toBe(0)
    // SQLite removes the log when the last connection to a store is closed.
    expect(readdirSync(options.dataDir).sort()).toEqual(['artifacts', 'gateway.sqlite', 'owner.lock'])
    const acknowledged = (of: string) => messages.filter(({ kind, acknowledged }) => kind === of && acknowledged).length
    expect(acknowledged('report')).toBeGreaterThan(0)
    expect(acknowledged('report')).toBeLessThan(MESSAGES)
    const second = await spawn(options)
    try {
      const { depths } = (await query(second.process)).stats
      expect(depths.spoolReports).toBeGreaterThanOrEqual(acknowledged('report'))
      expect(depths.spoolEvents).toBeGreaterThanOrEqual(acknowledged('event'))
    } finally {
      second.process.kill('SIGKILL')
    }
  })

  it('ends the process when it breaks, and what it had not taken is not acknowledged', async () => {
    const issuer = await tokenIssuer()
    const options = { cloudUrl: 'http://127.0.0.1:1', dataDir: tempDir(), jwks: issuer.jwks, verifierDelayMs: 1 }
    const gateway = await spawn(options)
    const exit = new Promise<number | null>((resolve) => gateway.process.once('close', (code) => resolve(code)))
    const client = await connectDevice(gateway.url, 'd1', await issuer.token('d1'))
    client.on('error', () => {})
    const other = new Database(join(options.dataDir, 'gateway.sqlite'))
    other.exec('DROP TABLE spool_report')
    other.close()
    let acknowledged = 0
    await sendAll(client, outbox(), () => {
      acknowledged++
    })
    client.end(true)
    expect([await exit, acknowledged]).toEqual([1, 0])
    expect(gateway.said()).toContain('the store broke: SqliteError: no such table: spool_report')
  })

  it('fails the start when the store is none', async () => {
    const issuer = await tokenIssuer()
    const dataDir = tempDir()
    writeFileSync(join(dataDir, 'gateway.sqlite'), 'not a store'.repeat(100))
    const options = { cloudUrl: 'http://127.0.0.1:1', dataDir, jwks: issuer.jwks, verifierDelayMs: 1 }
    await expect(spawn(options)).rejects.toThrow(/^gateway ended with 1: .*file is not a database/s)
  })
})

describe('kill -9', () => {
  it('loses nothing that was acknowledged and counts nothing twice', async () => {
    const issuer = await tokenIssuer()
    const cloud = await new FakeCloud().start()
    const options = { cloudUrl: cloud.url, dataDir: tempDir(), jwks: issuer.jwks, verifierDelayMs: 1 }
    const token = await issuer.token('d1')
    const seed = Math.floor(Math.random() * 1e9)
    console.log(`kill -9 seed ${seed}`)
    const random = seededRandom(seed)
    const messages = outbox()
    let gateway: Awaited<ReturnType<typeof spawn>> | undefined
    let duplicates = 0
    try {
      for (let kills = 0; kills < 6; kills++) {
        gateway = await spawn(options)
        const { process } = gateway
        const exit = new Promise<void>((resolve) => process.once('exit', () => resolve()))
        const client = await connectDevice(gateway.url, 'd1', token)
        client.on('error', () => {})
        let left = 20 + Math.floor(random.next() * 130)
        await sendAll(client, messages, () => {
          if (--left === 0) process.kill('SIGKILL')
        })
        await exit
        client.end(true)
      }
      expect(messages.filter(({ acknowledged }) => acknowledged).length).toBeLessThan(messages.length)
      gateway = await spawn(options)
      const { process } = gateway
      const client = await connectDevice(gateway.url, 'd1', token)
      // A device that has forgotten what was answered sends everything once more.
      await sendAll(client, messages, () => {})
      await sendAll(client, outbox(), () => {
        duplicates++
      })
      client.end(true)
      await until(
        'everything judged and delivered',
        async () => {
          const { depths } = (await query(process)).stats
          return depths.pendingWakes === 0 && depths.spoolReports === 0 && depths.spoolEvents === 0
        },
        20_000,
      )
      expect((await query(process)).sums.wakes).toBe(MESSAGES * 3)
      const sum = (rows: Iterable<Record<string, unknown>>, name: string): number =>
        [...rows].reduce((total, row) => total + (row[name] as number), 0)
      await until('the last verdicts', () => sum(cloud.verdicts.values(), 'confirmed') >= (MESSAGES * 3) / 4)
      await until('the last aggregates', () => sum(cloud.aggregates.values(), 'rejected') >= MESSAGES / 4)
      expect(sum(cloud.verdicts.values(), 'confirmed')).toBe((MESSAGES * 3) / 4)
      expect(sum(cloud.verdicts.values(), 'rejected')).toBe(MESSAGES / 4)
      expect(sum(cloud.aggregates.values(), 'confirmed')).toBe((MESSAGES * 3) / 4)
      expect(sum(cloud.aggregates.values(), 'rejected')).toBe(MESSAGES / 4)
      expect(sum(cloud.aggregates.values(), 'wakes')).toBe(MESSAGES * 3)
      expect([cloud.reports.size, cloud.events.size, duplicates]).toEqual([MESSAGES, MESSAGES, MESSAGES * 3])
    } finally {
      gateway?.process.kill('SIGKILL')
      await cloud.stop()
    }
  })

  it('has on disk whatever it acknowledged, even when the device never comes back', async () => {
    const issuer = await tokenIssuer()
    const cloud = await new FakeCloud().start()
    const options = { cloudUrl: cloud.url, dataDir: tempDir(), jwks: issuer.jwks, verifierDelayMs: 1 }
    await cloud.stop()
    const first = await spawn(options)
    const client = await connectDevice(first.url, 'd1', await issuer.token('d1'))
    client.on('error', () => {})
    const messages = outbox()
    const exit = new Promise<void>((resolve) => first.process.once('exit', () => resolve()))
    let left = 500
    await sendAll(client, messages, () => {
      if (--left === 0) first.process.kill('SIGKILL')
    })
    await exit
    client.end(true)
    await cloud.start()
    const second = await spawn({ ...options, cloudUrl: cloud.url })
    try {
      await until('an empty spool', async () => (await query(second.process)).stats.depths.spoolReports === 0)
      const acknowledged = messages.filter((message) => message.acknowledged)
      expect(acknowledged.length).toBeGreaterThanOrEqual(500)
      messages.forEach(({ kind, acknowledged: was }, i) => {
        const seq = Math.floor(i / 3)
        if (was && kind !== 'wake')
          expect((kind === 'report' ? cloud.reports : cloud.events).has(`d1/1/${seq}`)).toBe(true)
      })
    } finally {
      second.process.kill('SIGKILL')
      await cloud.stop()
    }
  })
})
