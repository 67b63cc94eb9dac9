import { LRUCache } from 'lru-cache'
import { bytesToHex, sha256 } from '../contract/bytes.ts'
import type { Clock } from '../contract/clock.ts'
import type { ContractError } from '../contract/errors.ts'
import { present } from '../contract/present.ts'
import type { Result } from '../contract/result.ts'
import type { Engine } from '../model/engine/engine.ts'
import type { Quantization } from '../model/features/quantize.ts'
import { judgeWake, type WakeVerifier, windowOf } from '../model/wake-judge.ts'
import { type OpenedVerifier, openGivenVerifier, openVerifier } from '../model/wake-verifier.ts'
import type { Logger } from '../platform/logger.ts'
import type { MessageCounters } from './message-counters.ts'
import type { PendingWake } from './store/pending-wakes.ts'
import type { StoreClient } from './store/store-client.ts'
import type { ReleaseFormat, WakeFormatAnswer } from './wake-formats.ts'

/** The second-stage network and how to ask it. */
export interface VerifierModel extends WakeVerifier {
  /** float32 ONNX graph, window in, posteriors out */
  readonly graph: Uint8Array
  /** of the features of wakes whose bundle does not say it */
  readonly featureQuantization: Quantization
  /** labels of a device's bundle, in its own order, by the hex prefix of its hash: wakes are compared by the name of their label. "bundles":
   *  as the bundles that the cloud has say, which say too how their features are quantized. Default: every model has `labels` */
  readonly labelsOfModel?: 'bundles' | ((model: string) => readonly string[] | 'unknown')
}

interface Parts {
  readonly clock: Clock
  readonly store: StoreClient
  readonly counters: MessageCounters
  readonly logger: Logger
  /** tells the device; best effort */
  publishVerdict(wake: PendingWake, confirmed: boolean): void
  /** how the wakes of a model are read */
  formatOf(model: string): Promise<WakeFormatAnswer>
  /** the bundle of a release's own verifier, by hash */
  artifact(sha256: string): Promise<Result<Uint8Array, ContractError>>
}

/** chosen: releases of a site whose wakes are judged at a time; another is opened anew */
const OPENED_MAX = 8

/** chosen: wakes in memory at a time; the rest waits on disk */
const PREFETCH = 64
/** chosen: 4096 posteriors of 12 labels are 0.3 MB; the simulator repeats clips, and a stuck microphone repeats itself;
 *  the one that was asked for least recently is forgotten */
const REMEMBERED_MAX = 4_096
/** chosen: a deterministic engine that failed thrice on one input will fail again */
const ATTEMPTS_MAX = 3
const RETRY_MS = 1_000
/** chosen: an outage of the cloud passes meanwhile, and a device does not fill the queue with what nobody can judge; then wakes of a model
 *  whose labels are not to be had go unjudged */
const LABELS_WAIT_MS = 60 * 60_000
/** chosen: devices may invent models; of one that is forgotten the waiting begins anew */
const WAITING_MAX = 1_000
/** chosen: how often wakes that wait for labels are looked at again */
const LABELS_RETRY_MS = 10_000

/** What a wake is judged with. */
interface Means {
  readonly format: ReleaseFormat
  readonly verifier: OpenedVerifier
}

type StoredWake = PendingWake & { readonly id: number }

