import type { Clock } from '../../contract/clock.ts'
import { runBatteryTrial } from '../../firmware-sim/battery-trial.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleFile, readBundleFile } from '../open-bundle-file.ts'
import { zooFile } from '../package-root.ts'
import { openSoundBank } from '../sound-bank-folder.ts'

export interface BatteryFlags {
  readonly devices: number
  readonly days: number
  readonly capacity: number
  readonly seed: number
  readonly bundle: string
  readonly dayCelsius?: readonly [low: number, high: number]
  readonly maxCelsius?: number
  readonly json?: boolean
}

/** Runs the same cells with and without the governor and prints how long they lived. */
export async function simulateBatteries(flags: BatteryFlags, real: Clock): Promise<void> {
  const { dayCelsius, maxCelsius } = flags
  if ((dayCelsius === undefined) !== (maxCelsius === undefined)) {
    throw new CommandFailure('--day-celsius and --max-celsius are one limit: give both', { exitCode: 2 })
  }
  const [lowCelsius = 0, highCelsius = 0] = dayCelsius ?? []
  const bank = openSoundBank(zooFile('bank'))
  // Opened once by itself, so that a bad bundle is refused with its file's name.
  await (await openBundleFile(flags.bundle, Number.POSITIVE_INFINITY)).dispose()
  const bundle = readBundleFile(flags.bundle)
  const run = (governed: boolean) =>
    runBatteryTrial(
      {
        ...flags,
        capacityShare: flags.capacity,
        bank,
        bundle,
        engine: bundleEngine(),
        real,
        ...(maxCelsius !== undefined && { heat: { lowCelsius, highCelsius, maxCelsius } }),
        onDay: (_, day, alive) => {
          if (process.stderr.isTTY)
            process.stderr.write(`\r${governed ? 'with' : 'without'} governor: day ${day}, ${alive} alive\x1b[K`)
        },
      },
      governed,
    )
  const results = { governed: await run(true), ungoverned: await run(false) }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (flags.json) {
    console.log(JSON.stringify(results))
    return
  }
  console.log(
    `${flags.devices} devices, batteries of ${Math.round(flags.capacity * 100)} % of the full level, horizon ${flags.days} days${maxCelsius === undefined ? '' : `, ${lowCelsius} to ${highCelsius} °C a day and at most ${maxCelsius}`}; energy is estimated from published figures of the board`,
  )
  for (const [name, result] of [
    ['with governor', results.governed],
    ['without', results.ungoverned],
  ] as const) {
    const levels = Object.entries(result.levelShare)
      .filter(([, share]) => share > 0.005)
      .map(([level, share]) => `${level} ${Math.round(share * 100)} %`)
    console.log(
      `  ${name.padEnd(14)} ${result.reachedHorizon} of ${result.devices} reached the horizon, mean life ${result.meanLifeDays.toFixed(1)} days; ` +
        `${levels.join(', ')}; ${result.ladderMoves} moves; ${Math.round(result.found * 100)} % of keywords found while alive`,
    )
  }
}
