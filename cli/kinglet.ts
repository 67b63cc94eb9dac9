#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { systemClock } from './clock-system.ts'
import { CommandFailure } from './failure.ts'
import { packageRoot } from './package-root.ts'

/** Entry file: chooses the adapters (the machine's clock, the terminal) and nothing else. */
const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }

const program = new Command('kinglet')
  .description(
    'Runs quantized models on small devices and updates them over the air, gated on what the fleet measures.',
  )
  .version(version)
  .configureHelp({ sortSubcommands: false })

/** A command's file says how it is called and loads what it does when it does it: an engine, a database and a web framework take half a
 *  second that `--help` does not have. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  story: async () => (await import('./story/story-command.ts')).storyCommand(systemClock),
  model: async () => (await import('./model/model-command.ts')).modelCommand(systemClock),
  patch: async () => (await import('./patch/patch-command.ts')).patchCommand(systemClock),
  device: async () => (await import('./device/device-command.ts')).deviceCommand(systemClock),
  gateway: async () => (await import('./services/service-commands.ts')).gatewayCommand(systemClock),
  cloud: async () => (await import('./services/service-commands.ts')).cloudCommand(systemClock),
  token: async () => (await import('./services/token-command.ts')).tokenCommand(),
  group: async () => (await import('./services/group-command.ts')).groupCommand(),
  alert: async () => (await import('./services/alert-command.ts')).alertCommand(),
  incident: async () => (await import('./services/incident-command.ts')).incidentCommand(),
  audit: async () => (await import('./services/audit-command.ts')).auditCommand(),
  keys: async () => (await import('./keys/keys-command.ts')).keysCommand(systemClock),
  release: async () => (await import('./release/release-command.ts')).releaseCommand(systemClock),
  rollout: async () => (await import('./release/rollout-command.ts')).rolloutCommand(),
  gate: async () => (await import('./release/gate-command.ts')).gateCommand(),
  sim: async () => (await import('./story/sim-command.ts')).simCommand(systemClock),
}
/** Whatever talks to a cloud believes the authority that its command names. */
program.hook('preAction', async (_, action) => {
  const { ca } = action.opts<{ ca?: string }>()
  if (ca !== undefined) (await import('./authority.ts')).believeAuthority(ca)
})
// Anything but a command by its name may be a request for help, which names them all.
const asked = Object.entries(commands).filter(([name]) => name === process.argv[2])
for (const [, load] of asked.length > 0 ? asked : Object.entries(commands)) program.addCommand(await load())

/** Commands that are added ready-made do not inherit these from their parent. */
function settle(command: Command): void {
  command.showHelpAfterError('(add --help for what this command takes)').exitOverride()
  for (const below of command.commands) settle(below)
}
settle(program)

// A reader that closes the pipe early (head, jq) is no error of ours.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
}

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
  // What a failed start has opened must not keep a command that is over.
  process.exit()
}

/** @returns the exit code: 1 failure, 2 wrong use, 70 a bug of ours (EX_SOFTWARE) */
function report(error: unknown): number {
  if (error instanceof CommandFailure) {
    console.error(`kinglet: ${error.message}`)
    return error.exitCode
  }
  // Help and version come as errors too, and have been printed.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  console.error(error)
  return 70
}
