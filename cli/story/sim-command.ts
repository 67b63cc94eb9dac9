import { Command, InvalidArgumentError, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { BOARDS } from '../../model/boards.ts'
import { integerOption, numberOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import type { BatteryFlags } from './sim-battery.ts'
import type { BearingFlags } from './sim-bearings.ts'

function celsiusRange(text: string): readonly [number, number] {
  const [low = Number.NaN, high = Number.NaN, ...rest] = text
    .split(':')
    .map((part) => (part === '' ? Number.NaN : Number(part)))
  if (rest.length > 0 || !(low <= high && low >= -60 && high <= 150)) {
    throw new InvalidArgumentError('expected LOW:HIGH from -60 to 150, for example 15:70.')
  }
  return [low, high]
}

/** `kinglet sim …` */
export function simCommand(real: Clock): Command {
  const sim = new Command('sim').description('simulate devices in virtual time, without a network')
  sim
    .command('battery')
    .description('run a fleet with small batteries with and without the governor and compare how long it lives')
    .option('--devices <N>', 'devices', integerOption(1, 10_000), 12)
    .option('--days <N>', 'days the batteries must last', integerOption(1, 365), 14)
    .option('--capacity <SHARE>', 'battery as a share of what the full level takes', numberOption(0.01, 2), 0.4)
    .option('--seed <N>', 'seed of the run', integerOption(0, 0xffff_ffff), 1)
    .option('--bundle <FILE>', 'model bundle', zooFile('bundles', 'kws-2.kinglet'))
    .option('--day-celsius <LOW:HIGH>', 'coldest and warmest of a day (with --max-celsius)', celsiusRange)
    .option(
      '--max-celsius <N>',
      'what the devices may get: above it they step down (with --day-celsius)',
      numberOption(-40, 150),
    )
    .option('--json', 'print both results as one JSON object')
    .action(async (flags: BatteryFlags) => (await import('./sim-battery.ts')).simulateBatteries(flags, real))
  sim
    .command('bearings')
    .description('run machines of which some wear, with the agent on each, and say when each alarms')
    .option('--devices <N>', 'machines, one device each', integerOption(1, 10_000), 4)
    .option(
      '--worn <N>',
      'how many of them wear, from new at the start to gone at the end',
      integerOption(0, 10_000),
      2,
    )
    .option('--hours <N>', 'hours of their time', integerOption(1, 10_000), 6)
    .option(
      '--raised <SHARE>',
      'share of the time in which the floor shakes as in a hall with presses',
      numberOption(0, 1),
      0,
    )
    .option('--seed <N>', 'seed of the run', integerOption(0, 0xffff_ffff), 1)
    .option('--bundle <FILE>', 'model bundle', zooFile('bundles', 'bearing-2.kinglet'))
    .addOption(
      new Option('--board <NAME>', 'board whose memory, speed and energy count')
        .choices(BOARDS.map(({ name }) => name))
        .default('NUCLEO-U575ZI'),
    )
    .addOption(
      new Option('--level <LEVEL>', 'ladder level')
        .choices(LADDER_LEVELS.filter((level) => level !== 'hibernate'))
        .default('lite'),
    )
    .option('--json', 'print the result as one JSON object')
    .action(async (flags: BearingFlags) => (await import('./sim-bearings.ts')).simulateBearings(flags, real))
  return sim
}
