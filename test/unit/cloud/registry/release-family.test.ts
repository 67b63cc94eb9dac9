import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { familyOfDevice, unsaidFamily } from '../../../../cloud/family.ts'
import { ArtifactFolder } from '../../../../cloud/registry/artifact-folder.ts'
import { Registry } from '../../../../cloud/registry/registry.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { contractError } from '../../../../contract/errors.ts'
import type { Release } from '../../../../contract/release.ts'
import { err, ok } from '../../../../contract/result.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'
import { secureRandom } from '../../../fixtures/identity-world.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'
import { testRelease } from '../../../fixtures/test-release.ts'

let store: Store
let registry: Registry
let artifacts: ArtifactFolder
let published: Map<string, { release: Release; verifier: undefined; role: string }>
beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-registry-'))
  store = new Store(':memory:', T0)
  onTestFinished(() => {
    store.close()
    rmSync(dir, { recursive: true })
  })
  artifacts = new ArtifactFolder(dir, secureRandom)
  published = new Map()
  const releases = {
    release(name: string, version: number) {
      const found = published.get(`${name}/${version}`)
      return found === undefined ? err(contractError('target-unknown', name)) : ok(found)
    },
  }
  registry = new Registry(store, artifacts, releases, new ManualClock())
})

/** Signs, uploads and registers a release. @returns its family, or why not */
async function add(name: string, version: number, of: { role?: string; family?: string; parent?: string } = {}) {
  const { role = 'targets', family, parent } = of
  const { bundle, sha256, release } = testRelease(name, version, { ...(parent !== undefined && { parent }) })
  published.set(`${name}/${version}`, { release, verifier: undefined, role })
  await registry.putArtifact(sha256, bundle)
  const registered = registry.register(name, version, 'ann', family)
  return registered.ok ? registered.value.release.family : registered.error
}
const hashOf = (name: string) => store.models.byName(name)!.sha256
const enrol = (name: string, family?: string) =>
  store.devices.enrol({ name, site: 's', board: 'board-a', tags: [], ...(family && { family }) }, T0)