/** Judges pending wakes one after the other and books each verdict in the transaction that removes the wake. */
export class Verifier {
  readonly #parts: Parts
  /** what judges wakes of releases that name no verifier */
  readonly #given: OpenedVerifier
  readonly #engine: Engine
  /** of releases, by hash; `unknown`: it cannot be opened */
  readonly #own = new LRUCache<string, OpenedVerifier | 'unknown'>({
    max: OPENED_MAX,
    dispose: (verifier) => {
      if (verifier !== 'unknown') void verifier.close()
    },
  })
  readonly #remembered = new LRUCache<string, Float32Array>({ max: REMEMBERED_MAX })
  #queue: StoredWake[] = []
  /** wakes may have come since the store was asked */
  #more = false
  #lastId = 0
  #running: Promise<void> | undefined
  #closed = false
  /** models whose labels are waited for, and since when, monotonic ms */
  readonly #waiting = new LRUCache<string, number>({ max: WAITING_MAX })
  /** the oldest wake that waits for labels; it is looked at again by and by */
  #skippedId: number | undefined

  private constructor(parts: Parts, given: OpenedVerifier, engine: Engine) {
    this.#parts = parts
    this.#given = given
    this.#engine = engine
  }

  /** @throws when the engine cannot load the graph: a gateway with a broken verifier must not start */
  static async open(parts: Parts, model: VerifierModel, engine: Engine): Promise<Verifier> {
    return new Verifier(parts, await openGivenVerifier(model, engine), engine)
  }

  /** Looks for pending wakes; called after each commit that added some, and once at the start. */
  wake(): void {
    this.#more = true
    if (this.#running !== undefined || this.#closed) return
    this.#running = this.#drain().finally(() => {
      this.#running = undefined
      if (this.#more) this.wake()
    })
  }

  /** Stops after the wake under way; what is left stays pending on disk. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
    this.#own.clear()
    await this.#given.close()
  }

  async #drain(): Promise<void> {
    while (!this.#closed) {
      if (this.#queue.length === 0 && !(await this.#fetch())) return
      const wake = present(this.#queue.shift(), 'a wake that waits')
      this.#lastId = wake.id
      const verdict = await this.#judge(wake)
      if (verdict === 'later') this.#skip(wake)
      else void this.#book(wake, verdict)
    }
  }

  /** @returns whether there is a wake in the queue */
  async #fetch(): Promise<boolean> {
    this.#more = false
    try {
      this.#queue = [...(await this.#parts.store.ask('pendingWakes', this.#lastId, PREFETCH))]
    } catch (cause) {
      this.#parts.logger.error({ err: cause }, 'pending wakes could not be read')
      this.#parts.clock.after(RETRY_MS, () => this.wake())
    }
    return this.#queue.length > 0
  }

  /** Leaves a wake on disk until the labels of its model may be had; others go on. */
  #skip(wake: StoredWake): void {
    if (this.#skippedId !== undefined) return
    this.#skippedId = wake.id
    this.#parts.clock.after(LABELS_RETRY_MS, () => {
      this.#lastId = Math.min(this.#lastId, wake.id - 1)
      this.#skippedId = undefined
      // What was fetched lies behind it and is fetched again.
      this.#queue = []
      this.wake()
    })
  }

  /** What is needed to judge wakes of a model. @returns undefined when it is not to be had */
  async #means({ model }: PendingWake): Promise<Means | 'later' | undefined> {
    const format = await this.#parts.formatOf(model)
    const verifier = typeof format === 'string' ? format : await this.#verifierOf(format.verifier)
    if (typeof format !== 'string' && typeof verifier !== 'string') {
      this.#waiting.delete(model)
      return { format, verifier }
    }
    if (verifier !== 'later') {
      this.#waiting.delete(model)
      return undefined
    }
    const nowMs = this.#parts.clock.monotonicMs()
    const sinceMs = this.#waiting.get(model) ?? nowMs
    this.#waiting.set(model, sinceMs)
    return nowMs - sinceMs < LABELS_WAIT_MS ? 'later' : undefined
  }

  /** @param sha256 undefined: no verifier of its own */
  async #verifierOf(sha256: string | undefined): Promise<OpenedVerifier | 'unknown' | 'later'> {
    if (sha256 === undefined) return this.#given
    const known = this.#own.get(sha256)
    if (known !== undefined) return known
    const { artifact, logger } = this.#parts
    const bundle = await artifact(sha256)
    if (!bundle.ok) {
      logger.warn({ error: bundle.error, verifier: sha256 }, 'the verifier of a release is not to be had yet')
      return 'later'
    }
    const opened = await openVerifier(bundle.value, this.#engine)
    if (!opened.ok) {
      logger.error(
        { error: opened.error, verifier: sha256 },
        'the verifier of a release cannot be opened: its wakes are not judged',
      )
    }
    const verifier = opened.ok ? opened.value : 'unknown'
    this.#own.set(sha256, verifier)
    return verifier
  }

  /** @returns undefined when the wake cannot be judged; 'later' when that is not to be said yet */
  async #judge(wake: PendingWake): Promise<boolean | 'later' | undefined> {
    const means = await this.#means(wake)
    if (means === undefined || means === 'later') return means
    const { verifier } = means
    const format = means.format.pipelines[wake.pipeline]
    // A device says it, and devices may say anything.
    if (format === undefined) return undefined
    return judgeWake(wake, format, verifier, verifier.session.input.elements, (features, quantization) =>
      this.#posteriors(means, features, quantization),
    )
  }

  async #posteriors(
    { format: { verifier: of = '' }, verifier: { session } }: Means,
    features: Uint8Array,
    quantization: Quantization,
  ): Promise<Float32Array | undefined> {
    const key = `${of} ${quantization.scale} ${quantization.zeroPoint} ${bytesToHex(sha256(features))}`
    const known = this.#remembered.get(key)
    if (known !== undefined) {
      this.#parts.counters.add('verifier', 'remembered')
      return known
    }
    const window = windowOf(features, quantization)
    for (let attempt = 1; attempt <= ATTEMPTS_MAX && !this.#closed; attempt++) {
      const result = await session.run(window)
      if (result.ok) {
        this.#remembered.set(key, result.value)
        this.#parts.counters.add('verifier', 'inferred')
        return result.value
      }
      this.#parts.counters.add('verifier', result.error.code)
      this.#parts.logger.error({ error: result.error, attempt }, 'the verifier failed on a wake')
      if (attempt < ATTEMPTS_MAX) await new Promise<void>((resolve) => this.#parts.clock.after(RETRY_MS, resolve))
    }
    return undefined
  }

  async #book(wake: StoredWake, confirmed: boolean | undefined): Promise<void> {
    if (confirmed === undefined && this.#closed) return
    const { store, counters, logger, clock } = this.#parts
    const { features: _, ...judged } = wake
    try {
      if (!(await store.ask('bookVerdict', judged, confirmed))) return
    } catch (cause) {
      // Still pending on disk: look again from there. What is judged twice on the way is removed, and counts, once.
      counters.add('verdict', 'failed')
      logger.error({ err: cause }, 'a verdict could not be stored')
      clock.after(RETRY_MS, () => {
        this.#lastId = Math.min(this.#lastId, wake.id - 1)
        this.wake()
      })
      return
    }
    counters.add('verdict', confirmed === undefined ? 'unjudged' : confirmed ? 'confirmed' : 'rejected')
    if (confirmed !== undefined) this.#parts.publishVerdict(wake, confirmed)
  }
}
