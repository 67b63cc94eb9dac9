import { expect, it } from 'vitest'
import { expectRefusal, kinglet, zooBundle } from './cli-process.ts'

it('sim bearings says when each machine alarms', async () => {
  const { code, stdout, stderr } = await kinglet('sim', 'bearings', '--devices', '2', '--worn', '1', '--hours', '1')
  expect(code, stderr).toBe(0)
  expect(stdout).toMatch(
    /^ {2}pump-1 +wears +\d+ alarms {2}first at a wear of 0\.\d\d\n {2}conveyor-2 +sound +0 alarms {2}never alarmed\n/,
  )
  expect(stdout).toMatch(/1 h of 2 machines at level lite: 1 of 1 that wear alarmed, 0 alarms of 1 sound ones/)
}, 120_000)

it('refuses what cannot be simulated, with the way out', async () => {
  const bearings = (...more: string[]) => kinglet('sim', 'bearings', ...more)
  expectRefusal(
    await bearings('--bundle', zooBundle('kws-2')),
    1,
    /reads audio, these machines shake 3 axes at 3200 Hz/,
  )
  expectRefusal(await bearings('--devices', '2', '--worn', '3'), 2, /--worn 3 of 2 devices/)
  expectRefusal(await bearings('--level', 'gated'), 1, /no ladder level "gated"/)
  const battery = (...more: string[]) => kinglet('sim', 'battery', ...more)
  expectRefusal(await battery('--max-celsius', '50'), 2, /--day-celsius and --max-celsius are one limit/)
  expectRefusal(await battery('--day-celsius', '70:20', '--max-celsius', '50'), 2, /expected LOW:HIGH/)
  const run = (...more: string[]) => kinglet('device', 'run', '--audio', 'scene:office:10', ...more)
  expectRefusal(await run('--max-celsius', '50'), 2, /--thermometer and --max-celsius are one limit/)
  expectRefusal(
    await run('--max-celsius', '50', '--thermometer', 'temp'),
    2,
    /--thermometer, --max-celsius without --gateway/,
  )
}, 120_000)
