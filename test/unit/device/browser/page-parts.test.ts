import { describe, expect, it } from 'vitest'
import { BatteryPage } from '../../../../device/browser/battery-page.ts'
import { readSettings } from '../../../../device/browser/page-settings.ts'
import { BANDS, createSpectrogram } from '../../../../device/browser/spectrogram.ts'

describe('what a page remembers', () => {
  const first = readSettings(undefined)

  it('comes back as it was', () => {
    const kept = { ...first, board: 'xG24', radio: 'ble-1m', level: 'lite', engine: 'tiny', days: 2.5, site: 'lab' }
    const all = { ...kept, power: { kind: 'cell', capacityMj: 5_000 }, device: 'wren-1', token: 'x.y' }
    expect(readSettings(JSON.parse(JSON.stringify(all)))).toEqual(all)
  })

  it('is as at first where it makes no sense', () => {
    const nonsense = {
      board: 'toaster',
      radio: 7,
      level: 'hibernate',
      engine: null,
      days: -1,
      power: { kind: 'sun' },
      token: {},
    }
    expect(readSettings(nonsense)).toEqual(first)
    for (const value of [null, 3, 'x', []]) expect(readSettings(value)).toEqual(first)
  })

  it('is read from the fields of the form, joule as millijoule', () => {
    const form = { board: 'NUCLEO-U385RG', power: 'cell', joule: '12.5', days: '0.5', device: ' wren-1 ' }
    expect(readSettings(form)).toMatchObject({
      ...{ board: 'NUCLEO-U385RG', power: { kind: 'cell', capacityMj: 12_500 }, days: 0.5, device: 'wren-1' },
    })
  })
})

describe('the supply of a page', () => {
  it('on mains never ends and has no share', () => {
    const mains = new BatteryPage({ kind: 'mains' })
    mains.spent(1e9)
    expect([mains.remainingMj(), mains.share]).toEqual([Number.POSITIVE_INFINITY, undefined])
  })

  it('of a cell falls by what is spent, to nothing', () => {
    const cell = new BatteryPage({ kind: 'cell', capacityMj: 1_000 })
    cell.spent(100)
    cell.spent(150)
    expect([cell.remainingMj(), cell.share]).toEqual([750, 0.75])
    cell.spent(2_000)
    expect(cell.remainingMj()).toBe(0)
  })

  it('of a machine is its charge as that of the cell, whatever is spent; full while nobody says', () => {
    const gauge = new BatteryPage({ kind: 'gauge', capacityMj: 1_000 })
    gauge.spent(900)
    expect(gauge.remainingMj()).toBe(1_000)
    gauge.gauge(0.4)
    expect(gauge.remainingMj()).toBe(400)
    gauge.gauge(7)
    expect(gauge.share).toBe(1)
  })
})

describe('the spectrogram', () => {
  const tone = (hz: number, rate: number) =>
    Float32Array.from({ length: rate }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / rate))
  const brightest = (column: Uint8Array) => column.indexOf(Math.max(...column))

  it.each([8_000, 16_000, 44_100])(
    'of %i Hz has a column every 20 ms, brighter higher up for a higher tone',
    (rate) => {
      const bands = [300, 1_000, 3_000].map((hz) => {
        const columns = createSpectrogram(rate)(tone(hz, rate))
        expect(columns.length / BANDS).toBeCloseTo(50, -1)
        return brightest(columns.subarray(20 * BANDS, 21 * BANDS))
      })
      expect(bands).toEqual([...bands].sort((a, b) => a - b))
      expect(new Set(bands).size).toBe(3)
    },
  )

  it('is dark in silence, and the same whatever stretches it comes in', () => {
    expect(createSpectrogram(16_000)(new Float32Array(16_000)).every((value) => value === 0)).toBe(true)
    const sound = tone(700, 16_000)
    const inPieces = createSpectrogram(16_000)
    const pieces: number[] = []
    for (let at = 0; at < sound.length; at += 333) pieces.push(...inPieces(sound.subarray(at, at + 333)))
    expect(Uint8Array.from(pieces)).toEqual(createSpectrogram(16_000)(sound))
  })
})
