import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalize } from '@tufjs/canonical-json'
import nacl from 'tweetnacl'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Assigner } from '../../../../cloud/rollout/assigner.ts'
import { findRelease } from '../../../../cloud/trust/release-search.ts'
import { bytesToHex, sha256Hex } from '../../../../contract/bytes.ts'
import { LIMITS } from '../../../../contract/limits.ts'
import { type Release, verifyAssignment } from '../../../../contract/release.ts'
import { DIRECTOR_FIELD, directorOf } from '../../../../contract/repository-target.ts'
import { publicKeyOf, type Signed } from '../../../../contract/signed.ts'
import { tufKeyId } from '../../../../release/tuf-document.ts'
import { ImageWorld } from '../../../fixtures/image-world.ts'
import { HOUR } from '../../../fixtures/synthetic-fleet.ts'

const DAY = 24 * HOUR
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(canonicalize(value))
type Json = Record<string, unknown>

let world: ImageWorld
beforeEach(async () => {
  world = await new ImageWorld().serve()
})
afterEach(() => world.close())

/** Signs any content with any seed, as an attacker would. */
function signedBy(signed: Json, ...seeds: Uint8Array[]): Uint8Array {
  const signatures = seeds.map((seed) => {
    const { secretKey, publicKey } = nacl.sign.keyPair.fromSeed(seed)
    const sig = bytesToHex(nacl.sign.detached(encode(signed), secretKey))
    return { keyid: tufKeyId(bytesToHex(publicKey)), sig }
  })
  return encode({ signatures, signed })
}
const onlineSeed = (): Uint8Array => Buffer.from(readFileSync(join(world.dir, 'online.seed'), 'utf8').trim(), 'hex')
const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`

describe('what the cloud makes', () => {
  it('is a chain that tuf-js follows from the first root to the target', async () => {
    const { lifecycle, repository } = await world.init()
    const release = await world.release('kws-1', 1)
    await lifecycle.addRelease(release)
    world.publish(repository)
    const target = await world.client().target('kws-1/1.kinglet')
    expect(target).toMatchObject({
      length: release.bytes,
      hashes: { sha256: release.sha256 },
      custom: { kinglet: release },
    })
    expect(await world.client().target('kws-1/2.kinglet')).toBeUndefined()
  })

  it('is canonical, says when it was made, and a timestamp has at most 600 bytes', async () => {
    await world.init()
    const bytes = world.file('timestamp.json')
    expect(bytes.length).toBeLessThanOrEqual(600)
    expect(new TextDecoder().decode(bytes)).toBe(canonicalize(world.json('timestamp.json')))
    const { signed } = world.json('timestamp.json')
    expect(signed).toEqual({
      _type: 'timestamp',
      spec_version: '1.0.31',
      version: 1,
      expires: time(world.clock.wallMs() + DAY),
      meta: { 'snapshot.json': { version: 1, length: world.file('1.snapshot.json').length } },
      'x-kinglet-issued': world.clock.wallMs(),
    })
    // The largest numbers that the fields hold still fit.
    const growth = 2 * String(LIMITS.metadataVersion).length + String(LIMITS.metadataFileBytes).length + 3
    expect(bytes.length + growth).toBeLessThanOrEqual(600)
    expect(world.json('1.snapshot.json').signed.meta).toEqual({
      'targets.json': {
        version: 1,
        length: world.file('1.targets.json').length,
        hashes: { sha256: sha256Hex(world.file('1.targets.json')) },
      },
    })
  })

  it('is renewed at half of its life on the injected clock, and never expires while the cloud is up', async () => {
    await world.init()
    const start = world.clock.wallMs()
    const versions = () => [world.repository.versions().timestamp, world.repository.versions().snapshot]
    world.clock.advanceTo(start + 12 * HOUR - 1_000)
    expect(versions()).toEqual([1, 1])
    world.clock.advanceTo(start + 12 * HOUR + 1_000)
    expect(versions()).toEqual([2, 1])
    for (let hour = 13; hour <= 24 * 30; hour++) {
      world.clock.advanceTo(start + hour * HOUR)
      const [timestamp, snapshot] = [world.json('timestamp.json'), world.json(`${versions()[1]}.snapshot.json`)]
      expect(Date.parse(timestamp.signed.expires as string) - world.clock.wallMs()).toBeGreaterThan(11 * HOUR)
      expect(Date.parse(snapshot.signed.expires as string) - world.clock.wallMs()).toBeGreaterThan(3 * DAY)
    }
    // 30 days: a timestamp each half day, a snapshot each half week.
    expect(versions()[0]).toBeGreaterThanOrEqual(60)
    expect(versions()[0]).toBeLessThanOrEqual(72)
    expect(versions()[1]).toBeLessThanOrEqual(10)
  })

  it('has versions that no restart reuses or lowers, also when the clock falls back by years', async () => {
    await world.init()
    const start = world.clock.wallMs()
    let last = 0
    for (const hours of [13, 26, 27, 40]) {
      world.clock.advanceTo(start + hours * HOUR)
      world.boot()
      const { version } = world.json('timestamp.json').signed as { version: number }
      expect(version).toBeGreaterThanOrEqual(last)
      expect(version).toBe(world.repository.versions().timestamp)
      last = version
    }
    world.clock.advanceTo(start - 3 * 365 * DAY)
    world.boot()
    const { version, expires } = world.json('timestamp.json').signed as { version: number; expires: string }
    expect(version).toBe(last + 1)
    expect(expires).toBe(time(world.clock.wallMs() + DAY))
    last = version
    const { metadata } = world.store
    const content = new Uint8Array(1)
    for (const version of [last, last - 1]) {
      expect(() => metadata.add({ role: 'timestamp', version, content }, 0)).toThrow(/never reused or lowered/)
    }
    expect(metadata.version('timestamp')).toBe(last)
  })

  it('keeps superseded files for devices in mid-cycle, within a bound, and every root', async () => {
    const { lifecycle, repository } = await world.init()
    for (let i = 0; i < 40; i++) {
      await lifecycle.renew(['targets'])
      world.publish(repository)
    }
    const stored = (role: string) =>
      Array.from({ length: 50 }, (_, i) => i).filter((i) => world.repository.file(`${i}.${role}.json`).ok)
    expect(stored('targets')).toHaveLength(32)
    expect(stored('snapshot')).toHaveLength(32)
    await lifecycle.renew(['root'])
    world.publish(repository)
    expect(stored('root')).toEqual([1, 2])
  })
})

describe('what the cloud takes', () => {
  const refused = (file: string, content: Uint8Array) => {
    const before = world.repository.versions()
    const taken = world.repository.publish([{ file, content }], 'operator')
    if (taken.ok) return 'taken'
    expect(world.repository.versions()).toEqual(before)
    return taken.error.code
  }

  it('is signed by the keys of its root, one version up, canonical, and in date', async () => {
    await world.init()
    const { signed, signatures } = world.json('1.targets.json')
    const stranger = new Uint8Array(32).fill(3)
    const next = { ...signed, version: 2 }
    expect(refused('2.targets.json', signedBy(next, stranger))).toBe('bad-signature')
    expect(refused('2.targets.json', encode({ signatures: [], signed: next }))).toBe('bad-signature')
    expect(refused('2.targets.json', encode({ signatures, signed: next }))).toBe('bad-signature')
    expect(refused('3.targets.json', encode({ signatures, signed: { ...signed, version: 3 } }))).toBe('conflict')
    expect(refused('2.targets.json', encode({ signatures, signed }))).toBe('conflict')
    expect(
      refused('2.targets.json', new TextEncoder().encode(JSON.stringify({ signatures, signed: next }, null, 1))),
    ).toBe('malformed')
    expect(refused('2.targets.json', encode({ signatures: [...signatures, ...signatures], signed: next }))).toBe(
      'malformed',
    )
    expect(refused('2.targets.json', new Uint8Array(LIMITS.metadataFileBytes + 1))).toBe('too-large')
    expect(refused('2.targets.json', encode(null))).toBe('malformed')
    expect(refused('2.targets.json', encode({ signatures, signed: { ...next, extra: 1 } }))).toBe('malformed')
    expect(refused('2.snapshot.json', world.file('1.snapshot.json'))).toBe('invalid-request')
    expect(refused('timestamp.json', world.file('timestamp.json'))).toBe('invalid-request')
    expect(refused('../2.targets.json', world.file('1.targets.json'))).toBe('invalid-request')
    expect(refused('1.kws.json', world.file('1.targets.json'))).toBe('bad-signature')
  })

  it('the same again is no error and makes nothing', async () => {
    const { repository } = await world.init()
    const before = world.repository.versions()
    world.take(repository.uploadsFor({}))
    expect(world.repository.versions()).toEqual(before)
  })

  it('names releases whose bundles are there', async () => {
    const { lifecycle, repository } = await world.init()
    const release = await world.release('kws-1', 1)
    await lifecycle.addRelease({ ...release, sha256: 'ab'.repeat(32) })
    expect(() => world.publish(repository)).toThrow(/artifact-not-found/)
    await lifecycle.addRelease({ ...release, version: 2, bytes: release.bytes + 1 })
    await world.artifacts.put(release.sha256, new TextEncoder().encode('kws-1 1'))
    expect(() => world.publish(repository)).toThrow(/artifact-not-found|size-mismatch/)
  })

  it('a root that takes snapshot and timestamp away from this cloud is refused, or no device could update', async () => {
    const { lifecycle, repository } = await world.init()
    const stranger = join(world.dir, 'keys', 'stranger.json')
    writeFileSync(stranger, JSON.stringify({ publicKey: 'ab'.repeat(32) }))
    await lifecycle.online(stranger)
    expect(() => world.publish(repository)).toThrow(/conflict: root 2 must give snapshot and timestamp to this cloud/)
  })

  it('a root that names another director than this cloud, or none, or one more, is refused: nobody could direct', async () => {
    const { lifecycle, repository, folder } = await world.init()
    const stranger = publicKeyOf(nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(5)).publicKey)
    const file = join(world.dir, 'stranger.json')
    writeFileSync(file, JSON.stringify(stranger))
    await lifecycle.director(file)
    expect(() => world.publish(repository)).toThrow(
      /conflict: root 2 must name this cloud's director, [0-9a-f]{64}, and/,
    )
    const { [DIRECTOR_FIELD]: director, ...rest } = world.json('1.root.json').signed as Json & {
      [DIRECTOR_FIELD]: { keys: unknown[]; threshold: number }
    }
    const signed = async (content: Json) => {
      const keys = folder.list().filter(({ role }) => role === 'root')
      const signatures = await Promise.all(
        keys.map(async ({ keyId }) => ({
          keyid: keyId,
          sig: await (await folder.signer(keyId))!.sign(encode(content)),
        })),
      )
      return encode({ signatures: signatures.sort((a, b) => (a.keyid < b.keyid ? -1 : 1)), signed: content })
    }
    const next = { ...rest, version: 2 }
    expect(refused('2.root.json', await signed(next))).toBe('conflict')
    const more = { keys: [...director.keys, stranger], threshold: 1 }
    expect(refused('2.root.json', await signed({ ...next, [DIRECTOR_FIELD]: more }))).toBe('conflict')
    for (const bad of [
      { ...director, extra: 1 },
      { ...director, threshold: 2 },
      { ...director, keys: [...director.keys, ...director.keys] },
      { ...director, keys: [{ ...stranger, keyId: 'a'.repeat(64) }] },
      { keys: [], threshold: 1 },
      null,
    ]) {
      expect(refused('2.root.json', await signed({ ...next, [DIRECTOR_FIELD]: bad }))).toBe('malformed')
    }
    expect(refused('2.root.json', await signed({ ...next, [DIRECTOR_FIELD]: director }))).toBe('taken')
  })

  it('is all of an upload or nothing', async () => {
    const { lifecycle, repository } = await world.init()
    await lifecycle.rotate(['targets'])
    const [root, targets] = repository.uploadsFor(world.repository.versions())
    expect([root!.file, targets!.file]).toEqual(['2.root.json', '2.targets.json'])
    // Alone the root would leave targets that nobody may have signed.
    expect(() => world.take([root!])).toThrow(/bad-signature/)
    expect(() => world.take([targets!])).toThrow(/bad-signature/)
    expect(world.repository.versions()).toMatchObject({ root: 1, targets: 1, timestamp: 1 })
    world.take([root!, targets!])
    expect(world.repository.versions()).toMatchObject({ root: 2, targets: 2, snapshot: 2, timestamp: 2 })
    expect(world.store.audit.list(4).map(({ action, subject }) => `${action} ${subject}`)).toContain(
      'metadata.published 2.root',
    )
  })
})

describe('a release that the cloud looks up', () => {
  it('is what a client finds: targets first, then the matching family, nobody after it', async () => {
    const { lifecycle, repository } = await world.init()
    await lifecycle.addRelease(await world.release('kws-1', 1))
    await lifecycle.delegate('kws', ['kws-*/*'])
    await lifecycle.delegate('any', ['*/*'])
    await lifecycle.addRelease(await world.release('kws-2', 2))
    await lifecycle.addRelease(await world.release('door-1', 1))
    world.publish(repository)
    const found = (name: string, version: number): Release | string => {
      const release = world.repository.release(name, version)
      return release.ok ? release.value.release : release.error.code
    }
    const names: [string, number][] = [
      ['kws-1', 1],
      ['kws-2', 2],
      ['door-1', 1],
      ['kws-2', 3],
      ['door-2', 1],
      ['__proto__', 1],
    ]
    const client = world.client()
    for (const [name, version] of names) {
      const target = await client.target(`${name}/${version}.kinglet`)
      expect(found(name, version), name).toEqual(target?.custom.kinglet ?? 'target-unknown')
    }
    expect(found('kws-2', 2)).toMatchObject({ name: 'kws-2', version: 2 })
    // A family that targets no longer name is asked by nobody, though its files are there still.
    const state = repository.state()
    const targets = new Map(state.targets)
    const top = targets.get('targets')!
    targets.set('targets', { ...top, content: { ...top.content, delegations: { keys: {}, roles: [] } } })
    expect(findRelease(state.targets, 'kws-2', 2)).toBeDefined()
    expect(findRelease(targets, 'kws-2', 2)).toBeUndefined()
    // The first family that matches ends the search.
    const roles = top.content.delegations!.roles
    expect(roles.map(({ name }) => name)).toEqual(['kws', 'any'])
    const swapped = { ...top.content, delegations: { ...top.content.delegations!, roles: [...roles].reverse() } }
    targets.set('targets', { ...top, content: swapped })
    expect(findRelease(targets, 'kws-2', 2)).toBeUndefined()
  })
})

describe('attacks', () => {
  it('a cloud whose online key is stolen cannot add, change or take back a target', async () => {
    const { lifecycle, repository } = await world.init()
    await lifecycle.addRelease(await world.release('kws-1', 1))
    world.publish(repository)
    const victim = world.client()
    expect(await victim.target('kws-1/1.kinglet')).toBeDefined()
    // Everything the cloud has: its key, its files, its address.
    const evil = await world.release('kws-1', 2, 'evil')
    const { signed } = world.json('2.targets.json')
    const target = { length: evil.bytes, hashes: { sha256: evil.sha256 }, custom: { kinglet: evil } }
    const forged = { ...signed, version: 3, targets: { ...(signed.targets as Json), 'kws-1/2.kinglet': target } }
    const seed = onlineSeed()
    let online = 90
    const publishForged = (version: number, file: Uint8Array): void => {
      online++
      const expires = time(world.clock.wallMs() + DAY)
      const common = { spec_version: '1.0.31', expires }
      const meta = { 'targets.json': { version, length: file.length, hashes: { sha256: sha256Hex(file) } } }
      world.forged.set(`${version}.targets.json`, file)
      world.forged.set(
        `${online}.snapshot.json`,
        signedBy({ ...common, _type: 'snapshot', version: online, meta }, seed),
      )
      const timestamp = {
        ...common,
        _type: 'timestamp',
        version: online,
        meta: { 'snapshot.json': { version: online } },
      }
      world.forged.set('timestamp.json', signedBy(timestamp, seed))
    }
    publishForged(3, signedBy(forged, seed))
    await expect(victim.target('kws-1/2.kinglet')).rejects.toThrow(/targets was signed by 0\/1 keys/)
    await expect(world.client().target('kws-1/2.kinglet')).rejects.toThrow(/targets was signed by 0\/1 keys/)
    expect(world.repository.publish([{ file: '3.targets.json', content: signedBy(forged, seed) }], 'x')).toMatchObject({
      ok: false,
      error: { code: 'bad-signature' },
    })
    // A root that would give it the right: refused by clients and by an honest cloud.
    const root = world.json('1.root.json').signed as Json & { roles: Json }
    const mine = { keyids: [world.repository.online.current.publicKey.keyId], threshold: 1 }
    const usurped = signedBy({ ...root, version: 2, roles: { ...root.roles, root: mine, targets: mine } }, seed)
    world.forged.set('2.root.json', usurped)
    await expect(victim.target('kws-1/2.kinglet')).rejects.toThrow(/root was signed by 0\/2 keys/)
    expect(world.repository.publish([{ file: '2.root.json', content: usurped }], 'x').ok).toBe(false)
    // And older targets, well signed as they are, are a rollback that clients see.
    world.forged.delete('2.root.json')
    publishForged(1, world.file('1.targets.json'))
    await expect(victim.target('kws-1/1.kinglet')).rejects.toThrow(/targets\.json is less than current version/)
  })

  it('one of two root keys makes no root', async () => {
    const { folder } = await world.init()
    const { signed } = world.json('1.root.json')
    const [key] = folder.list().filter(({ role }) => role === 'root')
    const next = { ...signed, version: 2 }
    const sig = await (await folder.signer(key!.keyId))!.sign(encode(next))
    const content = encode({ signatures: [{ keyid: key!.keyId, sig }], signed: next })
    expect(world.repository.publish([{ file: '2.root.json', content }], 'x')).toMatchObject({
      ok: false,
      error: { code: 'bad-signature', detail: expect.stringContaining('1 of 2') as string },
    })
    world.forged.set('2.root.json', content)
    await expect(world.client().target('x/1.kinglet')).rejects.toThrow(/root was signed by 1\/2 keys/)
  })

  it('a root needs the keys before it and its own, both', async () => {
    const { folder } = await world.init()
    const { signed } = world.json('1.root.json')
    const [keys, roles] = [signed.keys as Json, signed.roles as Json]
    const mine = new Uint8Array(32).fill(9)
    const publicKey = bytesToHex(nacl.sign.keyPair.fromSeed(mine).publicKey)
    const key = { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: publicKey } }
    const root = { keyids: [tufKeyId(publicKey)], threshold: 1 }
    const next = { ...signed, version: 2, keys: { ...keys, [tufKeyId(publicKey)]: key }, roles: { ...roles, root } }
    const byItself = signedBy(next, mine)
    const former = []
    for (const { keyId, role } of folder.list()) {
      if (role !== 'root') continue
      former.push({ keyid: keyId, sig: await (await folder.signer(keyId))!.sign(encode(next)) })
    }
    const publish = (content: Uint8Array) => {
      const taken = world.repository.publish([{ file: '2.root.json', content }], 'x')
      return taken.ok ? 'taken' : taken.error.detail
    }
    expect(publish(byItself)).toMatch(/root 2 has 0 of 2 signatures that root 1 asks for/)
    expect(publish(encode({ signatures: former, signed: next }))).toMatch(/root 2 has 0 of 1 signatures that root 2/)
  })

  it('a stolen targets key alone changes nothing, even behind a malicious mirror', async () => {
    const { lifecycle, repository, folder } = await world.init()
    await lifecycle.addRelease(await world.release('kws-1', 1))
    world.publish(repository)
    const stolen = folder.list().find(({ role }) => role === 'targets')!
    const evil = await world.release('kws-1', 2, 'evil')
    const target = { length: evil.bytes, hashes: { sha256: evil.sha256 }, custom: { kinglet: evil } }
    const signed = { ...world.json('2.targets.json').signed, targets: { 'kws-1/2.kinglet': target } }
    const sig = await (await folder.signer(stolen.keyId))!.sign(encode(signed))
    // Same version, well signed, another content: only the hash in the snapshot tells.
    world.forged.set('2.targets.json', encode({ signatures: [{ keyid: stolen.keyId, sig }], signed }))
    await expect(world.client().target('kws-1/2.kinglet')).rejects.toThrow(/Expected (hash|length)/)
  })

  it('a key that stands in the root twice counts once: key ids are hashes', async () => {
    await world.init()
    const { signed } = world.json('1.root.json')
    const keys = signed.keys as Json
    const [id] = Object.keys(keys)
    const content = encode({
      signatures: [],
      signed: { ...signed, version: 2, keys: { ...keys, ['0'.repeat(64)]: keys[id!] } },
    })
    expect(world.repository.publish([{ file: '2.root.json', content }], 'x')).toMatchObject({
      ok: false,
      error: { code: 'malformed', detail: expect.stringContaining('key id is wrong') as string },
    })
  })

  it('a timestamp fast-forwarded with a stolen online key is left behind by rotating it', async () => {
    const { lifecycle, repository } = await world.init()
    const victim = world.client()
    const seed = onlineSeed()
    const common = { spec_version: '1.0.31', expires: time(world.clock.wallMs() + DAY) }
    const most = Number.MAX_SAFE_INTEGER
    const meta = { 'targets.json': { version: 1 } }
    world.forged.set(`${most}.snapshot.json`, signedBy({ ...common, _type: 'snapshot', version: most, meta }, seed))
    const timestamp = { ...common, _type: 'timestamp', version: most, meta: { 'snapshot.json': { version: most } } }
    world.forged.set('timestamp.json', signedBy(timestamp, seed))
    await victim.target('x/1.kinglet')
    expect(victim.version('timestamp')).toBe(most)
    world.forged.clear()
    await expect(victim.target('x/1.kinglet')).rejects.toThrow(/less than current version/)

    const { publicKey } = world.repository.online.makeNext()
    const next = join(world.dir, 'next.json')
    writeFileSync(next, JSON.stringify(publicKey))
    await lifecycle.online(next)
    world.publish(repository)
    expect(world.repository.online.current.publicKey).toEqual(publicKey)
    expect(existsSync(join(world.dir, 'online-next.seed'))).toBe(false)
    await victim.target('x/1.kinglet')
    expect(victim.version('timestamp')).toBe(2)
    // The stolen key is worth nothing now.
    world.forged.set('timestamp.json', signedBy({ ...timestamp, version: 50 }, seed))
    await expect(victim.target('x/1.kinglet')).rejects.toThrow(/timestamp was signed by 0\/1 keys/)
  })
})

describe('the life of the keys', () => {
  it('a client that slept through three rotations follows every step', async () => {
    const { lifecycle, repository } = await world.init()
    await lifecycle.addRelease(await world.release('kws-1', 1))
    world.publish(repository)
    const sleeper = world.client()
    await sleeper.target('kws-1/1.kinglet')
    await lifecycle.rotate(['root'])
    world.publish(repository)
    await lifecycle.rotate(['root', 'targets'])
    await lifecycle.addRelease(await world.release('kws-1', 2))
    world.publish(repository)
    world.repository.online.makeNext()
    const next = join(world.dir, 'next.json')
    writeFileSync(next, JSON.stringify(world.repository.online.next!.publicKey))
    await lifecycle.online(next)
    await lifecycle.rotate(['root', 'targets'])
    world.publish(repository)
    expect(world.repository.versions()).toMatchObject({ root: 5, targets: 5 })
    expect(await sleeper.target('kws-1/2.kinglet')).toBeDefined()
    expect(sleeper.version('root')).toBe(5)
    expect(await world.client().target('kws-1/2.kinglet')).toBeDefined()
  })

  it('a revoked targets key signs nothing any more, and what it signed was signed anew', async () => {
    const { lifecycle, repository, folder } = await world.init({ targetsKeys: 2 })
    await lifecycle.addRelease(await world.release('kws-1', 1))
    world.publish(repository)
    const used = world.json('2.targets.json').signatures[0]!.keyid
    await lifecycle.revoke(used.slice(0, 12), undefined)
    world.publish(repository)
    expect(world.json('3.targets.json').signatures.map(({ keyid }) => keyid)).not.toContain(used)
    expect(await world.client().target('kws-1/1.kinglet')).toBeDefined()
    const signed = { ...world.json('3.targets.json').signed, version: 4 }
    const sig = await (await folder.signer(used))!.sign(encode(signed))
    const content = encode({ signatures: [{ keyid: used, sig }], signed })
    expect(world.repository.publish([{ file: '4.targets.json', content }], 'x')).toMatchObject({
      ok: false,
      error: { code: 'bad-signature' },
    })
    await expect(lifecycle.revoke(world.json('3.targets.json').signatures[0]!.keyid, undefined)).rejects.toThrow(
      /fewer keys than its threshold\n {2}"kinglet keys rotate targets"/,
    )
  })

  it('a family signs its own releases and no others', async () => {
    const { lifecycle, repository, folder } = await world.init()
    await lifecycle.delegate('kws', ['kws-*/*'])
    expect(await lifecycle.addRelease(await world.release('kws-1', 1))).toBe('kws')
    expect(await lifecycle.addRelease(await world.release('door-1', 1))).toBe('targets')
    world.publish(repository)
    const client = world.client()
    expect(await client.target('kws-1/1.kinglet')).toBeDefined()
    expect(await client.target('door-1/1.kinglet')).toBeDefined()
    const key = folder.list().find(({ role }) => role === 'kws')!
    const evil = await world.release('door-2', 1)
    const target = { length: evil.bytes, hashes: { sha256: evil.sha256 }, custom: { kinglet: evil } }
    const { kws } = world.repository.versions()
    const signed = {
      ...world.json(`${kws}.kws.json`).signed,
      version: kws! + 1,
      targets: { 'door-2/1.kinglet': target },
    }
    const sig = await (await folder.signer(key.keyId))!.sign(encode(signed))
    const content = encode({ signatures: [{ keyid: key.keyId, sig }], signed })
    expect(world.repository.publish([{ file: `${kws! + 1}.kws.json`, content }], 'x')).toMatchObject({
      ok: false,
      error: { code: 'contradicts-release' },
    })
    // Devices follow one delegation: what a family hands on would be found by nobody.
    const { delegations } = world.json(`${world.repository.versions().targets}.targets.json`).signed
    const further = { ...signed, targets: {}, delegations }
    const furtherSig = await (await folder.signer(key.keyId))!.sign(encode(further))
    const handedOn = encode({ signatures: [{ keyid: key.keyId, sig: furtherSig }], signed: further })
    expect(world.repository.publish([{ file: `${kws! + 1}.kws.json`, content: handedOn }], 'x')).toMatchObject({
      ok: false,
      error: {
        code: 'malformed',
        detail: `${kws! + 1}.kws.json: kws delegates further; devices follow one delegation`,
      },
    })
    await lifecycle.rotate(['kws'])
    await lifecycle.addRelease(await world.release('kws-2', 2))
    world.publish(repository)
    expect(await client.target('kws-2/2.kinglet')).toBeDefined()
    await expect(lifecycle.delegate('kws', ['x/*'])).rejects.toThrow(/delegate to kws already/)
  })

  it('threshold signers sit at different machines', async () => {
    const away = world.operator('keys-of-ada', 'nowhere')
    await away.lifecycle.make('root', 1, undefined)
    const [ada] = away.folder.list()
    const { lifecycle, repository, ceremony } = world.operator()
    await lifecycle.init({
      ...{ cloudKeyFile: world.onlineKeyFile, rootKeys: 1, rootThreshold: 2, targetsKeys: 1 },
      rootKeyFiles: [ada!.path.replace('.key', '.pub.json')],
    })
    expect(repository.history()).toEqual([])
    expect(world.said.join('\n')).toContain(`waiting: 1.root.json has 1 of 2 signatures`)
    await expect(lifecycle.rotate(['targets'])).rejects.toThrow(/no repository/)
    const copy = join(world.dir, '1.root.json')
    copyFileSync(join(repository.path, 'staged/1.root.json'), copy)
    await away.ceremony.sign([copy])
    await ceremony.collect([copy])
    expect(repository.history()).toEqual(['1.root.json', '1.targets.json'])
    world.publish(repository)
    await lifecycle.renew(['root'])
    await expect(lifecycle.renew(['root'])).rejects.toThrow(/waits for signatures.*\n {2}finish it with/)
    // A signature for another content is none for this.
    await expect(ceremony.collect([join(repository.path, 'staged', '2.root.json')])).resolves.toBeUndefined()
    expect(repository.history()).toHaveLength(2)
    repository.discard()
    await lifecycle.renew(['targets'])
    expect(repository.history().at(-1)).toBe('2.targets.json')
  })

  it('a cloud that is lost is filled again from the operator´s folder, under its new keys', async () => {
    const { lifecycle, repository } = await world.init()
    await lifecycle.addRelease(await world.release('kws-1', 1))
    await lifecycle.rotate(['root', 'targets'])
    world.publish(repository)
    const client = world.client()
    const first = world.file('1.root.json')
    world.clock.advanceTo(world.clock.wallMs())
    await client.target('kws-1/1.kinglet')
    world.rebuild()
    expect(() => world.publish(repository)).toThrow(/conflict: root 2 must give/)
    await lifecycle.online(world.onlineKeyFile)
    expect(() => world.publish(repository)).toThrow(/conflict: root 3 must name this cloud's director/)
    await lifecycle.director(world.directorKeyFile)
    world.publish(repository)
    expect(await client.target('kws-1/1.kinglet')).toBeDefined()
    expect(await world.client(first).target('kws-1/1.kinglet')).toBeDefined()
  })

  it('an older copy of the operator´s folder does not publish', async () => {
    const { repository } = await world.init()
    expect(() => repository.uploadsFor({ root: 2, targets: 1 })).toThrow(
      /the cloud has root 2, .* has 1\n {2}this folder is an older copy/,
    )
  })

  it('a release is never changed', async () => {
    const { lifecycle } = await world.init()
    const release = await world.release('kws-1', 1)
    await lifecycle.addRelease(release)
    await lifecycle.addRelease({ ...release })
    await expect(lifecycle.addRelease({ ...release, securityCounter: 9 })).rejects.toThrow(
      /released with other content/,
    )
  })

  it('the director is rotated by a root: the cloud signs everything anew, and a device that knows the root refuses the former', async () => {
    const { lifecycle, repository } = await world.init()
    const { store } = world
    const release = await world.release('kws-1', 1)
    await lifecycle.addRelease(release)
    world.publish(repository)
    store.models.putArtifact(release.sha256, release.bytes, 0)
    const record = store.models.add(release, null, 0)
    for (let i = 0; i < 3; i++) {
      const device = store.devices.enrol({ name: `d-${i}`, site: 's', board: 'b', tags: [] }, 0)
      if (i < 2) store.devices.retarget(device.id, { release: record.id, rollout: null, stage: 0, arm: 'none' })
    }
    const assigner = () => new Assigner(world.store, world.repository.directors, world.clock, 30 * DAY)
    expect(assigner().signSlice().signed).toBe(2)
    const newest = () =>
      world.store.assignments.after(0, 10).map(({ document }) => JSON.parse(document) as Signed<unknown>)
    const judge = (document: Signed<unknown>, root: Uint8Array, device = 'd-0') => {
      const context = { site: 's', board: 'b', lastSeq: 0, nowMs: world.clock.wallMs() }
      const verified = verifyAssignment(document, { ...context, device, director: directorOf(root) })
      return verified.ok ? 'accepted' : verified.error.code
    }
    const [former] = newest()
    expect(judge(former!, world.file('1.root.json'))).toBe('accepted')

    const { publicKey } = world.repository.directors.makeNext()
    // Made is not in use: no device would follow it yet.
    expect(world.repository.directors.current.publicKey).not.toEqual(publicKey)
    const next = join(world.dir, 'next-director.json')
    writeFileSync(next, JSON.stringify(publicKey))
    const files = ['director.seed', 'director-next.seed'].map(
      (name) => [name, readFileSync(join(world.dir, name))] as const,
    )
    await lifecycle.director(next)
    await expect(lifecycle.director(next)).rejects.toThrow(/as director already/)
    world.publish(repository)
    expect(world.repository.directors.current.publicKey).toEqual(publicKey)
    expect(existsSync(join(world.dir, 'director-next.seed'))).toBe(false)
    expect(JSON.parse(readFileSync(world.directorKeyFile, 'utf8'))).toEqual(publicKey)

    // A crash before the key was taken into use: the next start does it, and nothing that is to be signed is forgotten.
    for (const [name, content] of files) writeFileSync(join(world.dir, name), content)
    world.boot()
    expect(world.repository.directors.current.publicKey).toEqual(publicKey)
    expect(assigner().signSlice().signed).toBe(2)
    expect(newest().map(({ signatures }) => signatures[0]!.keyId)).toEqual([publicKey.keyId, publicKey.keyId])
    const root = world.file('2.root.json')
    expect(judge(newest()[0]!, root)).toBe('accepted')
    expect(judge(newest()[1]!, root, 'd-1')).toBe('accepted')
    expect(judge(former!, root)).toBe('unknown-key')
    // A device that sleeps before the new root does not follow it on anybody's word.
    expect(judge(newest()[0]!, world.file('1.root.json'))).toBe('unknown-key')
    // A further root with the same director makes no work.
    await lifecycle.renew(['root'])
    world.publish(repository)
    expect(assigner().signSlice().signed).toBe(0)
  })

  it('a crash between storing a root and taking its key into use is made good at the next start', async () => {
    const { lifecycle, repository } = await world.init()
    const { publicKey } = world.repository.online.makeNext()
    copyFileSync(join(world.dir, 'online.seed'), join(world.dir, 'former'))
    copyFileSync(join(world.dir, 'online-next.seed'), join(world.dir, 'latter'))
    writeFileSync(join(world.dir, 'next.json'), JSON.stringify(publicKey))
    await lifecycle.online(join(world.dir, 'next.json'))
    world.publish(repository)
    // Back to how the folder was before the rename.
    copyFileSync(join(world.dir, 'former'), join(world.dir, 'online.seed'))
    copyFileSync(join(world.dir, 'latter'), join(world.dir, 'online-next.seed'))
    world.boot()
    expect(world.repository.online.current.publicKey).toEqual(publicKey)
    world.clock.advanceTo(world.clock.wallMs() + 13 * HOUR)
    expect(world.json('timestamp.json').signatures[0]!.keyid).toBe(publicKey.keyId)
  })
})
