import type { Clock } from '../../contract/clock.ts'
import type { LadderLevel } from '../../contract/ladder-levels.ts'
import { present } from '../../contract/present.ts'
import { SENSOR } from '../../firmware-sim/bearing.ts'
import { runBearingTrial } from '../../firmware-sim/bearing-trial.ts'
import { boardNamed } from '../../model/boards.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleForBoard, readBundleFile } from '../open-bundle-file.ts'

export interface BearingFlags {
  readonly devices: number
  readonly worn: number
  readonly hours: number
  readonly raised: number
  readonly seed: number
  readonly bundle: string
  readonly board: string
  readonly level: LadderLevel
  readonly json?: boolean
}

/** Runs machines that wear, and prints when each alarms. */
export async function simulateBearings(flags: BearingFlags, real: Clock): Promise<void> {
  if (flags.worn > flags.devices) {
    throw new CommandFailure(`--worn ${flags.worn} of ${flags.devices} devices`, {
      hint: 'at most as many as --devices',
      exitCode: 2,
    })
  }
  const board = present(boardNamed(flags.board), 'a board among the choices')
  // Opened once by itself, so that a bad bundle is refused with its file's name.
  const opened = await openBundleForBoard(flags.bundle, board)
  const { input, pipelines, ladder } = opened.manifest
  await opened.dispose()
  if (input.kind !== 'vectors' || input.channels !== SENSOR.channels || input.sampleRateHz !== SENSOR.rateHz) {
    const reads = input.kind === 'vectors' ? `${input.channels} channels at ${input.sampleRateHz} Hz` : input.kind
    throw new CommandFailure(
      `${flags.bundle}: it reads ${reads}, these machines shake ${SENSOR.channels} axes at ${SENSOR.rateHz} Hz`,
    )
  }
  if (!pipelines.some(({ head }) => head.kind === 'anomaly')) {
    throw new CommandFailure(`${flags.bundle}: none of its pipelines alarms`)
  }
  if (!ladder.some(({ level }) => level === flags.level)) {
    throw new CommandFailure(`${flags.bundle} has no ladder level "${flags.level}"`, {
      hint: `its levels are ${ladder.map(({ level }) => level).join(', ')}`,
    })
  }
  const result = await runBearingTrial({
    ...flags,
    ...{ board, raisedShare: flags.raised, bundle: readBundleFile(flags.bundle), engine: bundleEngine(), real },
    onHour: (hour, alarmed) => {
      if (process.stderr.isTTY) process.stderr.write(`\rhour ${hour} of ${flags.hours}, ${alarmed} have alarmed\x1b[K`)
    },
  })
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (flags.json) {
    console.log(JSON.stringify(result))
    return
  }
  const { outcomes, hours } = result
  const worn = outcomes.filter(({ wears }) => wears)
  const sound = outcomes.filter(({ wears }) => !wears)
  for (const { device, wears, alarms, firstAlarmWear } of outcomes) {
    const state = wears ? 'wears' : 'sound'
    const first =
      firstAlarmWear === null ? 'never alarmed' : wears ? `first at a wear of ${firstAlarmWear.toFixed(2)}` : 'falsely'
    console.log(`  ${device.padEnd(12)} ${state}  ${String(alarms).padStart(5)} alarms  ${first}`)
  }
  const sum = (of: readonly { readonly alarms: number }[]) => of.reduce((total, { alarms }) => total + alarms, 0)
  const joules = outcomes.reduce((total, { energyMj }) => total + energyMj, 0) / 1_000 / Math.max(1, outcomes.length)
  const found = worn.filter(({ firstAlarmWear }) => firstAlarmWear !== null).length
  console.log(
    `${hours} h of ${outcomes.length} machines at level ${flags.level}: ${found} of ${worn.length} that wear alarmed, ` +
      `${sum(sound)} alarms of ${sound.length} sound ones (${(sum(sound) / Math.max(1, sound.length * hours)).toFixed(3)} an hour each); ` +
      `${joules.toFixed(1)} J each on ${board.name} (an estimate; ${board.source})`,
  )
}
