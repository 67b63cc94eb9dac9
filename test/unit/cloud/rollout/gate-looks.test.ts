import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { LookClient } from '../../../../cloud/look-client.ts'
import { LookService } from '../../../../cloud/look-service.ts'
import { KeptHours, RolloutEvidence } from '../../../../cloud/rollout/device-evidence.ts'
import { gather, gatherEvidence } from '../../../../cloud/rollout/evidence.ts'
import { judgeStage } from '../../../../cloud/rollout/gate.ts'
import { GateLooks } from '../../../../cloud/rollout/gate-looks.ts'
import { unpackInput } from '../../../../cloud/store/packed-input.ts'
import { DEFAULT_DRIFT_POLICY } from '../../../../cloud/telemetry/drift-policy.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { present } from '../../../../contract/present.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'
import { batchOf, HOUR } from '../../../fixtures/synthetic-fleet.ts'

/** A fleet with a rollout under way. @param path of its database */
function worldOf(seed: number, path = ':memory:', comparison: 'control' | 'past' = 'control'): CloudWorld {
  const usual = { falseWakes: 1, verified: 2, restarts: 0.01, failing: 0.02 }
  const world = new CloudWorld(path, seed, { 'kws-1': usual, 'kws-2': { ...usual, falseWakes: 1.1 }, 'kws-bad': usual })
  world.addRelease('kws-1', 1, 'production')
  world.addRelease('kws-2', 2, 'staging')
  world.enrol(45, 'board-a', { site: 'site-1' })
  world.enrol(45, 'board-b', { site: 'site-2' })
  for (const [name, site] of [
    ['gateway-1', 'site-1'],
    ['gateway-2', 'site-2'],
  ] as const) {
    world.store.gateways.enrol(name, [site], null, world.clock.wallMs())
  }
  world.hours(26)
  expect(world.start('kws-2', [20, 50, 100], { comparison, minHours: 6, maxHours: 500 })).toMatchObject({ ok: true })
  world.tick()
  return world
}
const openOf = ({ store }: CloudWorld) => store.rollouts.allOpen()[0]

/** Something happens, as chance will have it. @param what undefined: that, too */
function happens(world: CloudWorld, random: ReturnType<typeof seededRandom>, what?: string): string {
  const { store, clock, engine, fleet } = world
  const pick = <T>(of: readonly T[]): T => present(of[Math.floor(random.next() * of.length)], 'one of them')
  const some = pick(fleet)
  const row = present(store.devices.byName(some.name), 'a device of the fleet')
  const events: Record<string, () => void> = {
    hour: () => world.hour(),
    again: () => world.hour(),
    minutes: () => clock.advanceTo(clock.wallMs() + Math.floor(random.next() * 0.3 * HOUR)),
    nothing: () => undefined,
    outage: () => {
      const quiet = random.next()
      world.online = ({ phaseMs }) => phaseMs / HOUR > quiet
    },
    back: () => {
      world.online = () => true
    },
    report: () => {
      const { reports, verdicts } = some.live(clock.wallMs(), { falseWakes: 3, verified: 1 })
      store.telemetry.ingest(batchOf({ reports, verdicts }), attestedBy, clock.wallMs())
    },
    event: () => {
      const code = pick(['engine-failed', 'reverted', 'install-failed'] as const)
      store.telemetry.ingest(batchOf({ events: [some.event(code, clock.wallMs())] }), attestedBy, clock.wallMs())
    },
    // A message that came quicker than any before moves its boot, and its hours with it.
    sooner: () => {
      const { uptimeMs, receivedMs, ...report } = some.report()
      const sooner = { ...report, uptimeMs: uptimeMs + 1, receivedMs: receivedMs - 0.4 * HOUR }
      store.telemetry.ingest(batchOf({ reports: [sooner] }), attestedBy, clock.wallMs())
    },
    verdict: () => {
      const [hour, said] = [...some.hours][0] ?? [0, { confirmed: 0, rejected: 0 }]
      const { name: device, site, boot, model } = some
      const slot = Math.max(0, Math.round((hour - some.startedMs) / HOUR))
      const verdict = { site, device, boot, model, slot, ...said, rejected: said.rejected + 2, revision: 900 }
      store.telemetry.ingest(batchOf({ verdicts: [verdict] }), attestedBy, clock.wallMs())
    },
    key: () => {
      const key = { keyId: `key-${row.id}-${random.next()}`, publicKey: `${random.next()}`, device: row.id, sinceMs: 0 }
      if (store.identities.activeKey(row.id) === undefined) store.identities.addKey(key)
    },
    enrol: () => world.enrol(3, 'board-a', { site: 'site-1' }),
    leaves: () => store.devices.leave(row.id, clock.wallMs()),
    moves: () => {
      const site = row.site === 'site-1' ? 'site-2' : 'site-1'
      store.devices.enrol({ name: row.name, site, board: row.board, tags: [] }, clock.wallMs())
    },
    heard: () => store.gateways.heard('gateway-2', [row.name], 1, 0, clock.wallMs()),
    quarantine: () => void store.gateways.quarantine('gateway-2', 'it lies', clock.wallMs()),
    release: () => void store.gateways.release('gateway-2'),
    sign: () => void world.assigner.signSlice(),
    pause: () => void engine.pause(openOf(world)?.id ?? '', 'test', 'test'),
    resume: () => void engine.resume(openOf(world)?.id ?? '', 'test', 'test'),
    advance: () => void (random.next() < 0.3 && engine.advance(openOf(world)?.id ?? '', 'test', 'test', false)),
    share: () => void engine.setMinInstalledShare(openOf(world)?.id ?? '', random.next(), 'test', 'test'),
    ages: () => void store.db.prepare('DELETE FROM device_hours WHERE device = ? AND slot < 3').run(row.id),
    undone: () => {
      expect(() =>
        store.atomically(() => {
          store.telemetry.ingest(batchOf({ reports: [some.report()] }), attestedBy, clock.wallMs())
          throw new Error('undone')
        }),
      ).toThrow('undone')
    },
  }
  const name = what ?? pick(Object.keys(events))
  events[name]?.()
  return name
}

