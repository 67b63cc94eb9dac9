import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { gatherEvidence } from '../../../../cloud/rollout/evidence.ts'
import { present } from '../../../../contract/present.ts'
import { CloudWorld } from '../../../fixtures/cloud-world.ts'

describe('what a gate reads', () => {
  let dir: string
  let world: CloudWorld
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'kinglet-evidence-'))
    const usual = { falseWakes: 2, verified: 10 }
    world = new CloudWorld(join(dir, 'cloud.db'), 5, { 'kws-1': usual, 'kws-2': usual, 'kws-bad': usual })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(60)
    world.hours(30)
    expect(world.start('kws-2', [20, 50, 100], { comparison: 'control' })).toMatchObject({ ok: true })
    world.tick()
  })
  afterEach(() => {
    world.store.close()
    rmSync(dir, { recursive: true })
  })
  const open = () => present(world.store.rollouts.allOpen()[0], 'the open rollout')
  const rows = () => world.store.rollouts.devices(open().id)
  const evidence = () => gatherEvidence(world.store, open(), world.clock.wallMs())
  const heard = (late: boolean) => rows().filter((row) => row.late === late && row.enteredMs !== null)
  const batch = () => evidence().signals.falseWakesPerHour?.batch

  it('is of devices that were randomised together: who came later is exposed and counts for neither arm', () => {
    world.hours(2)
    world.enrol(60)
    world.hours(8)
    expect(open().stage).toBe(1)
    expect(heard(true).length).toBeGreaterThan(30)
    const { canary, control } = evidence().counted
    expect(canary[1] + control[1]).toBe(heard(false).length)
    expect(batch()?.control.length).toBe(control[0])
    expect(batch()?.canary.length).toBe(12)
  })

  it('who comes later is exposed at the share of the stage that runs, not of one to come', () => {
    world.enrol(60)
    const late = rows().filter((row) => row.late)
    expect(late.length).toBe(60)
    const share = (open().percents[0] ?? 0) / 100
    expect(late.some(({ bucket }) => bucket >= share && bucket < 0.5)).toBe(true)
    for (const { bucket, stage } of late) expect(stage).toBe(bucket < share ? 1 : null)
  })

  it.each([
    [6, 6],
    [5, undefined],
  ])('begins when half of the canaries run the candidate: %i of 12', (installing, compared) => {
    const canaries = rows().filter(({ stage }) => stage === 1)
    expect(canaries.length).toBe(12)
    const held = new Set(canaries.slice(installing).map(({ device }) => device))
    for (const device of world.fleet) {
      const { id } = present(world.store.devices.byName(device.name), 'a device of the fleet')
      // It hears, and takes no assignment.
      if (held.has(id)) device.assignmentSeq = Number.MAX_SAFE_INTEGER
    }
    world.hours(6)
    expect(evidence().counted.canary[1]).toBe(12)
    expect(batch()?.canary.length).toBe(compared)
  })
})
