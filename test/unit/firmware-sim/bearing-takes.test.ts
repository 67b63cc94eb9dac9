import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { SENSOR } from '../../../firmware-sim/bearing.ts'
import { BEARING_SCENES, bearingSenses, bearingTakes } from '../../../firmware-sim/bearing-scene.ts'
import { TAKE_MS } from '../../../firmware-sim/take.ts'

const seeded = () => seededRandom(3)
const spec = (device: string, name = 'pump') => ({ device, scene: { name } })
const drawn = (wear: number, share = 0, device = 'a', count = 60) => {
  const source = bearingTakes(
    seeded(),
    () => wear,
    () => share,
  )(spec(device))
  const random = seededRandom(9)
  return Array.from({ length: count }, () => source.draw(0, random))
}

describe('takes of a bearing', () => {
  it('are of one machine a device, worn as it is at the time, and expect an alarm of it while it runs', () => {
    const worn = drawn(0.52)
    expect(new Set(worn.map(({ machine }) => machine)).size).toBe(1)
    expect(new Set(worn.map(({ running }) => running.wear))).toEqual(new Set([0.5]))
    const standing = worn.filter(({ running }) => running.shaftHz === 0)
    expect(standing.length).toBeGreaterThan(0)
    for (const { expected, running } of worn) expect(expected).toBe(running.shaftHz > 0 ? 'anomaly' : undefined)
    expect(drawn(0.04).every(({ expected }) => expected === undefined)).toBe(true)
    expect(drawn(7)[0]!.running.wear).toBe(1)
  })

  it('are one object for each that differs, and sense the same every time', () => {
    const takes = drawn(0.3)
    expect(new Set(takes).size).toBe(new Set(takes.map(({ key }) => key)).size)
    expect(new Set(takes).size).toBeLessThan(20)
    const [first, other] = [takes[0]!, takes.find((take) => take !== takes[0])!]
    const senses = bearingSenses(seeded())
    expect(senses.render(first)).toEqual(bearingSenses(seeded()).render(first))
    expect(senses.render(first)).not.toEqual(senses.render(other))
    expect(senses.render(first)).toHaveLength((SENSOR.channels * SENSOR.rateHz * TAKE_MS) / 1_000)
  })

  it('are on a floor that shakes in the share of the field in which it does', () => {
    const shaken = (share: number) => drawn(0, share, 'b', 400).filter(({ key }) => key.includes('/raised/')).length
    expect([shaken(0), shaken(1)]).toEqual([0, 400])
    expect(shaken(0.25)).toBeGreaterThan(60)
    expect(shaken(0.25)).toBeLessThan(140)
  })

  it('a place that is not there is said to be wanting', () => {
    expect(() =>
      bearingTakes(
        seeded(),
        () => 0,
        () => 0,
      )(spec('a', 'mill')),
    ).toThrow('the scene mill')
    expect(BEARING_SCENES.map(({ name }) => name)).toEqual(['pump', 'conveyor'])
  })
})
