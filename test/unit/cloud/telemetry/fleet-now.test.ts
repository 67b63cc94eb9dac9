import { describe, expect, it } from 'vitest'
import { type FleetNow, FleetNowBeside } from '../../../../cloud/telemetry/fleet-now.ts'
import { ManualClock } from '../../../fixtures/cloud-world.ts'

const nowOf = (devices: number): FleetNow => ({
  present: { devices, batteryPermille: null, models: {}, levels: [] },
  count: { known: devices, enrolled: devices, unkeyed: 0 },
})

describe('figures of a large fleet', () => {
  it('are read once for all who ask, told for some seconds, told while they are read again, and waited for when they are old', async () => {
    const clock = new ManualClock()
    const open: ((now: FleetNow) => void)[] = []
    const beside = new FleetNowBeside(() => new Promise((resolve) => open.push(resolve)), clock)
    const first = [beside.of(undefined), beside.of(undefined)]
    expect(open.length).toBe(1)
    open[0]?.(nowOf(1))
    expect(await Promise.all(first)).toEqual([nowOf(1), nowOf(1)])
    clock.advanceTo(clock.wallMs() + 4_999)
    expect(await beside.of(undefined)).toEqual(nowOf(1))
    expect(open.length).toBe(1)
    clock.advanceTo(clock.wallMs() + 1)
    expect(await beside.of(undefined)).toEqual(nowOf(1))
    expect(open.length).toBe(2)
    open[1]?.(nowOf(2))
    await new Promise((resolve) => setImmediate(resolve))
    clock.advanceTo(clock.wallMs() + 60_001)
    const old = beside.of(undefined)
    expect(open.length).toBe(3)
    open[2]?.(nowOf(3))
    expect(await old).toEqual(nowOf(3))
    void beside.of('bearing')
    expect(open.length).toBe(4)
  })

  it('that could not be read are read again by who asks next', async () => {
    let fails = true
    const beside = new FleetNowBeside(async () => {
      if (fails) throw new Error('no disk')
      return nowOf(5)
    }, new ManualClock())
    await expect(beside.of(undefined)).rejects.toThrow('no disk')
    fails = false
    expect(await beside.of(undefined)).toEqual(nowOf(5))
  })
})
