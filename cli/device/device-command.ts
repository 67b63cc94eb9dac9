import { Command, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { LADDER_LEVELS, type LadderLevel } from '../../contract/ladder-levels.ts'
import { RADIOS } from '../../device/core/power/energy.ts'
import type { UpdateWindow } from '../../device/core/update/update-schedule.ts'
import { BOARDS } from '../../model/boards.ts'
import { CA_WORDS } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { integerOption, numberOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import { identityCommands } from './device-identity-command.ts'
import type { PageFlags } from './device-page.ts'
import { updateWindowOption } from './update-window-option.ts'

interface RunFlags {
  readonly input?: string
  readonly audio?: string
  readonly bundle: string
  readonly board: string
  readonly radio: string
  readonly level: LadderLevel
  readonly json?: boolean
  readonly gateway?: string
  readonly site?: string
  readonly device?: string
  readonly tokenFile?: string
  readonly cloud?: string
  readonly tlsCa?: string
  readonly tlsCert?: string
  readonly tlsKey?: string
  readonly trust?: string
  readonly flash?: string
  readonly updateWindow?: UpdateWindow
  readonly thermometer?: string
  readonly maxCelsius?: number
  readonly clock?: string
}

/** Options that mean nothing without a gateway. */
const CONNECTED_ONLY = [
  ...([
    'site',
    'device',
    'tokenFile',
    'cloud',
    'trust',
    'flash',
    'updateWindow',
    'clock',
    'thermometer',
    'maxCelsius',
  ] as const),
  ...(['tlsCa', 'tlsCert', 'tlsKey'] as const),
]

/** `kinglet device …` */
export function deviceCommand(clock: Clock): Command {
  const device = new Command('device').description('run the agent that ships on devices')
  device
    .command('run')
    .description('listen, or feel, and print wakes and alarms; with --gateway also report and take updates')
    .option(
      '--audio <PATH>',
      'a WAV file, a folder of WAV files, or scene:NAME[:raised][:SECONDS]; with --gateway also - for standard input',
    )
    .option(
      '--input <PATH>',
      'the same of whatever the bundle reads: of vectors .csv, .jsonl or .f32 at its rate, or scene:pump[:raised][:wear=0.5][:SECONDS]; of pictures .raw, .pgm or .ppm of its size',
    )
    .option(
      '--bundle <FILE>',
      'model bundle to run (the factory image when --flash is new)',
      zooFile('bundles', 'kws-2.kinglet'),
    )
    .addOption(
      new Option('--board <NAME>', 'board whose memory, speed and energy count')
        .choices(BOARDS.map(({ name }) => name))
        .default('NUCLEO-U575ZI'),
    )
    .addOption(
      new Option('--radio <NAME>', 'radio whose energy counts').choices(RADIOS.map(({ name }) => name)).default('wifi'),
    )
    .addOption(
      new Option('--level <LEVEL>', 'ladder level')
        .choices(LADDER_LEVELS.filter((level) => level !== 'hibernate'))
        .default('full'),
    )
    .option('--json', 'print wakes and the summary as JSON lines')
    .option(
      '--gateway <URL>',
      'mqtt:// or ws:// address of a gateway, mqtts:// or wss:// over TLS; stays connected until Ctrl-C',
    )
    .option(
      '--cloud <URL>',
      'where an enrolled device gets its tokens: the cloud, or http:// and the WebSocket port of a gateway (with --gateway)',
    )
    .option('--token-file <FILE>', 'file with a long token, in place of --cloud (with --gateway)')
    .option('--site <ID>', 'site of this device, if it is not enrolled (with --gateway)')
    .option('--device <ID>', 'id of this device, if it is not enrolled (with --gateway)')
    .option('--tls-ca <FILE>', 'authority of the gateway’s certificate, PEM (with --gateway)')
    .option('--tls-cert <FILE>', 'certificate of this device, PEM (with --gateway)')
    .option('--tls-key <FILE>', 'key of that certificate, PEM (with --gateway)')
    .option('--trust <FILE>', 'root of the image repository, metadata/1.root.json of its folder (with --gateway)')
    .option('--flash <FILE>', 'flash image that survives restarts (with --gateway)')
    .option(
      '--update-window <HOURS>',
      'hours of the day in which updates are downloaded, 22-6 in UTC or 22-6+02:00 (with --gateway; default: any)',
      updateWindowOption,
    )
    .option(
      '--thermometer <FILE>',
      'file with 1/1000 °C, such as /sys/class/thermal/thermal_zone0/temp (with --gateway and --max-celsius)',
    )
    .option(
      '--max-celsius <N>',
      'step down the ladder above it, and up again 5 °C below (with --thermometer)',
      numberOption(-40, 150),
    )
    .option('--clock <FILE>', 'clock file of a simulation (with --gateway; default: this machine’s clock)')
    .action(async (flags: RunFlags) => {
      if (flags.audio !== undefined && flags.input !== undefined) {
        throw new CommandFailure('--audio and --input are two inputs', { hint: 'give one', exitCode: 2 })
      }
      const input = flags.input ?? flags.audio
      if ((flags.thermometer === undefined) !== (flags.maxCelsius === undefined)) {
        throw new CommandFailure('--thermometer and --max-celsius are one limit: give both', { exitCode: 2 })
      }
      if (flags.gateway !== undefined) {
        const { runConnected } = await import('./device-connected.ts')
        const { serviceClock } = await import('../service-clock.ts')
        return runConnected(
          { ...required(flags), input, gateway: flags.gateway },
          serviceClock(clock, flags.clock),
          clock,
        )
      }
      const idle = CONNECTED_ONLY.filter((name) => flags[name] !== undefined)
      if (idle.length > 0) {
        const names = idle.map((name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`)
        throw new CommandFailure(`${names.join(', ')} without --gateway`, {
          hint: 'give --gateway URL to connect, or leave them out to listen here only',
          exitCode: 2,
        })
      }
      if (input === undefined) {
        throw new CommandFailure('nothing to listen to', {
          hint: 'give --audio FILE, --audio DIR or --audio scene:office, --input of what else the bundle reads, or --gateway URL to serve one',
          exitCode: 2,
        })
      }
      const { runOnInput } = await import('./device-run.ts')
      await runOnInput({ ...flags, input, json: flags.json === true }, clock)
    })
  device
    .command('page')
    .description(
      'serve a page on this machine in which the same agent runs: microphone or file, flash in the browser, updates live',
    )
    .option('--port <N>', 'port of the page', integerOption(0, 65_535), 8_090)
    .option('--gateway <URL>', 'ws:// or wss:// address of a gateway; without one the page runs by itself')
    .option(
      '--trust <FILE>',
      'root of the image repository, metadata/1.root.json of its folder; without it no update is believed',
    )
    .option('--bundle <FILE>', 'factory image of a new flash', zooFile('bundles', 'kws-2.kinglet'))
    .option('--ca <FILE>', CA_WORDS)
    .action(async (flags: PageFlags) => (await import('./device-page.ts')).servePage(flags))
  identityCommands(device)
  return device
}

function required(flags: RunFlags) {
  const { site, device, tokenFile, cloud, trust, flash } = flags
  const imported = tokenFile !== undefined && site !== undefined && device !== undefined
  if (trust === undefined || flash === undefined || (imported ? cloud !== undefined : cloud === undefined)) {
    throw new CommandFailure('--gateway needs --trust and --flash, and --cloud or --site, --device and --token-file', {
      hint: '--cloud for a device that is enrolled in its flash, --token-file for one that was given a long token',
      exitCode: 2,
    })
  }
  return { ...flags, trust, flash }
}
