import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import { fileFailure } from '../failure.ts'
import { integerOption, numberOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import { secureRandom } from '../random-secure.ts'
import { tellStory } from './story.ts'
import { resultLines } from './story-result.ts'

interface StoryFlags {
  readonly scenario: 'story' | 'quiet'
  readonly devices: number
  readonly seed: number
  readonly speed: number
  readonly chaos?: boolean
  readonly port: number
  readonly bank: string
  readonly data?: string
  readonly json?: string
}

/** `kinglet story` */
export function storyCommand(real: Clock): Command {
  return new Command('story')
    .description(
      'start cloud, gateway and a simulated fleet, and tell the life of two updates: a good one and a bad one',
    )
    .addOption(
      new Option('--scenario <NAME>', 'story: drift, a good and a bad update; quiet: no drift, a good update')
        .choices(['story', 'quiet'])
        .default('story'),
    )
    .option('--devices <N>', 'simulated devices (the gate needs 30 in each arm)', integerOption(160, 5_000), 240)
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
    .action((flags: StoryFlags) => run(flags, real))
}

async function run(flags: StoryFlags, real: Clock): Promise<void> {
  // Two minutes of story must not end in a file that cannot be written.
  if (flags.json !== undefined) writeOrFail(flags.json, '')
  const dir = flags.data ?? mkdtempSync(join(tmpdir(), 'kinglet-'))
  const terminal = process.stdout.isTTY === true
  const from = real.monotonicMs()
  let statusShown = ''
  const clear = () => {
    if (terminal && statusShown !== '') process.stdout.write('\r\x1b[K')
  }
  const say = (line: string) => {
    clear()
    const seconds = ((real.monotonicMs() - from) / 1000).toFixed(0)
    console.log(`${seconds.padStart(4)} s  ${line}`)
    if (statusShown !== '' && terminal) process.stdout.write(statusShown)
  }
  // Without a terminal a line now and then shows that the run is alive.
  let quietSinceMs = from
  const status = (line: string) => {
    if (line === '' || line === statusShown) return
    if (terminal) {
      statusShown = line.slice(0, (process.stdout.columns ?? 100) - 1)
      process.stdout.write(`\r${statusShown}\x1b[K`)
    } else if (real.monotonicMs() - quietSinceMs > 10_000) {
      quietSinceMs = real.monotonicMs()
      say(line)
    }
  }
  const interrupted = new Promise<'interrupted'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve('interrupted'))
  })
  const telling = tellStory({
    ...flags,
    chaos: flags.chaos === true,
    dir,
    bankDir: flags.bank,
    script: present(process.argv[1], 'the path of the script'),
    real,
    random: secureRandom,
    say,
    status,
  })
  const removeData = () => {
    if (flags.data === undefined) rmSync(dir, { recursive: true, force: true })
  }
  let told: Awaited<typeof telling> | 'interrupted'
  try {
    told = await Promise.race([telling, interrupted])
  } catch (error) {
    removeData()
    throw error
  }
  if (told === 'interrupted') {
    // The services end when the channel to their parent closes.
    removeData()
    process.exit(130)
  }
  statusShown = ''
  clear()
  const { result } = told
  console.log('')
  for (const line of resultLines(result)) console.log(line)
  console.log(result.ok ? '\nthe story held' : '\nthe story did NOT hold')
  if (flags.json !== undefined) writeOrFail(flags.json, `${JSON.stringify(result, null, 2)}\n`)
  if (terminal) {
    console.log(`status page ${told.pageUrl} – Ctrl-C ends`)
    await interrupted
  }
  await told.close()
  removeData()
  process.exitCode = result.ok ? 0 : 1
}

function writeOrFail(path: string, text: string): void {
  try {
    writeFileSync(path, text)
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}
