import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { ArtifactFolder } from '../../../../cloud/registry/artifact-folder.ts'
import { Registry } from '../../../../cloud/registry/registry.ts'
import type { ReleaseRisk } from '../../../../cloud/store/approval-store.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { contractError } from '../../../../contract/errors.ts'
import { present } from '../../../../contract/present.ts'
import type { Release } from '../../../../contract/release.ts'
import { err, ok } from '../../../../contract/result.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'
import { secureRandom } from '../../../fixtures/identity-world.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'
import { testRelease } from '../../../fixtures/test-release.ts'

const BOARD = 'NUCLEO-U575ZI'
const CARD = {
  ...{ intendedUse: 'a test', limitations: 'all', owner: 'ann' },
  lineage: { data: ['sha256:00'], code: 'git:1', parameters: 'p.yaml', environment: 'lock', artifacts: ['run-7'] },
  evaluation: [
    { slice: `board:${BOARD}`, metric: 'recall', value: 0.9, samples: 400 },
    { slice: 'environment:noisy', metric: 'recall', value: 0.8, samples: 400 },
  ],
}

let store: Store
let registry: Registry
let artifacts: ArtifactFolder
let published: Map<string, Release>
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kinglet-gates-'))
  store = new Store(':memory:', T0)
  onTestFinished(() => {
    store.close()
    rmSync(dir, { recursive: true, force: true })
  })
  artifacts = new ArtifactFolder(dir, secureRandom)
  published = new Map()
  const release = (name: string, version: number) => {
    const found = published.get(`${name}/${version}`)
    return found === undefined
      ? err(contractError('target-unknown', name))
      : ok({ release: found, verifier: undefined, role: 'targets' })
  }
  registry = new Registry(store, artifacts, { release }, new ManualClock())
})

async function add(
  version: number,
  risk: ReleaseRisk | undefined,
  of: { card?: unknown; boards?: string[]; by?: string; release?: Partial<Release> } = {},
) {
  const { card, boards = [BOARD], by = 'ann' } = of
  const { bundle, sha256, release } = testRelease('kws', version, { card, boards })
  published.set(`kws/${version}`, { ...release, ...of.release })
  await registry.putArtifact(sha256, bundle)
  const added = registry.register('kws', version, by, undefined, risk)
  if (!added.ok) throw new Error(added.error.detail)
  return added.value.release
}
const lacks = (version: number) =>
  registry.gates(present(store.models.byName('kws', version), 'a release')).lacks.map(({ gate }) => gate)
const approve = (by: string, version = 1) => {
  const approved = registry.approve('kws', by, 'looked at it', { version })
  return approved.ok ? 'ok' : approved.error.detail
}
const give = (jti: string, subject: string, parent?: string) => {
  store.tokens.add({ jti, kind: 'admin', subject, issuedMs: T0, expiresMs: T0 + 1, ...(parent && { parent }) })
}

