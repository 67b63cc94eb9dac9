import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { rowTime } from '../../../../cloud/store/telemetry-store.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { batchOf, HOUR, SyntheticDevice, T0 } from '../../../fixtures/synthetic-fleet.ts'

const OLD = 'aaaaaaaaaaaaaaaa'
const NEW = 'bbbbbbbbbbbbbbbb'

describe('outcomes of a window', () => {
  let store: Store
  beforeEach(() => {
    store = new Store(':memory:', T0)
  })
  afterEach(() => store.close())

  const feed = (device: SyntheticDevice, toHour: number, falseWakes = 4): void => {
    store.telemetry.ingest(batchOf(device.live(T0 + toHour * HOUR, { falseWakes, verified: 1 })), attestedBy)
  }

  it('counts exactly the full hours of the window for a device that reports at an odd minute', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(1))
    feed(device, 30)
    const id = store.devices.byName('d')!.id
    const { listeningHours, falseWakes, verifiedWakes } = store.outcomes.window(id, OLD, T0 + 10 * HOUR, T0 + 20 * HOUR)
    expect(listeningHours).toBeCloseTo(10, 9)
    const truth = [...device.hours].filter(([hour]) => hour >= T0 + 10 * HOUR && hour < T0 + 20 * HOUR)
    expect(falseWakes).toBe(truth.reduce((sum, [, row]) => sum + row.rejected, 0))
    expect(verifiedWakes).toBe(truth.reduce((sum, [, row]) => sum + row.confirmed, 0))
  })

  it('a boot that begins in the window counts from its first moment, one of another model not at all', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(2))
    feed(device, 12)
    device.reboot(NEW, T0 + 12.25 * HOUR)
    feed(device, 22)
    const id = store.devices.byName('d')!.id
    const window = store.outcomes.window(id, NEW, T0 + 10 * HOUR, T0 + 20 * HOUR)
    expect(window.listeningHours).toBeCloseTo(7.75, 9)
    const truth = [...device.hours].filter(([hour]) => hour < T0 + 20 * HOUR)
    expect(window.falseWakes).toBe(truth.reduce((sum, [, row]) => sum + row.rejected, 0))
    expect(store.outcomes.firstStart(id, NEW, T0)).toBe(T0 + 12.25 * HOUR)
    expect(store.outcomes.firstStart(id, NEW, T0 + 13 * HOUR)).toBeUndefined()
  })

  it('stops at the last full hour before the last report: silence distorts nothing', () => {
    const device = new SyntheticDevice('d', OLD, T0, seededRandom(3))
    feed(device, 8)
    const id = store.devices.byName('d')!.id
    const window = store.outcomes.window(id, OLD, T0, T0 + 20 * HOUR)
    expect(window.listeningHours).toBeCloseTo(Math.floor((device.atMs - T0) / HOUR), 9)
  })

  it('a device clock is believed where it is plausible', () => {
    const received = T0
    expect(rowTime(T0 - 5 * HOUR, received)).toBe(T0 - 5 * HOUR)
    expect(rowTime(0, received)).toBe(received)
    expect(rowTime(T0 + 10 * HOUR, received)).toBe(received)
    expect(rowTime(T0 - 400 * 24 * HOUR, received)).toBe(received)
  })
})
