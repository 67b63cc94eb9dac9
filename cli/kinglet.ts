#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { systemClock } from './clock-system.ts'
import { deviceCommand } from './device-command.ts'
import { CommandFailure } from './failure.ts'
import { keysCommand } from './keys-command.ts'
import { modelCommand } from './model-command.ts'
import { packageRoot } from './package-root.ts'
import { releaseCommand } from './release-command.ts'
import { rolloutCommand } from './rollout-command.ts'
import { cloudCommand, gatewayCommand } from './service-commands.ts'
import { simCommand } from './sim-command.ts'
import { storyCommand } from './story-command.ts'
import { tokenCommand } from './token-command.ts'

/** Entry file: chooses the adapters (the machine's clock, the terminal) and nothing else. */
const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string }

const program = new Command('kinglet')
  .description(
    'Runs quantized models on small devices and updates them over the air, gated on what the fleet measures.',
  )
  .version(version)
  .configureHelp({ sortSubcommands: false })

program.addCommand(storyCommand(systemClock))
program.addCommand(modelCommand(systemClock))
program.addCommand(deviceCommand(systemClock))
program.addCommand(gatewayCommand(systemClock))
program.addCommand(cloudCommand(systemClock))
program.addCommand(tokenCommand())
program.addCommand(keysCommand(systemClock))
program.addCommand(releaseCommand(systemClock))
program.addCommand(rolloutCommand())
program.addCommand(simCommand(systemClock))

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
