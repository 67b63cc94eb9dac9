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
import { batchOf, HOUR } from '../../../fixtures/synthetic-fleet.ts'

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
  const evidence = () => gatherEvidence(world.store, world.store.rollouts.open()!, world.clock.wallMs())
  const says = (index: number, code: EventCode, seq: number, by = keys[index]!.sign): EventRow => {
    const device = world.fleet[index]!.name
    const now = world.clock.wallMs()
    const event = { boot: 900, seq, wallMs: now, code: EVENT_CODES.indexOf(code), model: hexToBytes(candidate) }
    return {
      ...{ site: 'site-1', device, boot: 900, seq, wallMs: now, receivedMs: now, code, model: candidate },
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
    const rollout = world.store.rollouts.open()!
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
    expect(world.store.rollouts.open()).toMatchObject({ state: 'running', stage: 1 })
  })

  it('cannot be rolled back by failures that no device signed', () => {
    giveKeys()
    world.start('kws-2')
    world.hours(1)
    const forged = world.fleet.map((_, i) => says(i, 'install-failed', 1, keys[(i + 1) % DEVICES]!.sign))
    world.store.telemetry.ingest(batchOf({ events: forged }), attestedBy)
    world.engine.tick()
    expect(evidence().installs.failed).toBe(0)
    expect(world.store.rollouts.open()).toMatchObject({ state: 'running' })
  })

  it('counts each device once by its own word, however often it is repeated and by whichever way', () => {
    giveKeys()
    world.start('kws-2')
    world.hours(1)
    const rollout = world.store.rollouts.open()!
    const exposed = world.store.rollouts.devices(rollout.id).filter(({ stage }) => stage !== null)
    const indexOf = (id: number) => world.fleet.findIndex(({ name }) => world.store.devices.byName(name)!.id === id)
    const first = indexOf(exposed[0]!.device)
    // Heard since they were told.
    world.clock.advanceTo(world.clock.wallMs() + 60_000)
    const rows = [says(first, 'install-started', 1), says(first, 'install-confirmed', 2)]
    for (let i = 0; i < 3; i++) world.store.telemetry.ingest(batchOf({ events: rows }), attestedBy)
    world.store.rollouts.noteContact(rollout.id, world.clock.wallMs())
    expect(evidence().exposure.installed).toBe(1)
    expect(evidence().installs).toEqual({ started: 1, failed: 0, refused: 0 })
    world.store.telemetry.ingest(batchOf({ events: [says(first, 'reverted', 3)] }), attestedBy)
    expect(evidence().installs.failed).toBe(1)
    expect(world.store.rollouts.attestable(rollout.id)).toBe(exposed.length)
    expect(HOUR).toBeGreaterThan(0)
  })
})
