import { Command, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { integerOption, numberOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import type { StoryFlags } from './story-run.ts'

/** Chosen: each of the three families has devices for a control of its own. */
const FAMILIES_DEVICES = 720

/** `kinglet story` */
export function storyCommand(real: Clock): Command {
  return new Command('story')
    .description('start cloud, gateway and a simulated fleet, and tell the life of updates: good ones and bad ones')
    .addOption(
      new Option(
        '--scenario <NAME>',
        'story: drift, a good and a bad update; quiet: no drift, the same model under a new version; families: three with four rollouts at once, one harmful, one harmful on one board',
      )
        .choices(['story', 'quiet', 'families'])
        .default('story'),
    )
    .option(
      '--devices <N>',
      'simulated devices; the gate needs 30 in each arm (with families: 720)',
      integerOption(160, 5_000),
      240,
    )
    .option('--seed <N>', 'seed of fleet and sounds', integerOption(0, 0xffff_ffff), 1)
    .option(
      '--speed <X>',
      'fleet seconds a real second; time waits when the machine cannot keep up',
      numberOption(60, 36_000),
      3_600,
    )
    .option('--chaos', 'kill -9 the gateway, then the cloud, in mid-rollout')
    .option('--port <N>', 'port of the status page (default: any free one)', integerOption(0, 65_535), 0)
    .option(
      '--bank <DIR>',
      'sounds of the scenes: keyword/<label>, other and noise/<kind> with WAV files',
      zooFile('bank'),
    )
    .option('--data <DIR>', 'keep the data there (default: a temporary folder, removed at the end)')
    .option('--json <FILE>', 'write the closing table as JSON')
    .option('--force', 'replace that file if there is one')
    .action(async (flags: StoryFlags, command: Command) => {
      const isAsked = command.getOptionValueSource('devices') !== 'default'
      const devices = flags.scenario === 'families' && !isAsked ? FAMILIES_DEVICES : flags.devices
      await (await import('./story-run.ts')).runStory({ ...flags, devices }, real)
    })
}
