import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ALERT_CODES, runbookOf, severityOf } from '../../../cloud/api/alert-words.ts'
import { DEFAULT_GATE_POLICY } from '../../../cloud/rollout/gate-defaults.ts'
import { NO_INSTALLING_MAX } from '../../../cloud/store/install-turns.ts'
import { Store } from '../../../cloud/store/store.ts'
import { anchorsOf, textOf } from '../../docs/documents.ts'
import { releaseOf, SHA } from '../../fixtures/cloud-world.ts'
import { IdentityWorld } from '../../fixtures/identity-world.ts'
import { T0 } from '../../fixtures/synthetic-fleet.ts'

const world = new IdentityWorld()
let store: Store
beforeAll(async () => {
  await world.start()
  store = new Store(join(world.dir, 'cloud/cloud.db'), T0)
  for (const [name, sites] of [
    ['gw-berlin', ['berlin']],
    ['gw-both', ['berlin', 'hall-3']],
  ] as const) {
    await world.call('POST', '/v1/tokens', { subject: name, role: 'gateway', sites })
  }
  await world.call('POST', '/v1/devices', [
    { device: 'wren', site: 'berlin', board: 'board-a' },
    { device: 'crow', site: 'hall-3', board: 'board-a' },
  ])
  store.models.putArtifact(SHA['kws-2'], 1000, T0)
  const record = store.models.add(releaseOf('kws-2', 2, SHA['kws-2']), null, T0, { family: 'wake' })
  store.models.record(record.id, null, 'candidate', 'ann', 'registered', world.clock.wallMs())
  const raise = (
    code: string,
    metric: string,
    more: { model?: string; cohort?: string; numbers?: Record<string, number> } = {},
  ) => store.alerts.raise({ code, metric, model: '', sinceMs: world.clock.wallMs(), ratio: 1, numbers: {}, ...more })
  const model = SHA['kws-2'].slice(0, 16)
  raise('drift', 'falseWakes', { model, cohort: 'site:berlin' })
  raise('drift', 'dutyCycle', { model, cohort: 'site:berlin' })
  raise('devices-silent', 'berlin')
  raise('gateway-silent', 'gw-berlin')
  raise('gateway-silent', 'gw-both')
  raise('drift', 'noiseFloor', { model, cohort: 'board:xG24' })
  raise('expiry', 'root', { numbers: { noticeDays: 0 } })
})
afterAll(async () => {
  store.close()
  await world.stop()
})

const groups = async (query = '') =>
  (await world.call('GET', `/v1/alerts/groups${query}`)).json.groups as {
    cause: string
    severity: string
    codes: Record<string, number>
    alerts: { id: number; cause: string }[]
  }[]

describe('alerts of one cause', () => {
  it('are one group, the worst first', async () => {
    expect((await groups()).map(({ cause, severity, codes }) => [cause, severity, codes])).toEqual([
      ['code:expiry', 'P0', { expiry: 1 }],
      ['site:berlin', 'P2', { drift: 2, 'devices-silent': 1, 'gateway-silent': 1 }],
      ['gateway:gw-both', 'P2', { 'gateway-silent': 1 }],
      ['family:wake', 'P2', { drift: 1 }],
    ])
    expect((await groups('?family=wake')).map(({ cause }) => cause)).toEqual(['site:berlin', 'family:wake'])
  })

  it('of a rollout of the model are of the rollout, for a fortnight after it', async () => {
    const { db } = store
    const release = store.models.byName('kws-2')?.id ?? 0
    const now = world.clock.wallMs()
    store.rollouts.add({
      ...{ id: 'r-1', release, previous: release, percents: [100], policy: DEFAULT_GATE_POLICY, plan: {} as never },
      ...{ salt: '', createdMs: now - 1000, createdBy: 'ann', policyName: null, why: '' },
      ...{ cohort: null, experimentHours: null, installingMax: NO_INSTALLING_MAX },
    })
    db.prepare("UPDATE rollouts SET ended_ms = ? WHERE id = 'r-1'").run(now)
    expect((await groups()).map(({ cause }) => cause)).toContain('rollout:r-1')
    db.prepare("UPDATE rollouts SET created_ms = ?, ended_ms = ? WHERE id = 'r-1'").run(1, now - 337 * 3_600_000)
    expect((await groups()).map(({ cause }) => cause)).toContain('family:wake')
  })

  it('lead to a section of the operations that there is', () => {
    const anchors = anchorsOf(textOf('docs/operations.md'))
    for (const code of ALERT_CODES) {
      const [file, anchor = ''] = runbookOf(code).split('#')
      expect([code, file, anchors.has(anchor)]).toEqual([code, 'docs/operations.md', true])
    }
    const ended = { code: 'expiry', numbers: { noticeDays: 0 } }
    expect(['root', 'targets', 'token:viewer:page'].map((metric) => severityOf({ ...ended, metric }))).toEqual([
      'P0',
      'P0',
      'P1',
    ])
  })
})

