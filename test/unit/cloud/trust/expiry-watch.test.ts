import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { beforeEach, expect, it, onTestFinished } from 'vitest'
import { CloudReadiness } from '../../../../cloud/readiness.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { Expiries } from '../../../../cloud/trust/expiries.ts'
import { ExpiryWatch, GatewayContacts } from '../../../../cloud/trust/expiry-watch.ts'
import type { ImageRepository } from '../../../../cloud/trust/image-repository.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }
type Ends = Pick<ImageRepository, 'state' | 'onlineEnds'>

let store: Store
let clock: ManualClock
let ends: Record<string, number>
let online: Record<'snapshot' | 'timestamp', number>
let contacts: GatewayContacts
const changes: string[] = []
const repository = {
  get state() {
    const document = (ms: number) => ({ content: { expires: new Date(ms).toISOString() } })
    const { root, ...others } = ends
    const targets = new Map(Object.entries(others).map(([role, ms]) => [role, document(ms)]))
    return { root: root === undefined ? undefined : document(root), targets } as unknown as Ends['state']
  },
  get onlineEnds() {
    return [
      { role: 'snapshot', ttlMs: 7 * DAY, expiresMs: online.snapshot },
      { role: 'timestamp', ttlMs: DAY, expiresMs: online.timestamp },
    ] as const
  },
}
let watch: ExpiryWatch
let expiries: Expiries

beforeEach(() => {
  clock = new ManualClock()
  store = new Store(':memory:', T0)
  contacts = new GatewayContacts(clock)
  ends = {}
  online = { snapshot: T0 + 1e12, timestamp: T0 + 1e12 }
  changes.length = 0
  expiries = new Expiries(store, repository)
  watch = new ExpiryWatch({
    ...{ store, clock, logger: quiet, expiries, contacts, silentMs: 2 * HOUR },
    changed: ({ code, metric, ratio }, change) => void changes.push(`${change} ${code} ${metric} ${ratio}`),
  })
  onTestFinished(() => store.close())
})
const at = (day: number) => {
  clock.advanceTo(T0 + day * DAY)
  watch.look()
}
const open = () => store.alerts.allOpen().map(({ code, metric, ratio }) => `${code} ${metric} ${ratio}`)

it('tells of offline metadata 60, 30 and 7 days before, of its end, and no more when it was renewed', () => {
  ends = { root: T0 + 100 * DAY, targets: T0 + 400 * DAY, kws: T0 + 45 * DAY }
  const seen = new Map<number, string[]>()
  for (let day = 0; day <= 110; day++) {
    at(day)
    const now = open()
    if (now.join() !== [...seen.values()].at(-1)?.join()) seen.set(day, now)
  }
  expect([...seen]).toEqual([
    [0, ['expiry delegation:kws 60']],
    [15, ['expiry delegation:kws 30']],
    [38, ['expiry delegation:kws 7']],
    [40, ['expiry delegation:kws 7', 'expiry root 60']],
    [45, ['expiry root 60', 'expiry delegation:kws 0']],
    [70, ['expiry delegation:kws 0', 'expiry root 30']],
    [93, ['expiry delegation:kws 0', 'expiry root 7']],
    [100, ['expiry delegation:kws 0', 'expiry root 0']],
  ])
  ends = { root: T0 + 500 * DAY, targets: T0 + 400 * DAY, kws: T0 + 500 * DAY }
  watch.look()
  expect(open()).toEqual([])
  expect(changes.filter((line) => line.startsWith('raised'))).toHaveLength(8)
  expect(changes.filter((line) => line.startsWith('resolved'))).toHaveLength(8)
})

it('tells of what the cloud makes itself when it should have been made anew', () => {
  online = { snapshot: T0 + 7 * DAY, timestamp: T0 + DAY }
  at(0.5)
  expect(open()).toEqual([])
  at(0.76)
  expect(open()).toEqual(['expiry timestamp 0.25'])
  at(5.3)
  expect(open()).toEqual(['expiry snapshot 1.75', 'expiry timestamp 0'])
})

it('tells of a service’s last token, within its life; not of one for a day, of a device’s, or of one that has a successor', () => {
  const add = (jti: string, kind: 'gateway' | 'viewer' | 'device', subject: string, fromDay: number, days: number) =>
    store.tokens.add({ jti, kind, subject, issuedMs: T0 + fromDay * DAY, expiresMs: T0 + (fromDay + days) * DAY })
  add('1', 'gateway', 'gateway-1', 0, 30)
  add('2', 'gateway', 'gateway-2', 0, 365)
  add('3', 'viewer', 'page', 0, 1)
  add('4', 'device', 'wren-1', 0, 365)
  at(22.9)
  expect(open()).toEqual([])
  at(23)
  expect(open()).toEqual(['expiry token:gateway:gateway-1 7'])
  at(31)
  expect(open()).toEqual(['expiry token:gateway:gateway-1 0'])
  add('5', 'gateway', 'gateway-1', 31, 30)
  watch.look()
  expect(open()).toEqual([])
  store.tokens.revokeServices('gateway-1', T0 + 31 * DAY)
  at(305)
  expect(open()).toEqual(['expiry token:gateway:gateway-2 60'])
})

it('tells of a gateway that has sent telemetry and is not heard for two hours; asking for assignments is being heard', () => {
  store.gateways.enrol('gateway-1', ['lab'], null, T0)
  store.gateways.heard('gateway-1', [], 10, 0, T0)
  at(1.9 / 24)
  expect(open()).toEqual([])
  contacts.heard('gateway-1')
  at(3.8 / 24)
  expect(open()).toEqual([])
  at(4 / 24)
  expect(open()).toEqual(['gateway-silent gateway-1 0'])
  at(40)
  expect(open()).toEqual(['gateway-silent gateway-1 0'])
  store.gateways.heard('gateway-1', [], 10, 0, clock.wallMs())
  watch.look()
  expect(open()).toEqual([])
  expect(changes).toEqual(['raised gateway-silent gateway-1 0', 'resolved gateway-silent gateway-1 0'])
})

it('readiness names what has ended and a full disk; metrics have seconds for each', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'kinglet-ready-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true }))
  const readiness = new CloudReadiness({ store, clock, expiries, dataDir, isSeedInUse: () => true })
  ends = { root: T0 + 5 * DAY, targets: T0 - DAY, kws: T0 - DAY }
  online = { snapshot: T0 - 1, timestamp: T0 - 1 }
  symlinkSync('/dev/full', join(dataDir, '.probe'))
  const found = await readiness.look()
  expect([found.ready, found.reasons.map(({ code }) => code), found.warnings.map(({ code }) => code)]).toEqual([
    false,
    ['disk-full', 'targets-expired', 'targets-expired', 'snapshot-expired', 'timestamp-expired'],
    ['metadata-expiring'],
  ])
  const registry = new Registry()
  expiries.measure(registry, clock)
  expect(await registry.metrics()).toContain('kinglet_expiry_seconds{what="root"} 432000')
  ends = { root: T0 + 5 * DAY }
  online = { snapshot: T0 + DAY, timestamp: T0 + DAY }
  clock.advanceTo(T0 + 10_000)
  expect(await readiness.look()).toMatchObject({ ready: true, reasons: [] })
})
