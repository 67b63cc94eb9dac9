import { type ChildProcess, spawn } from 'node:child_process'
import { createWriteStream, type WriteStream } from 'node:fs'
import type { Clock } from '../../contract/clock.ts'
import { CommandFailure } from '../failure.ts'

export interface ServiceSpec {
  readonly name: string
  /** arguments of the `kinglet` command */
  readonly args: readonly string[]
  /** file its output goes to */
  readonly logFile: string
}

/** Chosen: more restarts than a story kills, few enough that a broken service is seen. */
const RESTARTS_MAX = 10
const RESTART_DELAY_MS = 500

/** A child process that is started again when it dies, as a service manager would, and that ends when this process does. */
export class Service {
  readonly name: string
  readonly #spec: ServiceSpec
  readonly #clock: Clock
  readonly #script: string
  readonly #log: WriteStream
  #child: ChildProcess | undefined
  #stopping = false
  #restarts = 0
  readonly #onGone: (reason: string) => void

  /** @param script entry file of the command
   *  @param onGone told when the service died more often than is excused */
  constructor(spec: ServiceSpec, script: string, clock: Clock, onGone: (reason: string) => void) {
    this.name = spec.name
    this.#spec = spec
    this.#script = script
    this.#clock = clock
    this.#onGone = onGone
    this.#log = createWriteStream(spec.logFile, { flags: 'a' })
    // A full disk costs the log, not the service.
    this.#log.on('error', () => undefined)
    this.#start()
  }

  get restarts(): number {
    return this.#restarts
  }

  /** Ends the process without warning, as a power cut does; it is then started again. */
  kill(): void {
    this.#child?.kill('SIGKILL')
  }

  /** Asks the process to end and waits for it; after five seconds it is killed. */
  async stop(): Promise<void> {
    this.#stopping = true
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) {
      this.#log.end()
      return
    }
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const cancel = this.#clock.after(5_000, () => child.kill('SIGKILL'))
    await ended
    cancel()
    this.#log.end()
  }

  #start(): void {
    // The fourth is a channel that nobody speaks on: it closes with this process, however that ends, and the service with it.
    const child = spawn(process.execPath, [this.#script, ...this.#spec.args], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    this.#child = child
    child.stdout?.pipe(this.#log, { end: false })
    child.stderr?.pipe(this.#log, { end: false })
    child.once('exit', (code, signal) => this.#died(signal ?? `exit ${code}`))
    // No process at all (out of memory or of processes): `exit` does not come then.
    child.once('error', (error) => {
      if (child.pid === undefined) this.#died(error.message)
    })
  }

  #died(how: string): void {
    if (this.#stopping) return
    this.#restarts++
    if (this.#restarts > RESTARTS_MAX) {
      this.#onGone(`${this.name} died ${this.#restarts} times (last: ${how}); its log is ${this.#spec.logFile}`)
      return
    }
    this.#clock.after(RESTART_DELAY_MS, () => {
      if (!this.#stopping) this.#start()
    })
  }
}

/** Waits until a URL answers 200.
 *  Throws a CommandFailure that names the log when it does not in time. */
export async function untilHealthy(url: string, clock: Clock, timeoutMs: number, logFile: string): Promise<void> {
  const deadline = clock.monotonicMs() + timeoutMs
  for (;;) {
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(2_000) })
      if (response.ok) return
    } catch {
      // Not listening yet.
    }
    if (clock.monotonicMs() > deadline) {
      throw new CommandFailure(`${url} did not answer within ${timeoutMs / 1000} s`, { hint: `its log is ${logFile}` })
    }
    await new Promise<void>((resolve) => {
      clock.after(50, resolve)
    })
  }
}
