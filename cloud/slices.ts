import type { Clock } from '../contract/clock.ts'

/** Chosen: work holds the thread for about this long at a time, real ms; a request takes a few turns of the event loop, and waits for as many
 *  slices at most. */
const SLICE_MS = 8

/** Looked at by work every few rows: true when it has held the thread for long enough. */
export type Enough = () => boolean

/** Does long work on the thread that answers requests: a slice, then as long a pause, in which whatever has arrived is answered. Without the
 *  pause a request would wait for one slice at each of its turns of the event loop (accept, read, verify, answer), and a crowd of them for
 *  seconds. */
export class Slices {
  readonly #machine: Clock
  readonly #pauses = new Set<() => void>()
  #stopped = false

  /** @param machine real time, by which slices and pauses are measured: the service's own may run faster, and in a simulation it stands still until a fleet
   *    is there that this very work has to let in */
  constructor(machine: Clock) {
    this.#machine = machine
  }

  /** The first slice is done at once.
   *  @param work does some and says whether there is more
   *  @param ended called once: after the last slice, with what work threw, or with an error when the service stops */
  run(work: (enough: Enough) => boolean, ended: (cause?: unknown) => void): void {
    if (this.#stopped) {
      ended(new Error('the service stops'))
      return
    }
    const startedMs = this.#machine.monotonicMs()
    const took = (): number => this.#machine.monotonicMs() - startedMs
    let more: boolean
    try {
      more = work(() => took() >= SLICE_MS)
    } catch (cause) {
      ended(cause)
      return
    }
    if (!more) {
      ended()
      return
    }
    const stop = (): void => {
      cancel()
      ended(new Error('the service stops'))
    }
    const cancel = this.#machine.after(took(), () => {
      this.#pauses.delete(stop)
      this.run(work, ended)
    })
    this.#pauses.add(stop)
  }

  /** As `run`. @throws what work threw */
  whole(work: (enough: Enough) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.run(work, (cause) => (cause === undefined ? resolve() : reject(cause)))
    })
  }

  /** Ends all work after its present slice. */
  stop(): void {
    this.#stopped = true
    for (const stop of [...this.#pauses]) stop()
    this.#pauses.clear()
  }
}
