import { type Command, InvalidArgumentError, Option } from 'commander'
import { BOARDS } from '../../model/boards.ts'
import { CA_WORDS, type CloudFlags, withCloud } from '../cloud-option.ts'
import { familyOption } from '../family-option.ts'
import { idOption } from '../id-option.ts'
import { integerOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import type { ListFlags } from './device-fleet.ts'
import type { ClaimFlags } from './device-identity.ts'

/** the cloud's bound: ten years */
const SILENT_HOURS_MAX = 87_600

/** Adds what an operator and a device do about identity to `kinglet device`. */
export function identityCommands(device: Command): void {
  withCloud(device.command('claim'))
    .description('make a one-time claim with which one device enrols itself (operator)')
    .requiredOption('--site <ID>', 'site of the device')
    .addOption(new Option('--board <NAME>', 'its board').choices(BOARDS.map(({ name }) => name)).makeOptionMandatory())
    .option('--device <ID>', 'its name (default: a new one)')
    .option('--model <NAME>', 'release that it comes with (default: the production model of its family)')
    .option(
      '--family <NAME>',
      'model family that it is to follow (default: what it follows, or that of --model, or the only one there is)',
      familyOption,
    )
    .option('--ttl-hours <H>', 'how long the claim may wait for the device', integerOption(1, 744), 24)
    .option('--replace', 'the device has a key, and this claim is to replace it')
    .requiredOption('-o, --out <FILE>', 'where to write the claim; a secret')
    .action(async (flags: CloudFlags & ClaimFlags) => (await import('./device-identity.ts')).claim(flags))

  device
    .command('enroll')
    .description('make this device’s key in its flash and enrol it with a claim (on the device)')
    .requiredOption('--flash <FILE>', 'flash image; made with the bundle as its image when it is new')
    .requiredOption('--claim-file <FILE>', 'claim from "kinglet device claim"')
    .requiredOption('--cloud <URL>', 'address of the cloud, or http:// and the WebSocket port of a gateway')
    .option('--ca <FILE>', CA_WORDS)
    .option('--bundle <FILE>', 'factory image of a new flash', zooFile('bundles', 'kws-2.kinglet'))
    .action(async (flags: { flash: string; claimFile: string; cloud: string; bundle: string }) =>
      (await import('./device-identity.ts')).enroll(flags),
    )

  device
    .command('rotate-key')
    .description(
      'replace this device’s key by a new one that the old one vouches for (on the device, while it is not running)',
    )
    .requiredOption('--flash <FILE>', 'flash image')
    .requiredOption('--cloud <URL>', 'address of the cloud, or http:// and the WebSocket port of a gateway')
    .option('--ca <FILE>', CA_WORDS)
    .action(async (flags: { flash: string; cloud: string }) => (await import('./device-identity.ts')).rotateKey(flags))

  withCloud(device.command('list'))
    .description('devices: what each runs and is to run, when it was heard, level and battery')
    .argument(
      '[QUERY...]',
      "which, as 'site:berlin board:*u5* !tag:beta battery<30 silent>2d group:cellar': all hold at once; a comma: one is enough; !: must not hold",
    )
    .option('--site <ID>', 'of this site', idOption)
    .option('--board <NAME>', 'with this board')
    .option('--family <NAME>', 'that follow this model family', familyOption)
    .option('--model <NAME>', 'that run this release')
    .option('--tag <TEXT>', 'with this tag')
    .option('--silent <TIME>', 'not heard for this long, as 36h or 2d', silentOption)
    .option('--json', 'as JSON lines')
    .addOption(new Option('--csv', 'as CSV, RFC 4180, with a line of names').conflicts('json'))
    .option('--count', 'only how many')
    .action(async (query: string[], flags: ListFlags) =>
      (await import('./device-fleet.ts')).listDevices(query.join(' '), flags),
    )

  withCloud(device.command('show'))
    .description('all that is known of a device, and why it does not run another model')
    .argument('<ID>', 'device')
    .option('--json', 'as JSON')
    .action(async (id: string, flags: CloudFlags & { json?: boolean }) =>
      (await import('./device-fleet.ts')).showDevice(id, flags),
    )

  withCloud(device.command('events'))
    .description('events of a device, newest first: installs, reverts, failures with their codes')
    .argument('<ID>', 'device')
    .option('--code <CODE>', 'only these, for example install-failed')
    .option('--limit <N>', 'how many', integerOption(1, 100_000), 50)
    .option('--json', 'as JSON lines')
    .action(async (id: string, flags: CloudFlags & { json?: boolean; code?: string; limit: number }) =>
      (await import('./device-fleet.ts')).listEvents(id, flags),
    )

  withCloud(device.command('revoke'))
    .description('end a device’s keys and tokens; a new claim brings it back')
    .argument('<ID>', 'device')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (id: string, flags: CloudFlags & { reason: string }) =>
      (await import('./device-identity.ts')).revoke(id, flags),
    )

  withCloud(device.command('retarget'))
    .description('give a device a model that no rollout moves, or let it follow production again')
    .argument('<ID>', 'device')
    .option('--model <NAME>', 'this model, until told otherwise')
    .option('--production', 'the production model of its family and board, and what rollouts make of it')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (id: string, flags: CloudFlags & { model?: string; production?: boolean; reason: string }) =>
      (await import('./device-identity.ts')).retarget(id, flags),
    )

  withCloud(device.command('move-family'))
    .description(
      'have a device follow another model family: its production model on the device’s board; refused while a rollout has it',
    )
    .argument('<ID>', 'device')
    .requiredOption('--family <NAME>', 'the family to follow', familyOption)
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (id: string, flags: CloudFlags & { family: string; reason: string }) =>
      (await import('./device-identity.ts')).moveFamily(id, flags),
    )

  withCloud(device.command('remove'))
    .description(
      'take a device out of the fleet: keys, tokens, assignment, rollouts; its name may be enrolled again, as a new device',
    )
    .argument('<ID>', 'device')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .option('--erase', 'erase its reports, events and all other rows too (default: they are kept for their age)')
    .action(async (id: string, flags: CloudFlags & { reason: string; erase?: boolean }) =>
      (await import('./device-identity.ts')).remove(id, flags),
    )

  withCloud(device.command('window'))
    .description(
      'set the hours in which a device, or all of a site, may download updates; agents older than this field refuse such assignments',
    )
    .argument('<WINDOW>', 'a zone and two times, as "Europe/Berlin 02:00-05:00", or "none"')
    .option('--device <ID>', 'this device', idOption)
    .option('--site <ID>', 'the devices of this site that have none of their own', idOption)
    .action(async (window: string, flags: CloudFlags & { device?: string; site?: string }) =>
      (await import('./device-identity.ts')).setWindow(window, flags),
    )
}

/** Parser of a time as 36h or 2d, in hours. */
function silentOption(text: string): number {
  const [, digits = '', unit] = /^([1-9]\d{0,4})([hd])$/.exec(text) ?? []
  const hours = Number(digits) * (unit === 'd' ? 24 : 1)
  if (digits === '' || hours > SILENT_HOURS_MAX) throw new InvalidArgumentError('expected hours or days, as 36h or 2d.')
  return hours
}
