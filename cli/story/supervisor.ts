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

/** chosen: what a service says before it gives up is a line or two; a stack trace is a dozen */
const LAST_LINES = 8
const LAST_CHARACTERS = 4_096

/** A service that ended by itself. Its log says why, so whoever reports this keeps it. */
export class ServiceFailure extends CommandFailure {
  constructor(message: string, lastWords: string, logFile: string) {
    const lines = lastWords.trimEnd().split('\n').slice(-LAST_LINES)
    const said =
      lines.join('') === '' ? 'it said nothing' : `its last words:\n${lines.map((line) => `    ${line}`).join('\n')}`
    super(message, { hint: `${said}\n  its log is kept: ${logFile}` })
  }
}

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
  #healthy = false
  /** the end of what it said on both streams */
  #lastWords = ''
  /** how the process ended before it ever answered */
  #endedEarly: string | undefined
  readonly #onGone: (failure: ServiceFailure) => void

  /** @param script entry file of the command
   *  @param onGone told when the service died more often than is excused */
  constructor(spec: ServiceSpec, script: string, clock: Clock, onGone: (failure: ServiceFailure) => void) {
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

  /** Waits until its health endpoint answers 200.
   *  Throws a ServiceFailure when the process ends before that, or does not answer in time. */
  async untilHealthy(url: string, timeoutMs: number): Promise<void> {
    const deadline = this.#clock.monotonicMs() + timeoutMs
    while (!this.#healthy) {
      if (this.#endedEarly !== undefined) throw this.#failure(`the ${this.name} could not start (${this.#endedEarly})`)
      if (this.#clock.monotonicMs() > deadline) {
        throw this.#failure(`${url} did not answer within ${timeoutMs / 1000} s`)
      }
      try {
        this.#healthy = (await fetch(url, { signal: AbortSignal.timeout(2_000) })).ok
      } catch {
        // Not listening yet.
      }
      if (!this.#healthy) {
        await new Promise<void>((resolve) => {
          this.#clock.after(50, resolve)
        })
      }
    }
  }

  #failure(message: string): ServiceFailure {
    return new ServiceFailure(message, this.#lastWords, this.#spec.logFile)
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
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (data: Buffer) => {
        this.#lastWords = (this.#lastWords + data.toString('utf8')).slice(-LAST_CHARACTERS)
      })
    }
    // And not `exit`: what it said last comes after that.
    child.once('close', (code, signal) => this.#died(signal ?? `exit ${code}`))
    // No process at all (out of memory or of processes): `exit` does not come then.
    child.once('error', (error) => {
      if (child.pid === undefined) this.#died(error.message)
    })
  }

  #died(how: string): void {
    if (this.#stopping) return
    if (!this.#healthy) {
      this.#endedEarly = how
      return
    }
    this.#restarts++
    if (this.#restarts > RESTARTS_MAX) {
      this.#onGone(this.#failure(`the ${this.name} died ${this.#restarts} times (last: ${how})`))
      return
    }
    this.#clock.after(RESTART_DELAY_MS, () => {
      if (!this.#stopping) this.#start()
    })
  }
}