describe('the family of a release', () => {
  it('is "default" while nobody names one; asked for, and that of the name and the parent from then on', async () => {
    expect(await add('kws-1', 1)).toBe('default')
    expect(await add('hum-1', 1, { family: 'hum' })).toBe('hum')
    expect(await add('hum-1', 2)).toBe('hum')
    expect(await add('hum-2', 3, { parent: hashOf('hum-1') })).toBe('hum')
    expect(await add('hum-3', 4, { parent: hashOf('hum-1'), family: 'hum-small' })).toBe('hum-small')
    expect(await add('kws-2', 2)).toBe('default')
  })

  it('is the name of the delegated role that has signed it, or what that role has signed before', async () => {
    expect(await add('kws-1', 1, { role: 'wake' })).toBe('wake')
    expect(await add('hum-1', 1, { role: 'bearing', family: 'hum' })).toBe('hum')
    expect(await add('hum-2', 2, { role: 'bearing' })).toBe('hum')
    // Of before families: what the role has signed is in "default", and so is what it signs next.
    store.models.putArtifact('9'.repeat(64), 9, T0)
    const old = { ...testRelease('dog-1', 1).release, sha256: '9'.repeat(64) }
    published.set('dog-1/1', { release: old, verifier: undefined, role: 'dog' })
    store.models.add(old, null, T0)
    expect(await add('dog-2', 2, { role: 'dog' })).toBe('default')
  })

  it('is one for a name, for a delegated role and for a release, whatever is asked for', async () => {
    await add('kws-1', 1, { role: 'wake' })
    const refused = (code: string, words: RegExp) => ({ code, detail: expect.stringMatching(words) })
    expect(await add('kws-1', 2, { family: 'hum' })).toEqual(refused('conflict', /the name kws-1 is of family wake/))
    expect(await add('kws-2', 2, { role: 'wake', family: 'hum' })).toEqual(
      refused('conflict', /what wake signs is of family wake, not hum/),
    )
    expect(registry.register('kws-1', 1, 'ann', 'hum')).toMatchObject({ ok: false, error: { code: 'conflict' } })
    expect(registry.register('kws-1', 1, 'ann', 'wake')).toMatchObject({ ok: true, value: { created: false } })
    await add('hum-1', 1, { family: 'hum' })
    // Two, none of them "default", and nothing says which.
    expect(await add('dog-1', 1)).toEqual(refused('invalid-request', /say which family: there are hum, wake/))
  })

  it('is followed by the devices and claims that came before there was any', async () => {
    enrol('d-1')
    const claim = { device: 'd-2', site: 's', board: 'b', tags: [], model: null, sites: null, publicKey: '00' }
    store.identities.addClaim({ ...claim, id: 'c', family: 'default', createdMs: T0, createdBy: 'ann', expiresMs: T0 })
    await add('hum-1', 1, { family: 'hum' })
    expect(store.devices.byName('d-1')?.family).toBe('hum')
    expect(store.identities.claim('c')?.family).toBe('hum')
    await add('kws-1', 1, { family: 'wake' })
    expect(store.devices.byName('d-1')?.family).toBe('hum')
  })

  it('is the one in which it goes into production by hand: another family may have one for the same boards, and its devices get theirs', async () => {
    await add('kws-1', 1, { family: 'wake' })
    await add('kws-2', 2, { family: 'wake' })
    await add('hum-1', 1, { family: 'hum' })
    enrol('d-1', 'wake')
    enrol('d-2', 'hum')
    const promote = (name: string) => {
      registry.promote(name, 'staging', 'ann', 'x')
      const promoted = registry.promote(name, 'production', 'ann', 'x')
      return promoted.ok ? promoted.value.state : promoted.error.code
    }
    expect(promote('kws-1')).toBe('production')
    expect(store.devices.byName('d-2')?.target).toBeNull()
    expect(promote('hum-1')).toBe('production')
    expect(promote('kws-2')).toBe('conflict')
    const target = (name: string) => store.models.byId(store.devices.byName(name)!.target!)!.name
    expect([target('d-1'), target('d-2')]).toEqual(['kws-1', 'hum-1'])
  })
})

describe('the family that a device follows', () => {
  it('is said, its own, that of its model, the only one there is, or "default"', async () => {
    const of = (wish: Parameters<typeof familyOfDevice>[1]) => {
      const chosen = familyOfDevice(store, wish)
      return chosen.ok ? chosen.value : chosen.error.code
    }
    expect([of({}), of({ family: 'default' }), of({ family: 'hum' })]).toEqual(['default', 'default', 'not-found'])
    await add('hum-1', 1, { family: 'hum' })
    expect([of({}), of({ family: 'hum' }), of({ family: 'default' })]).toEqual(['hum', 'hum', 'not-found'])
    await add('kws-1', 1, { family: 'wake' })
    expect([of({}), of({ model: 'kws-1' }), of({ model: 'kws-9' })]).toEqual(['invalid-request', 'wake', 'not-found'])
    expect(of({ model: 'kws-1', family: 'hum' })).toBe('conflict')
    enrol('d-1', 'hum')
    expect([of({ device: 'd-1' }), of({ device: 'd-1', family: 'hum' })]).toEqual(['hum', 'hum'])
    expect([of({ device: 'd-1', family: 'wake' }), of({ device: 'd-1', model: 'kws-1' })]).toEqual([
      'conflict',
      'conflict',
    ])
    expect(unsaidFamily(['default', 'hum', 'wake'])).toEqual({ ok: true, value: 'default' })
  })

  it('stays when it is enrolled again; one that was removed, or only heard of, is new', () => {
    const first = enrol('d-1', 'hum')
    expect(enrol('d-1', 'wake').family).toBe('hum')
    store.devices.remove(first, T0, false)
    expect(enrol('d-1', 'wake').family).toBe('wake')
    store.db.prepare("INSERT INTO devices (name, site, board) VALUES ('d-2', 's', 'b')").run()
    expect(enrol('d-2', 'wake').family).toBe('wake')
  })
})