describe('what is kept of devices between looks', () => {
  it.each([
    [1, 'control', Number.POSITIVE_INFINITY],
    [2, 'control', 20_000],
    [3, 'past', Number.POSITIVE_INFINITY],
    [4, 'control', Number.POSITIVE_INFINITY],
  ] as const)(
    'gives byte for byte what reading everything gives, whatever happens (seed %i, %s, %f bytes)',
    (seed, comparison, bytes) => {
      const world = worldOf(seed, ':memory:', comparison)
      const { store, clock } = world
      const random = seededRandom(seed)
      const [ofEvidence, ofLooks] = [store.changes.follow(), store.changes.follow()]
      const looks = new GateLooks(store, bytes)
      let evidence: RolloutEvidence | undefined
      let compared = 0
      const seen = new Set<string>()
      for (let i = 0; i < 160; i++) {
        const what = happens(world, random)
        const rollout = openOf(world)
        if (rollout === undefined) break
        if (rollout.stage === 0) continue
        const fresh = gatherEvidence(store, rollout, clock.wallMs())
        const { all, devices } = ofEvidence.take()
        if (all || evidence === undefined) evidence = new RolloutEvidence(store, rollout, new KeptHours(bytes))
        else evidence.refresh(devices)
        const kept = gather(store, rollout, evidence, clock.wallMs()).input
        expect(JSON.stringify(kept), `${i}: ${what}`).toBe(JSON.stringify(fresh))
        looks.note(ofLooks.take())
        const { look } = looks.look(rollout, clock.wallMs())
        const reading = judgeStage(rollout.policy, fresh)
        expect(JSON.stringify(look.reading), `${i}: ${what}`).toBe(JSON.stringify(reading))
        if (random.next() < 0.5) world.tick()
        if ((fresh.signals.falseWakesPerHour?.batch?.canary.length ?? 0) > 0) compared++
        seen.add(what)
      }
      expect(compared).toBeGreaterThan(20)
      expect(seen.size).toBeGreaterThan(18)
      store.close()
    },
  )

  it('is not read again where nothing has changed, and is as soon as the hour turns or somebody is silent for too long', () => {
    const world = worldOf(5)
    world.hours(6)
    const { store, clock } = world
    const follower = store.changes.follow()
    const looks = new GateLooks(store, Number.POSITIVE_INFINITY)
    const look = () => {
      looks.note(follower.take())
      return looks.look(present(openOf(world), 'the open rollout'), clock.wallMs()).look
    }
    world.tick()
    const first = look()
    expect(look().read).toBe(first.read)
    clock.advanceTo(clock.wallMs() + 60_000)
    const later = look()
    expect(later.read).toBe(first.read)
    expect(later.reading.elapsedHours).toBeGreaterThan(first.reading.elapsedHours)
    clock.advanceTo(clock.wallMs() + HOUR)
    expect(look().read).not.toBe(first.read)
    clock.advanceTo(look().sameUntilMs + 1)
    const after = look()
    expect(after.contacts.length).toBeGreaterThan(0)
    expect(after.contacts.every(({ silentMs }) => silentMs !== null)).toBe(true)
    store.close()
  })

  it('is read again when what it was read in is undone', () => {
    const world = worldOf(9)
    world.hours(6)
    const { store, clock, engine } = world
    const { id } = present(openOf(world), 'the open rollout')
    const append = store.audit.append.bind(store.audit)
    // The next stage has begun by then, and its gate was read.
    store.audit.append = (entry) => {
      if (entry.action === 'rollout.advanced') throw new Error('no disk')
      return append(entry)
    }
    expect(() => engine.advance(id, 'test', 'test', false)).toThrow('no disk')
    store.audit.append = append
    const rollout = present(openOf(world), 'the open rollout')
    const reading = judgeStage(rollout.policy, gatherEvidence(store, rollout, clock.wallMs()))
    expect(JSON.stringify(world.tick()?.rollout.reading)).toBe(JSON.stringify(reading))
    store.close()
  })
})

