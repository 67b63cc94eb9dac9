import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { canonicalize } from '@tufjs/canonical-json'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KeyFolder } from '../../../cli/keys/key-folder.ts'
import { secureRandom } from '../../../cli/random-secure.ts'
import { freePort } from '../../../cli/story/free-port.ts'
import { directorOf } from '../../../contract/repository-target.ts'
import { TufClient } from '../../fixtures/tuf-js-client.ts'
import { expectRefusal, kinglet, Running, zooBundle } from './cli-process.ts'

/** The life of the keys as README tells it: the command and the cloud as processes, tuf-js as the device. */
const dir = mkdtempSync(join(tmpdir(), 'kinglet-lifecycle-'))
const path = (...parts: string[]) => join(dir, ...parts)
let url = ''
let cloud: Running
const clients: TufClient[] = []

const offline = ['--keys', path('keys'), '--repo', path('repo'), '--passphrase-file', path('passphrase')]
const operator = () => ['--cloud', url, '--token-file', path('cloud/operator.token')]
const keys = (...args: string[]) => kinglet('keys', ...args, ...offline)
const publish = () => keys('publish', ...operator())
const release = (name: string) => kinglet('release', 'add', zooBundle(name), ...offline, ...operator())
async function done(ended: ReturnType<typeof kinglet>): Promise<string> {
  const { code, stdout, stderr } = await ended
  expect(code, stderr).toBe(0)
  return stdout
}
async function start(port: number): Promise<void> {
  cloud = new Running(['cloud', 'run', '--data', path('cloud'), '--port', String(port), '--public-reads'])
  await cloud.line('the cloud is up', ({ msg }) => msg === 'cloud is up')
}
function client(): TufClient {
  const made = new TufClient(`${url}/v1/metadata`, readFileSync(path('repo/metadata/1.root.json')))
  clients.push(made)
  return made
}
const keyFiles = (role: string) =>
  readdirSync(path('keys')).filter((name) => name.startsWith(`${role}-`) && name.endsWith('.key'))

beforeAll(async () => {
  writeFileSync(path('passphrase'), 'correct horse battery\n')
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  await start(port)
})
afterAll(async () => {
  await cloud.stop('SIGKILL')
  for (const made of clients) made.close()
  rmSync(dir, { recursive: true, force: true })
})