describe('an incident', () => {
  it('takes scope, severity and time from an alert, and its timeline has what happened there and nothing else', async () => {
    const [alert] = (await groups()).find(({ cause }) => cause === 'site:berlin')?.alerts ?? []
    const opened = await world.call('POST', '/v1/incidents', { title: 'Berlin is quiet', alert: alert?.id })
    expect(opened.json).toMatchObject({
      severity: 'P2',
      site: 'berlin',
      family: null,
      closedMs: null,
      openedBy: 'operator',
    })
    const path = `/v1/incidents/${opened.json.id}`
    await world.call('POST', '/v1/devices/wren/revoke', { reason: 'a test' })
    await world.call('POST', '/v1/devices/crow/revoke', { reason: 'elsewhere' })
    await world.call('POST', `/v1/alerts/${alert?.id}/acknowledge`, { reason: 'on my way' })
    await world.call('POST', `${path}/notes`, { words: 'the fuse is out' })
    await world.call('POST', '/v1/gateways/gw-berlin/quarantine', { reason: 'to be sure' })
    const closed = await world.call('POST', `${path}/close`, { outcome: 'a new fuse' })
    expect(closed.json).toMatchObject({ closedBy: 'operator', outcome: 'a new fuse' })
    await world.call('POST', '/v1/gateways/gw-berlin/release', { reason: 'after it' })
    const { timeline, isCut } = (await world.call('GET', path)).json as {
      timeline: { atMs: number; kind: string; words: string }[]
      isCut: boolean
    }
    const told = timeline.map(({ kind, words }) => `${kind} ${words}`).join('\n')
    expect(isCut).toBe(false)
    expect(timeline.map(({ atMs }) => atMs)).toEqual(timeline.map(({ atMs }) => atMs).sort((a, b) => a - b))
    for (const expected of [
      /^alert alert \d+ P2: Silent\. \d of \d devices at berlin/m,
      /^audit device\.revoked wren: a test$/m,
      /^audit alert\.acknowledged \d+: on my way$/m,
      /^note the fuse is out$/m,
      /^audit gateway\.quarantined gw-berlin: to be sure$/m,
      /^audit incident\.closed \d+$/m,
    ]) {
      expect(told).toMatch(expected)
    }
    expect(told).not.toMatch(/crow|after it|xG24|Expiry/)
    // Who was first stays; a note may come later.
    expect((await world.call('POST', `${path}/close`, { outcome: 'again' })).json.outcome).toBe('a new fuse')
    expect((await world.call('POST', `${path}/notes`, { words: 'the fuse was old' })).status).toBe(200)
    expect((await world.call('GET', path)).json.timeline.at(-1)).toMatchObject({
      kind: 'note',
      words: 'the fuse was old',
    })
    expect((await world.call('GET', '/v1/incidents?state=open')).json.incidents).toEqual([])
    expect((await world.call('GET', '/v1/incidents')).json.incidents.length).toBe(1)
  })

  it('of a family has its releases; of nothing in particular has all; what there is not is refused', async () => {
    const wake = await world.call('POST', '/v1/incidents', {
      title: 'w',
      family: 'wake',
      sinceMs: world.clock.wallMs() - 60_000,
    })
    const words = (await world.call('GET', `/v1/incidents/${wake.json.id}`)).json.timeline.map(
      (entry: { words: string }) => entry.words,
    )
    expect(words.join('\n')).toMatch(/kws-2 2: candidate: registered/)
    expect(words.join('\n')).not.toMatch(/wren/)
    const all = await world.call('POST', '/v1/incidents', { title: 'w', sinceMs: world.clock.wallMs() - 60_000 })
    const everything = JSON.stringify((await world.call('GET', `/v1/incidents/${all.json.id}`)).json.timeline)
    for (const word of ['wren', 'crow', 'kws-2', 'root ends']) expect(everything).toContain(word)
    for (const wrong of [{ family: 'none' }, { rollout: 'r-9' }, { alert: 4_711 }]) {
      expect((await world.call('POST', '/v1/incidents', { title: 'w', ...wrong })).json).toMatchObject({
        code: 'not-found',
      })
    }
    const old = { title: 'w', sinceMs: world.clock.wallMs() - 31 * 86_400_000 }
    expect((await world.call('POST', '/v1/incidents', old)).json).toMatchObject({ code: 'invalid-request' })
    expect((await world.call('POST', '/v1/incidents', { title: 'w', severity: 'P4' })).status).toBe(400)
    expect((await world.call('GET', '/v1/incidents/99')).status).toBe(404)
  })
})
