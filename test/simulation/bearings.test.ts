import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { bundleEngine } from '../../cli/engines.ts'
import { runBearingTrial } from '../../firmware-sim/bearing-trial.ts'
import { boardNamed } from '../../model/boards.ts'
import { realClock } from './real-clock.ts'

const bundle = new Uint8Array(readFileSync(join(import.meta.dirname, '../../zoo/bundles/bearing-2.kinglet')))
const trial = () =>
  runBearingTrial({
    ...{ bundle, engine: bundleEngine(), real: realClock, board: boardNamed('NUCLEO-U575ZI')!, level: 'lite' },
    ...{ seed: 3, devices: 2, worn: 1, hours: 2, raisedShare: 0 },
  })

it('machines that wear alarm before they are gone, sound ones do not, and the same seed gives the same run', async () => {
  const first = await trial()
  const [worn, sound] = [first.outcomes.filter(({ wears }) => wears), first.outcomes.filter(({ wears }) => !wears)]
  expect([worn.length, sound.length]).toEqual([1, 1])
  for (const { device, alarms, firstAlarmWear } of worn) {
    expect(alarms, device).toBeGreaterThan(0)
    // Half gone is late: what a person would have replaced.
    expect(firstAlarmWear, device).toBeLessThan(0.6)
  }
  for (const { device, alarms, firstAlarmWear } of sound)
    expect([device, alarms, firstAlarmWear]).toEqual([device, 0, null])
  expect(first.wornTakesAlarmed).toBeGreaterThan(0)
  expect(first.wornTakesAlarmed).toBeLessThanOrEqual(first.wornTakes)
  expect(await trial()).toEqual(first)
}, 120_000)
