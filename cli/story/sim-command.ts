import { Command } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { integerOption, numberOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import type { BatteryFlags } from './sim-battery.ts'

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
    .option('--json', 'print both results as one JSON object')
    .action(async (flags: BatteryFlags) => (await import('./sim-battery.ts')).simulateBatteries(flags, real))
  return sim
}
