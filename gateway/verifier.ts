import { bytesToHex, sha256 } from '../contract/bytes.ts'
import type { Clock } from '../contract/clock.ts'
import type { Engine, EngineSession } from '../model/engine.ts'
import { dequantizeFeatures, type Quantization } from '../model/features/quantize.ts'
import { type AggregateTable, hourOf } from './aggregation.ts'
import type { Checkpoint } from './checkpoint.ts'
import type { GroupCommit } from './group-commit.ts'
import type { GatewayLogger } from './logger.ts'
import type { MessageCounters } from './message-counters.ts'
import type { PendingWake, PendingWakes } from './pending-wakes.ts'
import type { Spool } from './spool.ts'

/** The second-stage network and how to ask it. */
export interface VerifierModel {
  /** float32 ONNX graph, window in, posteriors out */
  readonly graph: Uint8Array
  /** in the order of the posteriors; wakes of models with another label order need `labelsOfModel` */
  readonly labels: readonly string[]
  readonly featureQuantization: Quantization
  /** a wake is confirmed when the posterior of its label is at least this; default 0.5 */
  readonly threshold?: number
  /** labels of a device's bundle by the hex prefix of its hash, where they differ from `labels` */
  readonly labelsOfModel?: (model: string) => readonly string[] | undefined
}

interface Parts {
  readonly clock: Clock
  readonly commit: GroupCommit
  readonly aggregates: AggregateTable
  readonly checkpoint: Checkpoint
  readonly spool: Spool
  readonly pending: PendingWakes
  readonly counters: MessageCounters
  readonly logger: GatewayLogger
  /** tells the device; best effort */
  publishVerdict(wake: PendingWake, confirmed: boolean): void
}

/** chosen: wakes in memory at a time; the rest waits on disk */
const PREFETCH = 64
/** chosen: 4096 posteriors of 12 labels are 0.3 MB; the simulator repeats clips, and a stuck microphone repeats itself */
const REMEMBERED_MAX = 4_096
/** chosen: a deterministic engine that failed thrice on one input will fail again */
const ATTEMPTS_MAX = 3
const RETRY_MS = 1_000

/** Judges pending wakes one after the other and books each verdict in the transaction that removes the wake. */
export class Verifier {
  readonly #parts: Parts
  readonly #model: VerifierModel
  readonly #session: EngineSession
  readonly #threshold: number
  readonly #remembered = new Map<string, Float32Array>()
  #queue: (PendingWake & { readonly id: number })[] = []
  #lastId = 0
  #running: Promise<void> | undefined
  #closed = false

  private constructor(parts: Parts, model: VerifierModel, session: EngineSession) {
    this.#parts = parts
    this.#model = model
    this.#session = session
    this.#threshold = model.threshold ?? 0.5
  }

  /** @throws when the engine cannot load the graph: a gateway with a broken verifier must not start */
  static async open(parts: Parts, model: VerifierModel, engine: Engine): Promise<Verifier> {
    const session = await engine.load(model.graph)
    if (!session.ok) throw new Error(`verifier: ${session.error.code}: ${session.error.detail}`)
    return new Verifier(parts, model, session.value)
  }

  /** Looks for pending wakes; called after each commit that added some, and once at the start. */
  wake(): void {
    if (this.#running !== undefined || this.#closed) return
    this.#running = this.#drain().finally(() => {
      this.#running = undefined
      // Something may have been added between the last look and here.
      if (!this.#closed && this.#parts.pending.after(this.#lastId, 1).length > 0) this.wake()
    })
  }

  /** Stops after the wake under way; what is left stays pending on disk. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    await this.#session.dispose()
  }

  async #drain(): Promise<void> {
    while (!this.#closed) {
      if (this.#queue.length === 0) {
        this.#queue = [...this.#parts.pending.after(this.#lastId, PREFETCH)]
        if (this.#queue.length === 0) return
        // Remembered verdicts never leave the microtask queue: let the broker have its turn.
        await new Promise<void>((resolve) => setImmediate(resolve))
      }
      const wake = this.#queue.shift()!
      this.#lastId = wake.id
      this.#book(wake, await this.#judge(wake))
    }
  }

  /** @returns undefined when the wake cannot be judged: another feature size or label than the network has */
  async #judge(wake: PendingWake): Promise<boolean | undefined> {
    const { labels, labelsOfModel } = this.#model
    const name = (labelsOfModel?.(wake.model) ?? labels)[wake.label]
    const label = name === undefined ? -1 : labels.indexOf(name)
    if (label < 0 || wake.features.length !== this.#session.input.elements) return undefined
    const posteriors = await this.#posteriors(wake.features)
    return posteriors === undefined ? undefined : posteriors[label]! >= this.#threshold
  }

  async #posteriors(features: Uint8Array): Promise<Float32Array | undefined> {
    const key = bytesToHex(sha256(features))
    const known = this.#remembered.get(key)
    if (known !== undefined) {
      this.#remembered.delete(key)
      this.#remembered.set(key, known)
      this.#parts.counters.add('verifier', 'remembered')
      return known
    }
    const quantized = new Int8Array(features.buffer, features.byteOffset, features.length)
    const window = dequantizeFeatures(quantized, this.#model.featureQuantization, new Float32Array(features.length))
    for (let attempt = 1; attempt <= ATTEMPTS_MAX && !this.#closed; attempt++) {
      const result = await this.#session.run(window)
      if (result.ok) {
        this.#remembered.set(key, result.value)
        if (this.#remembered.size > REMEMBERED_MAX) this.#remembered.delete(this.#remembered.keys().next().value!)
        this.#parts.counters.add('verifier', 'inferred')
        return result.value
      }
      this.#parts.counters.add('verifier', result.error.code)
      this.#parts.logger.error({ error: result.error, attempt }, 'the verifier failed on a wake')
      if (attempt < ATTEMPTS_MAX) await new Promise<void>((resolve) => this.#parts.clock.after(RETRY_MS, resolve))
    }
    return undefined
  }

  #book(wake: PendingWake & { readonly id: number }, confirmed: boolean | undefined): void {
    if (confirmed === undefined && this.#closed) return
    const { commit, pending, aggregates, spool, counters, checkpoint } = this.#parts
    let removed = false
    commit.submit({
      apply() {
        removed = pending.remove(wake.id)
        if (!removed || confirmed === undefined) return
        const { device, site, boot, model, group } = wake
        const hourMs = hourOf(wake.receivedMs)
        checkpoint.require()
        aggregates.bookVerdict(aggregates.place(hourMs, group), confirmed)
        spool.addVerdict({ site, device, boot, model, hourMs }, confirmed)
      },
      done: (error) => {
        if (error !== undefined) {
          // Still pending on disk: look again from there. What is judged twice on the way is removed, and counts, once.
          counters.add('verdict', 'failed')
          this.#parts.logger.error({ error }, 'a verdict could not be stored')
          this.#parts.clock.after(RETRY_MS, () => {
            this.#lastId = Math.min(this.#lastId, wake.id - 1)
            this.wake()
          })
        } else if (removed && confirmed !== undefined) {
          counters.add('verdict', confirmed ? 'confirmed' : 'rejected')
          this.#parts.publishVerdict(wake, confirmed)
        } else if (removed) {
          counters.add('verdict', 'unverifiable')
        }
      },
    })
  }
}
