import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import { restoreCloud } from '../../../cloud/backup.ts'
import { type RunningCloud, startCloud } from '../../../cloud/cloud.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import { releaseOf } from '../../fixtures/cloud-world.ts'
import { operatorMachine, realRandom } from '../../fixtures/operator-machine.ts'
import { TufClient } from '../../fixtures/tuf-js-client.ts'
import { expectRefusal, kinglet } from './cli-process.ts'
import { quietLogger } from './gateway-harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-backup-'))
const path = (...parts: string[]) => join(dir, ...parts)
const operator = operatorMachine(dir, systemClock)
let cloud: RunningCloud
let client: TufClient

const start = (data: string): Promise<RunningCloud> =>
  startCloud({
    ...{ dataDir: path(data), host: '127.0.0.1', port: 0, clock: systemClock, secureRandom: realRandom },
    ...{ logger: quietLogger, publicReads: true },
  })
async function call<T>(method: string, route: string, body?: Uint8Array | object): Promise<T> {
  const json = body !== undefined && !(body instanceof Uint8Array)
  const response = await fetch(`${cloud.url}${route}`, {
    method,
    headers: {
      authorization: `Bearer ${cloud.operatorToken}`,
      ...(body !== undefined && { 'content-type': json ? 'application/json' : 'application/octet-stream' }),
    },
    ...(body !== undefined && { body: json ? JSON.stringify(body) : (body as Uint8Array<ArrayBuffer>) }),
  })
  const answer = await response.json()
  if (!response.ok) throw new Error(JSON.stringify(answer))
  return answer as T
}
async function upload(name: string): Promise<Uint8Array> {
  const bytes = new TextEncoder().encode(name)
  await call('PUT', `/v1/artifacts/${sha256Hex(bytes)}`, bytes)
  return bytes
}
/** A target of the image repository, whose bytes the cloud has. */
async function release(name: string): Promise<void> {
  const bytes = await upload(name)
  await operator.lifecycle.addRelease(releaseOf(name, 1, sha256Hex(bytes), { bytes: bytes.length }))
  publish()
}
function publish(): void {
  const uploads = operator.repository.uploadsFor(cloud.repository.versions())
  const taken = cloud.repository.publish(uploads, 'operator')
  if (!taken.ok) throw new Error(taken.error.detail)
}
const enrol = (device: string) => call('POST', '/v1/devices', [{ device, site: 'lab', board: 'b' }])
const devices = async () =>
  (await call<{ devices: { name: string }[] }>('GET', '/v1/devices')).devices.map(({ name }) => name)
const filesOf = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort()

beforeAll(async () => {
  cloud = await start('cloud')
  await operator.lifecycle.init({
    ...{ cloudKeyFile: path('cloud/keys/online.pub.json'), rootKeys: 1, rootThreshold: 1, targetsKeys: 1 },
    rootKeyFiles: [],
  })
  publish()
  await release('kws-1')
  await enrol('before')
  const root = cloud.repository.file('1.root.json')
  if (!root.ok) throw new Error(root.error.detail)
  client = new TufClient(`${cloud.url}/v1/metadata`, root.value.content)
  expect(await client.target('kws-1/1.kinglet')).toBeDefined()
})
afterAll(async () => {
  client.close()
  await cloud.close()
  rmSync(dir, { recursive: true, force: true })
})

