import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../contract/clock.ts'
import type { ReadinessReason } from './readiness.ts'

/** chosen: a probe costs one flush, and a disk fills within minutes and not within seconds */
const PROBE_EVERY_MS = 10_000
/** chosen: more than what a file system packs into a folder's own block */
const PROBE_BYTES = 64 * 1024
/** chosen: of the medium, hence real time; a medium that takes longer has stopped */
const PROBE_TIMEOUT_MS = 5_000
/** Not what a database would take for its own. */
const PROBE_NAME = '.probe'

/** Whether a folder still takes what is written to it: tried, since free blocks say nothing of a quota, of a medium that has turned
 *  read-only, or of one that hangs. */
export class DiskProbe {
  readonly #path: string
  readonly #folder: string
  readonly #clock: Clock
  #probedMs = Number.NEGATIVE_INFINITY
  #last: Promise<ReadinessReason | undefined> = Promise.resolve(undefined)
  #isRunning = false

  constructor(folder: string, clock: Clock) {
    this.#folder = folder
    this.#path = join(folder, PROBE_NAME)
    this.#clock = clock
  }

  /** @returns `disk-full` | `disk-unwritable`, or undefined when all is well; at most ten seconds old */
  look(): Promise<ReadinessReason | undefined> {
    const now = this.#clock.monotonicMs()
    if (this.#isRunning || now - this.#probedMs < PROBE_EVERY_MS) return this.#last
    this.#probedMs = now
    this.#isRunning = true
    const probe = this.#write().finally(() => {
      this.#isRunning = false
    })
    this.#last = inTime(probe, {
      code: 'disk-unwritable',
      detail: `${this.#folder} has not taken a file within ${PROBE_TIMEOUT_MS / 1000} s`,
    })
    return this.#last
  }

  async #write(): Promise<ReadinessReason | undefined> {
    try {
      const file = await open(this.#path, 'w', 0o600)
      try {
        await file.write(Buffer.alloc(PROBE_BYTES, 1))
        await file.sync()
      } finally {
        await file.close()
      }
      await rm(this.#path, { force: true })
      return undefined
    } catch (cause) {
      await rm(this.#path, { force: true }).catch(() => undefined)
      const { code = '', message } = cause as NodeJS.ErrnoException
      if (code === 'ENOSPC' || code === 'EDQUOT') {
        return { code: 'disk-full', detail: `${this.#folder} is full: free some space; nothing is taken in until then` }
      }
      return { code: 'disk-unwritable', detail: `${this.#folder} cannot be written: ${message}` }
    }
  }
}

/** @param otherwise when it takes longer than a probe may */
async function inTime<T>(work: Promise<T>, otherwise: T): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<T>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), PROBE_TIMEOUT_MS)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