describe('a look beside', () => {
  let dir = ''
  afterEach(() => rmSync(dir, { recursive: true }))
  const thread = new URL('../../../../dist/cloud/look-worker.js', import.meta.url)

  it('on its thread says what one in place says, while the fleet goes on', async () => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-looks-'))
    const path = join(dir, 'cloud.db')
    const world = worldOf(6, path)
    const { store, clock } = world
    expect(existsSync(thread), 'npm run build comes first').toBe(true)
    const client = new LookClient(store, { path, drift: DEFAULT_DRIFT_POLICY }, thread)
    const random = seededRandom(6)
    try {
      for (let i = 0; i < 50; i++) {
        happens(world, random)
        const rollout = openOf(world)
        if (rollout === undefined) break
        const asked = client.look(rollout, clock.wallMs())
        for (let j = 0; j < Math.floor(random.next() * 4); j++) await Promise.resolve()
        // Before it begins, or after, or while it looks: of this moment, or of the next look.
        for (let j = 0; j < 3; j++) happens(world, random)
        await asked
        const now = openOf(world)
        if (now === undefined) break
        const again = present((await client.look(now, clock.wallMs())) ?? undefined, 'a look at an open rollout')
        const reading = judgeStage(now.policy, gatherEvidence(store, now, clock.wallMs()))
        expect(JSON.stringify(again.look.reading)).toBe(JSON.stringify(reading))
      }
    } finally {
      await client.close()
      store.close()
    }
  })

  it('is of the moment at which it began, and what was written meanwhile is in the next', async () => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-looks-'))
    const path = join(dir, 'cloud.db')
    const world = worldOf(7, path)
    world.hours(6)
    const { store, clock } = world
    const random = seededRandom(7)
    const openNow = () => present(openOf(world), 'the open rollout')
    const readNow = () => gatherEvidence(store, openNow(), clock.wallMs())
    let ofMoment = readNow()
    class WrittenMeanwhile extends LookService {
      override begin(): void {
        super.begin()
        ofMoment = readNow()
        for (const name of ['report', 'event', 'verdict', 'sooner', 'key']) happens(world, random, name)
      }
    }
    const options = { path, drift: DEFAULT_DRIFT_POLICY }
    const service = new WrittenMeanwhile(options)
    const client = new LookClient(store, options, service)
    for (let i = 0; i < 25; i++) {
      const rollout = openNow()
      const { look, packedInput, isSame } = present((await client.look(rollout, clock.wallMs())) ?? undefined, 'a look')
      expect(isSame).toBe(false)
      expect(JSON.stringify(look.reading)).toBe(JSON.stringify(judgeStage(rollout.policy, ofMoment)))
      if (packedInput !== null) expect(JSON.stringify(unpackInput(packedInput))).toBe(JSON.stringify(ofMoment))
      world.engine.noteContacts(look, 0, () => false)
      world.engine.perform(look, packedInput)
      if (i % 3 === 0) world.hour()
    }
    service.close()
    store.close()
  })

  it('is not acted on when the rollout has changed since, and doubted when a gateway has', async () => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-looks-'))
    const path = join(dir, 'cloud.db')
    const world = worldOf(8, path)
    world.hours(6)
    const { store, clock, engine } = world
    const options = { path, drift: DEFAULT_DRIFT_POLICY }
    const service = new LookService(options)
    const client = new LookClient(store, options, service)
    const look = async () =>
      present((await client.look(present(openOf(world), 'the open rollout'), clock.wallMs())) ?? undefined, 'a look')
    const first = await look()
    expect(engine.perform(first.look, first.packedInput)).toBeDefined()
    expect((await look()).isSame).toBe(true)
    engine.pause(first.look.rollout, 'test', 'test')
    expect(engine.perform(first.look, null)).toBeUndefined()
    const { device } = present(store.rollouts.devices(first.look.rollout)[0], 'a device of the rollout')
    const contact = { device, enteredMs: 1, silentMs: 77 }
    expect(engine.noteContacts({ ...first.look, contacts: [contact] }, 0, () => false)).toBe(1)
    expect(store.rollouts.device(first.look.rollout, device)?.silentMs).toBeNull()
    expect((await look()).look.revision).not.toBe(first.look.revision)
    expect(client.isOverturned).toBe(false)
    store.gateways.quarantine('gateway-2', 'it lies', clock.wallMs())
    expect(client.isOverturned).toBe(true)
    expect((await look()).look.frame.counted).not.toEqual(first.look.frame.counted)
    expect(client.isOverturned).toBe(false)
    service.close()
    store.close()
  })
})