// Each command is a process, and each sealed key half a second of scrypt; a busy machine takes minutes.
describe('the life of the keys', { timeout: 300_000 }, () => {
  let sleeper: TufClient

  it('begins with the cloud´s online key, and keys init says what goes where', async () => {
    expectRefusal(await publish(), 1, /holds nothing complete to publish/)
    const served = (await (await fetch(`${url}/v1/keys`)).json()) as { online: unknown; director: unknown }
    expect(JSON.parse(readFileSync(path('cloud/keys/online.pub.json'), 'utf8'))).toEqual(served.online)
    expect(JSON.parse(readFileSync(path('cloud/keys/director.pub.json'), 'utf8'))).toEqual(served.director)
    expectRefusal(await keys('init', '--online-key', path('none')), 1, /none: there is no such file/)
    expect(existsSync(path('keys'))).toBe(false)
    const init = ['init', '--online-key', path('cloud/keys/online.pub.json'), '--root-keys', '2', '--targets-keys', '2']
    const said = await done(keys(...init))
    expect(said).toContain('complete: 1.root.json, 1.targets.json')
    expect(said).toContain('1.root.json  into every device')
    expect(keyFiles('root')).toHaveLength(2)
    for (const name of [...keyFiles('root'), ...keyFiles('targets')]) {
      expect(JSON.parse(readFileSync(path('keys', name), 'utf8'))).toMatchObject({
        secret: { kdf: 'scrypt', n: 131_072 },
      })
    }
    expectRefusal(await keys(...init), 1, /holds a repository; it is never overwritten/)
    expect(await done(publish())).toMatch(
      /^published 1\.root\.json, 1\.targets\.json; the cloud made snapshot 1, timestamp 1/,
    )
    expect(await done(publish())).toBe('the cloud has everything already\n')
    sleeper = client()
    expect(await sleeper.target('kws-1/1.kinglet')).toBeUndefined()
  })

  it('a release becomes a target that the client sees', async () => {
    expect(await done(release('kws-1'))).toContain('published 2.targets.json')
    const target = await sleeper.target('kws-1/1.kinglet')
    const bundle = readFileSync(zooBundle('kws-1'))
    expect(target).toMatchObject({
      length: bundle.length,
      custom: { kinglet: { v: 1, type: 'release', name: 'kws-1', version: 1 } },
    })
    const artifact = await fetch(`${url}/v1/artifacts/${target!.hashes.sha256}`)
    expect(Buffer.compare(Buffer.from(await artifact.arrayBuffer()), bundle)).toBe(0)
    expect(await done(release('kws-1'))).toBe(
      'the cloud has everything already\nkws-1 1 is registered as candidate in family default\n',
    )
  })

  it('files are served with what caches need, by strict names, and not taken without a token', async () => {
    const root = await fetch(`${url}/v1/metadata/1.root.json`)
    expect(root.headers.get('cache-control')).toContain('immutable')
    const etag = root.headers.get('etag')!
    expect((await fetch(`${url}/v1/metadata/1.root.json`, { headers: { 'if-none-match': etag } })).status).toBe(304)
    const timestamp = await fetch(`${url}/v1/metadata/timestamp.json`)
    expect(timestamp.headers.get('cache-control')).toBe('no-cache')
    expect((await timestamp.arrayBuffer()).byteLength).toBeLessThanOrEqual(600)
    for (const name of ['root.json', '..%2fkeys%2fonline.seed', '1.timestamp.json', '9.root.json']) {
      const answer = await fetch(`${url}/v1/metadata/${name}`)
      expect(answer.headers.get('content-type'), name).toBe('application/problem+json')
      expect([400, 404], name).toContain(answer.status)
    }
    const json = { 'content-type': 'application/json' }
    expect((await fetch(`${url}/v1/metadata`, { method: 'POST', headers: json, body: '{}' })).status).toBe(401)
    const openapi = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: object }
    expect(Object.keys(openapi.paths)).toContain('/v1/metadata')
  })

  it('the root rotates under the old and the new threshold', async () => {
    expect(await done(keys('rotate', 'root'))).toBe('complete: 2.root.json\n')
    await done(publish())
    expect(keyFiles('root')).toHaveLength(4)
    const { signatures } = JSON.parse(readFileSync(path('repo/metadata/2.root.json'), 'utf8')) as {
      signatures: unknown[]
    }
    expect(signatures).toHaveLength(4)
    expect(await done(keys('list'))).toMatch(/root: 2 of 2 keys, version 2[\s\S]*trusted by no role/)
  })

  it('a new root waits while an old key is with somebody else, who signs a copy', async () => {
    const away = keyFiles('root').filter(
      (name) => !readFileSync(path('repo/metadata/1.root.json'), 'utf8').includes(name.slice(5, 21)),
    )
    await done(kinglet('keys', 'make', 'root', '--keys', path('ada'), '--passphrase-file', path('passphrase')))
    // One of the two present root keys goes to Ada's folder.
    copyFileSync(path('keys', away[0]!), path('ada', away[0]!))
    rmSync(path('keys', away[0]!))
    rmSync(path('ada', readdirSync(path('ada')).find((name) => name.endsWith('.key') && name !== away[0])!))
    const said = await done(keys('renew', 'root'))
    expect(said).toContain('waiting: 3.root.json has 1 of 2 signatures')
    expectRefusal(await keys('rotate', 'targets'), 1, /a change waits for signatures: 3\.root\.json/)
    expect(await done(publish())).toBe('the cloud has everything already\n')
    copyFileSync(path('repo/staged/3.root.json'), path('3.root.json'))
    const ada = ['--keys', path('ada'), '--passphrase-file', path('passphrase')]
    expect(await done(kinglet('keys', 'sign', path('3.root.json'), ...ada))).toContain('root 3, expires')
    expect(await done(keys('collect', path('3.root.json')))).toContain('complete: 3.root.json')
    await done(publish())
    copyFileSync(path('ada', away[0]!), path('keys', away[0]!))
  })

  it('a targets key is revoked: what it signed is signed anew, and it signs nothing more', async () => {
    const used = (
      JSON.parse(readFileSync(path('repo/metadata/2.targets.json'), 'utf8')) as { signatures: { keyid: string }[] }
    ).signatures[0]!.keyid
    expect(await done(keys('revoke', used.slice(0, 16)))).toBe('complete: 4.root.json, 3.targets.json\n')
    await done(publish())
    expect(readFileSync(path('repo/metadata/3.targets.json'), 'utf8')).not.toContain(used)
    expectRefusal(await keys('revoke', used.slice(0, 16)), 1, /no role trusts a key/)
    // Who has the stolen key, and even the operator's token, cannot publish with it.
    const folder = new KeyFolder(path('keys'), { read: async () => 'correct horse battery' }, secureRandom)
    const { signed } = JSON.parse(readFileSync(path('repo/metadata/3.targets.json'), 'utf8')) as { signed: object }
    const next = { ...signed, version: 4, targets: {} }
    const sig = await (await folder.signer(used))!.sign(new TextEncoder().encode(canonicalize(next)))
    const content = canonicalize({ signatures: [{ keyid: used, sig }], signed: next })
    const token = readFileSync(path('cloud/operator.token'), 'utf8').trim()
    const answer = await fetch(`${url}/v1/metadata`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ files: [{ file: '4.targets.json', content }] }),
    })
    expect(await answer.json()).toMatchObject({ code: 'bad-signature', status: 422 })
  })

  it('a family gets a key of its own, and the online key is rotated', async () => {
    expect(await done(keys('delegate', 'kws', 'kws-*/*'))).toContain('1.kws.json')
    expect(await done(release('kws-2'))).toMatch(/published .*2\.kws\.json/)
    const before = readFileSync(path('cloud/keys/online.pub.json'), 'utf8')
    expect(await done(keys('online', ...operator()))).toBe('complete: 5.root.json\n')
    await done(publish())
    expect(readFileSync(path('cloud/keys/online.pub.json'), 'utf8')).not.toBe(before)
  })

  it('the director is rotated: the root names the next key, and the cloud takes it when that is published', async () => {
    const served = async () =>
      ((await (await fetch(`${url}/v1/keys`)).json()) as { director: { keyId: string } }).director.keyId
    const former = await served()
    expect(await done(keys('list'))).toMatch(
      new RegExp(`director, the cloud´s: 1 of 1 keys\\n {2}${former} {2}elsewhere`),
    )
    expectRefusal(await keys('rotate', 'director'), 1, /the key of director is the cloud's/)
    expectRefusal(await keys('revoke', former.slice(0, 16)), 1, /is the cloud's director key/)
    expectRefusal(await keys('director', path('cloud/keys/director.pub.json')), 1, /as director already/)
    expectRefusal(await keys('director', path('cloud/keys/online.pub.json')), 1, /keyId is not the key/)
    expect(await done(keys('director', ...operator()))).toBe('complete: 6.root.json\n')
    expect(await served()).toBe(former)
    await done(publish())
    expect(await served()).not.toBe(former)
    expect(directorOf(readFileSync(path('repo/metadata/6.root.json'))).keys.map(({ keyId }) => keyId)).toEqual([
      await served(),
    ])
  })

  it('a client that slept through all of it, and one that is new, see every release', async () => {
    expect(sleeper.version('root')).toBe(1)
    for (const device of [sleeper, client()]) {
      expect(await device.target('kws-1/1.kinglet')).toBeDefined()
      expect(await device.target('kws-2/2.kinglet')).toMatchObject({ custom: { kinglet: { name: 'kws-2' } } })
      expect(device.version('root')).toBe(6)
    }
  })

  it('a cloud that was killed goes on with higher versions', async () => {
    const version = async () =>
      ((await (await fetch(`${url}/v1/metadata`)).json()) as { versions: { timestamp: number } }).versions.timestamp
    const before = await version()
    await cloud.stop('SIGKILL')
    await start(Number(new URL(url).port))
    expect(await version()).toBeGreaterThanOrEqual(before)
    await done(keys('renew', 'targets'))
    await done(publish())
    expect(await version()).toBe(before + 1)
    expect(await sleeper.target('kws-2/2.kinglet')).toBeDefined()
  })

  it('every wrong use says its cause and the way out, in one line each', async () => {
    const wrong = path('wrong-passphrase')
    writeFileSync(wrong, 'incorrect horse\n', { mode: 0o600 })
    const kept = readdirSync(path('keys')).sort()
    expectRefusal(
      await kinglet(
        'keys',
        'rotate',
        'targets',
        '--keys',
        path('keys'),
        '--repo',
        path('repo'),
        '--passphrase-file',
        wrong,
      ),
      1,
      /wrong passphrase, or the file was changed/,
    )
    expectRefusal(
      await kinglet('keys', 'rotate', 'targets', '--keys', path('keys'), '--repo', path('repo')),
      1,
      /no passphrase was given/,
    )
    expectRefusal(await keys('rotate', 'timestamp'), 1, /the key of timestamp is the cloud's/)
    expectRefusal(await keys('rotate', 'nobody'), 2, /there is no role "nobody"/)
    expectRefusal(await keys('revoke', 'xyz'), 2, /is no key id/)
    expectRefusal(await keys('make', 'timestamp'), 2, /is no offline role/)
    expectRefusal(await keys('make', 'root', '--signer', 'pkcs11'), 2, /is no signer/)
    expectRefusal(await keys('make', 'root', '--signer', 'exec:/no/such/hsm'), 1, /there is no such command/)
    expectRefusal(await keys('sign'), 1, /nothing waits for signatures/)
    expectRefusal(await keys('sign', path('passphrase')), 1, /is no root or targets file/)
    expectRefusal(await keys('online'), 2, /which key/)
    expectRefusal(await keys('director'), 2, /which key/)
    expectRefusal(
      await kinglet('keys', 'list', '--keys', path('x'), '--repo', path('y')),
      1,
      /no repository in that folder/,
    )
    expectRefusal(
      await kinglet('release', 'add', zooBundle('kws-1'), '--repo', path('y'), ...operator()),
      1,
      /no repository in that folder/,
    )
    expect(readdirSync(path('keys')).sort()).toEqual(kept)
  })
})