describe('a cloud that runs', () => {
  it('is backed up whole, for its owner alone, and only into an empty folder', async () => {
    const made = await kinglet('cloud', 'backup', path('saved'), '--data', path('cloud'))
    expect(made).toMatchObject({ code: 0 })
    expect(made.stdout).toMatch(/the database \(\d+ bytes\), 1 artifacts \(5 bytes\), keys and the operator token/)
    const artifacts = filesOf(path('cloud')).filter((name) => /^(artifacts|keys)|operator\.token/.test(name))
    expect(filesOf(path('saved'))).toEqual([...artifacts, 'backup.json', 'cloud.db'].sort())
    expect(statSync(path('saved')).mode & 0o077).toBe(0)
    for (const key of filesOf(path('saved/keys')).filter((name) => name.endsWith('.seed'))) {
      expect(statSync(path('saved/keys', key)).mode & 0o077).toBe(0)
    }
    expectRefusal(await kinglet('cloud', 'backup', path('saved'), '--data', path('cloud')), 1, /has something in it/)
    expectRefusal(await kinglet('cloud', 'backup', path('other'), '--data', path('nothing')), 1, /no folder of a cloud/)
  })

  it('goes on from it: devices take what it says, though they have seen newer; what was lost is published again', async () => {
    await release('kws-2')
    await enrol('after')
    expect(await client.target('kws-2/1.kinglet')).toBeDefined()
    const [snapshot = 0, timestamp = 0] = [client.version('snapshot'), client.version('timestamp')]
    await cloud.close()
    const restored = await kinglet('cloud', 'restore', path('saved'), '--data', path('cloud-2'))
    expect(restored).toMatchObject({ code: 0 })
    expect(restored.stdout).toMatch(/as it was \d{4}-/)
    cloud = await start('cloud-2')
    expect(await devices()).toEqual(['before'])
    const root = readFileSync(join(client.dir, 'root.json'))
    const known = client
    client = new TufClient(`${cloud.url}/v1/metadata`, root)
    for (const role of ['root', 'timestamp', 'snapshot', 'targets']) {
      cpSync(join(known.dir, `${role}.json`), join(client.dir, `${role}.json`))
    }
    known.close()
    // Of before the second release: the list of targets went back, which no client takes.
    await expect(client.target('kws-1/1.kinglet')).rejects.toThrow()
    await upload('kws-2')
    publish()
    expect(await client.target('kws-2/1.kinglet')).toBeDefined()
    expect(client.version('snapshot')).toBeGreaterThan(snapshot)
    expect(client.version('timestamp')).toBeGreaterThan(timestamp)
    const { entries } = await call<{ entries: { action: string }[] }>('GET', '/v1/audit?limit=50')
    expect(entries.map(({ action }) => action)).toContain('cloud.restored')
  })

  it('once more from the same: still ahead of what was seen', async () => {
    const seen = client.version('timestamp') ?? 0
    await cloud.close()
    rmSync(path('cloud-2'), { recursive: true })
    writeFileSync(
      path('saved/backup.json'),
      readFileSync(path('saved/backup.json'), 'utf8').replace(
        /"madeMs": (\d+)/,
        (_, ms) => `"madeMs": ${ms - 120_000}`,
      ),
    )
    restoreCloud(path('saved'), path('cloud-2'), systemClock.wallMs(), () => undefined)
    cloud = await start('cloud-2')
    await upload('kws-2')
    publish()
    const served = cloud.repository.file('timestamp.json')
    const { signed } = JSON.parse(new TextDecoder().decode(served.ok ? served.value.content : undefined))
    expect(signed.version).toBeGreaterThan(seen)
  })
})

describe('what is no backup', () => {
  const copy = (name: string) => {
    cpSync(path('saved'), path(name), { recursive: true })
    return path(name)
  }
  it.each([
    [
      'a folder without the list',
      (from: string) => rmSync(join(from, 'backup.json')),
      /no backup, or one that was interrupted/,
    ],
    [
      'a list of something else',
      (from: string) => writeFileSync(join(from, 'backup.json'), '{"v":1}'),
      /no list of a backup/,
    ],
    [
      'a database cut short',
      (from: string) => writeFileSync(join(from, 'cloud.db'), 'SQLite'),
      /not what was backed up/,
    ],
    [
      'a database with one bit turned',
      (from: string) => {
        const bytes = readFileSync(join(from, 'cloud.db'))
        bytes[5_000] = (bytes[5_000] ?? 0) ^ 1
        writeFileSync(join(from, 'cloud.db'), bytes)
      },
      /not what was backed up/,
    ],
    [
      'an artifact that is gone',
      (from: string) => rmSync(join(from, 'artifacts'), { recursive: true }),
      /lacks artifact/,
    ],
    [
      'an artifact that is another',
      (from: string) => {
        const [artifact = ''] = filesOf(join(from, 'artifacts'))
        writeFileSync(join(from, 'artifacts', artifact), 'other')
      },
      /its name is not the hash/,
    ],
  ])('is refused and leaves nothing: %s', async (what, damage, words) => {
    const from = copy(`damaged ${what}`)
    damage(from)
    expect(() => restoreCloud(from, path('made'), systemClock.wallMs(), () => undefined)).toThrow(words)
    expectRefusal(await kinglet('cloud', 'restore', from, '--data', path('made')), 1, words)
    expect(readdirSync(dir).filter((name) => name.startsWith('made'))).toEqual([])
  })

  it('is not restored over a cloud', async () => {
    mkdirSync(path('taken'))
    writeFileSync(path('taken/cloud.db'), '')
    expectRefusal(await kinglet('cloud', 'restore', path('saved'), '--data', path('taken')), 1, /has something in it/)
    expect(statSync(path('taken/cloud.db')).size).toBe(0)
  })
})
