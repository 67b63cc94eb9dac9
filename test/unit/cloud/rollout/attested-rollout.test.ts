import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { rolloutView, summaryView } from '../../../../cloud/api/views.ts'
import { gatherEvidence } from '../../../../cloud/rollout/evidence.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { encodeEvent } from '../../../../contract/attested-event.ts'
import { bytesToHex, hexToBytes } from '../../../../contract/bytes.ts'
import { EVENT_CODES, type EventCode } from '../../../../contract/messages.ts'
import { keyIdOf } from '../../../../contract/signed.ts'
import type { EventRow } from '../../../../contract/uplink.ts'
import { deviceKey } from '../../../../device/core/flash/identity.ts'
import { CloudWorld, SHA } from '../../../fixtures/cloud-world.ts'
import { batchOf, HOUR, ingestInto } from '../../../fixtures/synthetic-fleet.ts'

/** A gateway that wants a rollout to go on, or to be rolled back, makes up what its devices say. */
describe('a rollout under a gateway that lies', () => {
  let dir: string
  let world: CloudWorld
  const DEVICES = 40
  const candidate = SHA['kws-2'].slice(0, 16)
  const keys = Array.from({ length: DEVICES }, (_, i) => deviceKey(new Uint8Array(32).fill(i + 1)))

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-attested-'))
    const usual = { falseWakes: 2, verified: 10 }
    world = new CloudWorld(join(dir, 'cloud.db'), 5, { 'kws-1': usual, 'kws-2': usual, 'kws-bad': usual })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(DEVICES)
    world.hours(30)
  })
  afterEach(() => {
    world.store.close()
    rmSync(dir, { recursive: true })
  })

  const giveKeys = (count = DEVICES) => {
    world.fleet.slice(0, count).forEach(({ name }, i) => {
      const { publicKey } = keys[i]!.public
      const { id } = world.store.devices.byName(name)!
      world.store.identities.addKey({ keyId: keyIdOf(hexToBytes(publicKey)), publicKey, device: id, sinceMs: 0 })
    })
  }
  const evidence = () => gatherEvidence(world.store, world.store.rollouts.allOpen()[0]!, world.clock.wallMs())
  const idOf = (index: number): number => world.store.devices.byName(world.fleet[index]!.name)!.id
  /** @param about the assignment it names; null: none, as a device that does not say */
  const says = (
    index: number,
    code: EventCode,
    seq: number,
    by = keys[index]!.sign,
    about: number | null = world.store.assignments.lastSeq(idOf(index)),
    more: { readonly detail?: string; readonly model?: string } = {},
  ): EventRow => {
    const device = world.fleet[index]!.name
    const now = world.clock.wallMs()
    const { model = candidate, detail } = more
    const said = { boot: 900, seq, wallMs: now, ...(about !== null && { assignmentSeq: about }) }
    const event = { ...said, detail, code: EVENT_CODES.indexOf(code), model: hexToBytes(model) }
    return {
      ...{ site: 'site-1', device, receivedMs: now, code, model, ...said, ...(detail !== undefined && { detail }) },
      signed: bytesToHex(encodeEvent(device, event, by)),
    }
  }

  it('counts installs of devices without keys at the gateway’s word', () => {
    world.start('kws-2')
    world.hours(6)
    expect(evidence().exposure.installed).toBeGreaterThan(0)
    expect(evidence().installs.started).toBeGreaterThan(0)
  })

  it('says of every evidence how much of it is of devices without a key', () => {
    giveKeys(30)
    world.start('kws-2')
    world.hours(6)
    const rollout = world.store.rollouts.allOpen()[0]!
    const { nowMs, ...views } = { nowMs: world.clock.wallMs(), rollout: rolloutView(world.store, rollout) }
    const { assigned, unkeyed } = evidence().exposure
    const keyless = world.store.rollouts
      .devices(rollout.id)
      .filter(({ device, stage }) => stage !== null && world.store.identities.keysOf(device).length === 0)
    expect(keyless.length).toBeGreaterThan(0)
    expect([unkeyed, views.rollout.devicesUnkeyed]).toEqual([keyless.length, keyless.length])
    expect(views.rollout.devicesAttested + keyless.length).toBe(assigned)
    expect(summaryView(world.store, nowMs, 24).devices).toMatchObject({ enrolled: DEVICES, unkeyed: DEVICES - 30 })
    expect(views.rollout.gateWords).toContain(`${keyless.length} of ${assigned} exposed devices have no key`)
    // Who was revoked has had one: that is said apart.
    const { id } = world.store.devices.byName(world.fleet[0]!.name)!
    world.store.identities.revokeKeys(id, nowMs)
    expect(world.store.devices.count().unkeyed).toBe(DEVICES - 30)
  })

  it('counts no install of a device with a key that did not sign it, and holds', () => {
    giveKeys()
    world.start('kws-2')
    // The synthetic fleet's reports and events say that all of it installed; nothing is signed.
    world.hours(12)
    const { exposure, installs, signals } = evidence()
    expect(exposure.assigned).toBeGreaterThan(0)
    expect(exposure.installed).toBe(0)
    expect(installs).toEqual({ started: 0, failed: 0, refused: 0 })
    expect(signals.falseWakesPerHour?.batch?.canary ?? []).toEqual([])
    expect(world.store.rollouts.allOpen()[0]).toMatchObject({ state: 'running', stage: 1 })
  })

  it('cannot be rolled back by failures that no device signed', () => {
    giveKeys()
    world.start('kws-2')
    world.hours(1)
    const forged = world.fleet.map((_, i) => says(i, 'install-failed', 1, keys[(i + 1) % DEVICES]!.sign))
    ingestInto(world.store, batchOf({ events: forged }), attestedBy)
    world.tick()
    expect(evidence().installs.failed).toBe(0)
    expect(world.store.rollouts.allOpen()[0]).toMatchObject({ state: 'running' })
  })

  it('counts each device once by its own word, however often it is repeated and by whichever way', () => {
    giveKeys()
    world.start('kws-2')
    world.hours(2)
    const rollout = world.store.rollouts.allOpen()[0]!
    const exposed = world.store.rollouts.devices(rollout.id).filter(({ stage }) => stage !== null)
    const indexOf = (id: number) => world.fleet.findIndex(({ name }) => world.store.devices.byName(name)!.id === id)
    const first = indexOf(exposed[0]!.device)
    // Heard since they were told.
    world.clock.advanceTo(world.clock.wallMs() + 60_000)
    const rows = [says(first, 'install-started', 1), says(first, 'install-confirmed', 2)]
    for (let i = 0; i < 3; i++) ingestInto(world.store, batchOf({ events: rows }), attestedBy)
    expect(evidence().exposure.installed).toBe(1)
    expect(evidence().installs).toEqual({ started: 1, failed: 0, refused: 0 })
    ingestInto(world.store, batchOf({ events: [says(first, 'reverted', 3)] }), attestedBy)
    expect(evidence().installs.failed).toBe(1)
    expect(world.store.rollouts.attestable(rollout.id)).toBe(exposed.length)
    expect(HOUR).toBeGreaterThan(0)
  })

  /** The devices of the first stage, by their number in the fleet. */
  const exposed = (): readonly number[] => {
    const { id } = world.store.rollouts.allOpen()[0]!
    const devices = world.store.rollouts.devices(id).filter(({ stage }) => stage !== null)
    return devices.map(({ device }) =>
      world.fleet.findIndex(({ name }) => world.store.devices.byName(name)!.id === device),
    )
  }
  const hear = (...events: EventRow[]): void => {
    world.store.telemetry.ingest(batchOf({ events }), attestedBy)
  }
  /** A rollout of kws-2 that has told its first stage. */
  const begun = (): readonly number[] => {
    world.start('kws-2')
    world.hours(2)
    return exposed()
  }
  const takenBackAndBegunAgain = (): readonly number[] => {
    const first = world.store.rollouts.allOpen()[0]!
    world.engine.rollback(first.id, 'tester', 'test')
    world.hours(2)
    world.store.models.setState(world.store.models.byName('kws-2')!, 'staging', 'tester', 'test', world.clock.wallMs())
    return begun()
  }

  it('does not count for a second rollout what was signed in the first, which the gateway has let nobody take back', () => {
    giveKeys()
    const first = begun()
    hear(...first.flatMap((i) => [says(i, 'install-started', 1), says(i, 'install-confirmed', 2)]))
    expect(evidence().exposure.installed).toBe(first.length)
    // All go back to kws-1, and what they sign of that is kept back. What they signed before is brought again.
    const kept = first.map((i) => says(i, 'booted', 3))
    const second = takenBackAndBegunAgain()
    expect(second.some((i) => first.includes(i))).toBe(true)
    hear(...kept)
    expect(evidence().exposure.installed).toBe(0)
    expect(evidence().installs).toEqual({ started: 0, failed: 0, refused: 0 })
    world.hours(12)
    hear(...kept)
    expect(evidence().counted.canary[0]).toBe(0)
    // Their word since then counts, and the one that says that nothing had to be installed.
    const [a, b] = second as [number, number]
    hear(says(a, 'install-confirmed', 4), says(b, 'already-installed', 4))
    expect(evidence().exposure.installed).toBe(2)
  })

  it('does not blame a second rollout for failures of the first', () => {
    giveKeys()
    const first = begun()
    const kept = first.map((i) => says(i, 'reverted', 1))
    takenBackAndBegunAgain()
    hear(...kept)
    expect(evidence().installs.failed).toBe(0)
  })

  it('counts no word of an image on trial, and none of a device that does not say what it is about', () => {
    giveKeys()
    const [a, b] = begun() as [number, number]
    hear(says(a, 'booted', 1, keys[a]!.sign, world.store.assignments.lastSeq(idOf(a)), { detail: 'slot 1, trial' }))
    hear(says(b, 'install-confirmed', 1, keys[b]!.sign, null))
    expect(evidence().exposure.installed).toBe(0)
    hear(says(a, 'install-confirmed', 2), says(b, 'install-confirmed', 2))
    expect(evidence().exposure.installed).toBe(2)
  })

  it('counts failures from before a pause, and no install of a device that was told to stay meanwhile', () => {
    giveKeys()
    const [a] = begun() as [number]
    const { id } = world.store.rollouts.allOpen()[0]!
    const before = world.store.assignments.lastSeq(idOf(a))
    hear(says(a, 'install-failed', 1), says(a, 'install-confirmed', 2))
    // By the reports it has not installed it.
    const device = world.fleet[a]!
    device.reboot(SHA['kws-1'].slice(0, 16), world.clock.wallMs())
    world.store.telemetry.ingest(batchOf({ reports: [device.report()] }), attestedBy)
    world.engine.pause(id, 'tester', 'test')
    while (world.assigner.signSlice().more);
    world.engine.resume(id, 'tester', 'test')
    while (world.assigner.signSlice().more);
    expect(world.store.assignments.lastSeq(idOf(a))).toBe(before + 2)
    expect(evidence().installs.failed).toBe(1)
    expect(evidence().exposure.installed).toBe(0)
  })
})