describe('what a release needs', () => {
  it('is nothing more than before while nobody says that it is of risk', async () => {
    const release = await add(1, undefined, { boards: [] })
    expect([lacks(1), registry.cleared(release)]).toEqual([[], { ok: true, value: undefined }])
  })

  it('at medium risk is a whole card, lineage, boards with room, and somebody else; what cannot be read is missing', async () => {
    await add(1, 'medium')
    expect(lacks(1)).toEqual(['card', 'approvals'])
    await add(2, 'medium', { card: { owner: 'ann' } })
    expect(lacks(2)).toEqual(['card', 'lineage', 'approvals'])
    await add(3, 'medium', { card: { ...CARD, lineage: { ...CARD.lineage, code: '' } } })
    expect(lacks(3)).toEqual(['card', 'approvals'])
    const { evaluation: _, ...card } = CARD
    await add(4, 'medium', { card, boards: [] })
    expect(lacks(4)).toEqual(['resources', 'approvals'])
    await add(5, 'medium', { card, boards: [BOARD, 'own-board'] })
    expect(lacks(5)).toEqual(['resources', 'approvals'])
    const own = { ramBytes: 65_536, flashBytes: 262_144, inferenceMs: 12 }
    await add(6, 'medium', { card: { ...card, boards: { 'own-board': own } }, boards: [BOARD, 'own-board'] })
    expect(lacks(6)).toEqual(['approvals'])
    const small = { ...own, ramBytes: 15_999 }
    await add(7, 'medium', { card: { ...card, boards: { 'own-board': small } }, boards: ['own-board'] })
    expect(lacks(7)).toEqual(['resources', 'approvals'])
    await add(8, 'medium', { card })
    expect(approve('ben', 8)).toBe('ok')
    expect(lacks(8)).toEqual([])
    rmSync(dir, { recursive: true, force: true })
    expect(lacks(8)).toEqual(['bundle'])
  })

  it('at high risk is an evaluation by slice and two people besides, of which nobody is who registered it', async () => {
    const { evaluation, ...card } = CARD
    await add(1, 'high', { card: { ...card, evaluation: evaluation.slice(0, 1) } })
    expect(lacks(1)).toEqual(['evaluation', 'approvals'])
    const release = await add(2, 'high', { card: CARD })
    expect(approve('ann', 2)).toMatch(/^ann has registered it: an approval is another person's$/)
    expect(approve('ben', 2)).toBe('ok')
    expect(approve('ben', 2)).toBe('ok')
    const cleared = registry.cleared(release)
    expect(cleared.ok ? '' : cleared.error.detail).toBe(
      'kws 2 is of high risk and lacks approvals; "kinglet release show kws@2" says how to get each: 1 of 2 approvals',
    )
    expect(approve('carla', 2)).toBe('ok')
    expect(registry.cleared(release).ok).toBe(true)
    const actions = store.audit.list(10).filter(({ action }) => action === 'release.approved')
    expect(actions.map(({ actor }) => actor)).toEqual(['carla', 'ben'])
  })

  it('two names of which one has minted the other’s token are one person, through whatever lies between', async () => {
    give('1', 'root')
    give('2', 'ann', '1')
    give('3', 'ben', '1')
    give('4', 'helper', '3')
    give('5', 'mask', '4')
    await add(1, 'high', { card: CARD })
    expect(approve('root')).toMatch(/ann has registered it, and one of the two has minted/)
    expect(approve('ben')).toBe('ok')
    expect(approve('mask')).toMatch(/ben has approved it, and one of the two has minted/)
    expect(approve('carla')).toBe('ok')
    await add(2, 'medium', { card: CARD, by: 'mask' })
    expect(approve('ben', 2)).toMatch(/mask has registered it/)
  })

  it('approvals are of one hash, and end when it is archived', async () => {
    const release = await add(1, 'medium', { card: CARD })
    const other = registry.approve('kws', 'ben', 'looked', { version: 1, sha256: 'f'.repeat(64) })
    expect(other).toMatchObject({ error: { code: 'conflict' } })
    expect(approve('ben')).toBe('ok')
    expect(store.approvals.of('f'.repeat(64))).toEqual([])
    expect(registry.promote('kws', 'archived', 'ann', 'broken').ok).toBe(true)
    expect(approve('carla')).toMatch(/archived/)
    expect(registry.promote('kws', 'staging', 'ann', 'mended').ok).toBe(true)
    expect(store.approvals.of(release.sha256)).toEqual([])
    expect(lacks(1)).toEqual(['approvals'])
  })

  it('stands before production by hand too, and rises with the family; nothing lowers it but an admin', async () => {
    await add(1, undefined, { card: CARD })
    const promote = (to: 'staging' | 'production', risk?: ReleaseRisk) =>
      registry.promote('kws', to, 'ann', 'go', 1, risk)
    expect(promote('staging', 'medium')).toMatchObject({ value: { risk: 'medium' } })
    expect(promote('staging', 'low')).toMatchObject({ value: { risk: 'medium' } })
    expect(promote('production')).toMatchObject({
      error: { code: 'conflict', detail: expect.stringContaining('approvals') },
    })
    const set = (risk: ReleaseRisk, mayLower = false) =>
      registry.setFamilyRisk('default', risk, { by: 'ann', reason: 'r', mayLower })
    expect(set('high').ok).toBe(true)
    expect(registry.gates(present(store.models.byName('kws'), 'it'))).toMatchObject({ risk: 'high', needed: 2 })
    expect(set('medium')).toMatchObject({ error: { code: 'not-authorized' } })
    expect(set('medium', true).ok).toBe(true)
    expect(registry.setFamilyRisk('none', 'high', { by: 'a', reason: 'r', mayLower: true })).toMatchObject({
      error: { code: 'not-found' },
    })
    expect(approve('ben')).toBe('ok')
    expect(promote('production').ok).toBe(true)
  })
})
