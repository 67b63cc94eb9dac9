import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { encodeWav, parseWav } from '../../../model/audio/wav.ts'

export const ROOT = join(import.meta.dirname, '../../..')
export const SCRIPT = join(ROOT, 'dist/cli/kinglet.js')
export const zooBundle = (name: string) => join(ROOT, 'zoo/bundles', `${name}.kinglet`)

/** The command as `npm run build` leaves it; `npm test` builds first. */
export function builtScript(): string {
  if (!existsSync(SCRIPT)) throw new Error('the command is not built: run "npm run build" first')
  return SCRIPT
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A `kinglet` process with its output line by line. */
export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  readonly lines: string[] = []
  #stderr = ''
  readonly #watchers = new Set<() => void>()

  constructor(args: readonly string[], cwd?: string) {
    const child = spawn(process.execPath, [builtScript(), ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(cwd !== undefined && { cwd }),
    })
    this.child = child
    let rest = ''
    let stdout = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      const parts = (rest + text).split('\n')
      rest = parts.pop()!
      this.lines.push(...parts)
      for (const watcher of this.#watchers) watcher()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text
    })
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        for (const watcher of this.#watchers) watcher()
        resolve({ code, signal, stdout, stderr: this.#stderr })
      })
    })
  }

  get json(): Record<string, unknown>[] {
    return this.lines.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as Record<string, unknown>] : []))
  }

  /** Waits for a line of JSON; fails with all that was said when the process ends or time is up. */
  async line(what: string, matches: (line: Record<string, unknown>) => boolean, timeoutMs = 40_000) {
    return new Promise<Record<string, unknown>>((resolve, reject) => {
      const settle = (act: () => void) => {
        this.#watchers.delete(look)
        clearTimeout(timer)
        act()
      }
      const fail = (why: string) =>
        settle(() => reject(new Error(`${what}: ${why}\n${this.lines.slice(-30).join('\n')}\n${this.#stderr}`)))
      const look = () => {
        const found = this.json.find(matches)
        if (found !== undefined) settle(() => resolve(found))
        else if (this.child.exitCode !== null) fail(`the process ended with ${this.child.exitCode}`)
      }
      const timer = setTimeout(() => fail(`not within ${timeoutMs} ms`), timeoutMs)
      this.#watchers.add(look)
      look()
    })
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal)
    return this.ended
  }
}

/** Runs a `kinglet` command to its end. */
export const kinglet = (...args: string[]): Promise<Ended> => new Running(args).ended

/** What every refusal has: its exit code, nothing on standard output, the cause in the first line of standard error, and no stack. */
export function expectRefusal(ended: Ended, code: 1 | 2, cause: RegExp): void {
  expect(ended.stderr).not.toMatch(/^\s+at .*\.js:\d+/m)
  expect(ended.stderr.split('\n')[0]).toMatch(cause)
  expect(ended.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(3)
  expect(ended.code, ended.stderr).toBe(code)
  expect(ended.stdout).toBe('')
}

/** One-second clips with a word of the zoo's bank in their middle. */
export function wordClips(label: string, count: number): Uint8Array[] {
  const folder = join(ROOT, 'zoo/bank/keyword', label)
  return readdirSync(folder)
    .sort()
    .slice(0, count)
    .map((name) => {
      const wav = parseWav(readFileSync(join(folder, name)))
      if (!wav.ok) throw new Error(wav.error.detail)
      const word = wav.value.samples.subarray(0, 16_000)
      const clip = new Float32Array(16_000)
      clip.set(word, Math.floor((16_000 - word.length) / 2))
      return encodeWav(clip, 16_000)
    })
}
