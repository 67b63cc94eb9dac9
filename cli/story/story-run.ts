import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../contract/clock.ts'
import { present } from '../../contract/present.ts'
import { OutputFile } from '../output-file.ts'
import { secureRandom } from '../random-secure.ts'
import { tellStory } from './story.ts'
import { resultLines } from './story-result.ts'
import { ServiceFailure } from './supervisor.ts'

export interface StoryFlags {
  readonly scenario: 'story' | 'quiet' | 'families'
  readonly devices: number
  readonly seed: number
  readonly speed: number
  readonly chaos?: boolean
  readonly port: number
  readonly bank: string
  readonly data?: string
  readonly json?: string
  readonly force?: boolean
}

/** Chosen: somebody who waits looks for a sign of life after this. */
const SILENCE_MS_MAX = 5_000

/** Tells the story on the terminal, and serves the status page until it is interrupted. */
export async function runStory(flags: StoryFlags, real: Clock): Promise<void> {
  // Two minutes of story must not end in a file that cannot be written.
  if (flags.json !== undefined) OutputFile.check(flags.json, flags.force === true)
  const dir = flags.data ?? mkdtempSync(join(tmpdir(), 'kinglet-'))
  const terminal = process.stdout.isTTY === true
  const from = real.monotonicMs()
  let statusShown = ''
  const clear = () => {
    if (terminal && statusShown !== '') process.stdout.write('\r\x1b[K')
  }
  let saidMs = from
  const stamped = (line: string) => {
    saidMs = real.monotonicMs()
    return `${((saidMs - from) / 1000).toFixed(0).padStart(4)} s  ${line}`
  }
  const say = (line: string) => {
    clear()
    console.log(stamped(line))
    if (statusShown !== '' && terminal) process.stdout.write(statusShown)
  }
  // Without a terminal a line now and then shows how far the run is.
  let quietSinceMs = from
  const status = (line: string) => {
    if (line === '' || line === statusShown) return
    saidMs = real.monotonicMs()
    if (terminal) {
      statusShown = line.slice(0, (process.stdout.columns ?? 100) - 1)
      process.stdout.write(`\r${statusShown}\x1b[K`)
    } else if (real.monotonicMs() - quietSinceMs > 10_000) {
      quietSinceMs = real.monotonicMs()
      say(line)
    }
  }
  // On a terminal in place; else on standard error, so that whoever keeps the output keeps what happened.
  let current = (): string => ''
  const show = () => {
    if (terminal) status(`… ${current()}`)
    else console.error(stamped(`… ${current()}`))
  }
  const doing = (what: string | (() => string)) => {
    current = typeof what === 'string' ? () => what : what
    show()
  }
  const repeat = () => {
    if (real.monotonicMs() - saidMs >= SILENCE_MS_MAX && current() !== '') show()
    stopRepeating = real.after(1_000, repeat)
  }
  let stopRepeating = real.after(1_000, repeat)
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
    doing,
    status,
  })
  const removeData = () => {
    if (flags.data === undefined) rmSync(dir, { recursive: true, force: true })
  }
  let told: Awaited<typeof telling> | 'interrupted'
  try {
    told = await Promise.race([telling, interrupted])
  } catch (error) {
    // The log of a service that ended says why.
    if (!(error instanceof ServiceFailure)) removeData()
    throw error
  } finally {
    stopRepeating()
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
  if (flags.json !== undefined) {
    const text = `${JSON.stringify(result, null, 2)}\n`
    OutputFile.write(flags.json, new TextEncoder().encode(text), flags.force === true)
  }
  if (terminal) {
    console.log(`status page ${told.pageUrl} – Ctrl-C ends`)
    await interrupted
  }
  await told.close()
  removeData()
  process.exitCode = result.ok ? 0 : 1
}
