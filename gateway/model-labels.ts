import { LRUCache } from 'lru-cache'
import * as z from 'zod/mini'
import { decodeBundle } from '../contract/bundle.ts'
import type { Clock } from '../contract/clock.ts'
import type { ContractError } from '../contract/errors.ts'
import { sha256Field } from '../contract/fields.ts'
import { LIMITS } from '../contract/limits.ts'
import { parseManifest } from '../contract/manifest.ts'
import { err, ok, type Result } from '../contract/result.ts'
import type { Logger } from '../platform/logger.ts'
import type { CloudClient } from './cloud-link/cloud-client.ts'
import type { ArtifactCache } from './downloads/artifact-cache.ts'
import type { StoreClient } from './store/store-client.ts'

/** The labels of a model, in the order of its own posteriors. `unknown`: there are none to be had. `later`: perhaps there are, the cloud does
 *  not answer. */
export type ModelLabelsAnswer = readonly string[] | 'unknown' | 'later'

interface Parts {
  readonly cloud: Pick<CloudClient, 'getJson'>
  readonly store: Pick<StoreClient, 'ask'>
  readonly clock: Clock
  readonly logger: Logger
}

/** chosen: models in memory, a few kB each at most; those that were asked for least recently are read back from the store */
const REMEMBERED_MAX = 256
/** chosen: a release and its history are about 1 kB in the cloud's list */
const LIST_BYTES_MAX = 8 * 1024 * 1024
/** chosen: a model that nobody knows is asked for once in this time, however many wakes it has */
const ASK_AGAIN_MS = 60_000
/** chosen: while the cloud does not answer, so that it is not asked at each wake */
const RETRY_MS = 5_000

const listSchema = z.object({ models: z.array(z.object({ sha256: sha256Field })) })
const labelsSchema = z.array(z.string().check(z.maxLength(LIMITS.labelLength))).check(z.maxLength(LIMITS.labels))

/** What the labels of a wake are called: the manifest of the model's bundle says, which the gateway has or fetches for devices anyway. They are
 *  kept on disk, since a gateway that starts without a cloud goes on judging. */
export class ModelLabels {
  readonly #parts: Parts
  readonly #cache: Pick<ArtifactCache, 'get'>
  readonly #known = new LRUCache<string, readonly string[]>({ max: REMEMBERED_MAX })
  /** answers that are no labels, and until when they hold, monotonic ms */
  readonly #without = new LRUCache<string, { readonly answer: 'unknown' | 'later'; readonly untilMs: number }>({
    max: REMEMBERED_MAX,
  })

  constructor(parts: Parts, cache: Pick<ArtifactCache, 'get'>) {
    this.#parts = parts
    this.#cache = cache
  }

  /** @param model hex prefix of the bundle's sha256, as reports and wakes carry it */
  async of(model: string): Promise<ModelLabelsAnswer> {
    const known = this.#known.get(model)
    if (known !== undefined) return known
    const { clock } = this.#parts
    const without = this.#without.get(model)
    if (without !== undefined && clock.monotonicMs() < without.untilMs) return without.answer
    const answer = (await this.#stored(model)) ?? (await this.#fetch(model))
    if (typeof answer === 'string') {
      const holdsMs = answer === 'unknown' ? ASK_AGAIN_MS : RETRY_MS
      this.#without.set(model, { answer, untilMs: clock.monotonicMs() + holdsMs })
    } else this.#known.set(model, answer)
    return answer
  }

  async #stored(model: string): Promise<readonly string[] | undefined> {
    try {
      const text = await this.#parts.store.ask('setting', settingOf(model))
      return text === undefined ? undefined : labelsSchema.parse(JSON.parse(text))
    } catch (cause) {
      this.#parts.logger.error({ err: cause, model }, 'kept labels could not be read')
      return undefined
    }
  }

  async #fetch(model: string): Promise<ModelLabelsAnswer> {
    const { cloud, logger } = this.#parts
    const answer = await cloud.getJson('/v1/models', LIST_BYTES_MAX)
    if (!answer.ok) {
      logger.warn({ error: answer.error, model }, 'the labels of a model are not to be had yet')
      return 'later'
    }
    const list = listSchema.safeParse(answer.value)
    const sha256 = list.data?.models.map((release) => release.sha256).find((hash) => hash.startsWith(model))
    const labels = sha256 === undefined ? undefined : await this.#ofBundle(sha256)
    if (labels === undefined) logger.warn({ model }, 'wakes of a model that the cloud does not know are not judged')
    else if (labels.ok) await this.#keep(model, labels.value)
    else logger.warn({ error: labels.error, model }, 'the labels of a model are not to be had')
    if (labels?.ok) return labels.value
    return labels?.error.code === 'unavailable' ? 'later' : 'unknown'
  }

  /** What cannot be kept (disk full) is fetched again after the next start. */
  async #keep(model: string, labels: readonly string[]): Promise<void> {
    try {
      await this.#parts.store.ask('keepSetting', settingOf(model), JSON.stringify(labels))
    } catch (cause) {
      this.#parts.logger.error({ err: cause, model }, 'labels could not be kept')
    }
  }

  async #ofBundle(sha256: string): Promise<Result<readonly string[], ContractError>> {
    const bundle = await this.#cache.get(sha256)
    if (!bundle.ok) return err(bundle.error)
    const sections = decodeBundle(bundle.value)
    if (!sections.ok) return err(sections.error)
    const manifest = parseManifest(sections.value)
    return manifest.ok ? ok(manifest.value.labels) : err(manifest.error)
  }
}

const settingOf = (model: string): string => `labels of ${model}`
