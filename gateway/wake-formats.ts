import { LRUCache } from 'lru-cache'
import * as z from 'zod/mini'
import type { Clock } from '../contract/clock.ts'
import type { ContractError } from '../contract/errors.ts'
import { sha256Field } from '../contract/fields.ts'
import { LIMITS } from '../contract/limits.ts'
import { err, type Result } from '../contract/result.ts'
import { type WakeFormat, wakeFormatsOf } from '../model/wake-judge.ts'
import type { Logger } from '../platform/logger.ts'
import type { CloudClient } from './cloud-link/cloud-client.ts'
import type { ArtifactCache } from './downloads/artifact-cache.ts'
import type { StoreClient } from './store/store-client.ts'

/** How the wakes of a release are read, and by what they are judged. */
export interface ReleaseFormat {
  /** of each of its pipelines */
  readonly pipelines: readonly WakeFormat[]
  /** sha256 of a bundle; undefined: what the gateway was started with */
  readonly verifier?: string | undefined
}

/** `unknown`: there is none to be had. `later`: perhaps there is, the cloud does not answer. */
export type WakeFormatAnswer = ReleaseFormat | 'unknown' | 'later'

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

const listSchema = z.object({
  models: z.array(
    z.object({
      sha256: sha256Field,
      /** absent: of a cloud that knows no verifiers of releases */
      verifier: z.optional(z.nullable(sha256Field)),
    }),
  ),
})
const formatSchema = z.object({
  labels: z.array(z.string().check(z.maxLength(LIMITS.labelLength))).check(z.maxLength(LIMITS.labels)),
  featureQuantization: z.object({ scale: z.number(), zeroPoint: z.int() }),
  featuresSha256: z.optional(sha256Field),
})
const keptSchema = z.union([
  z.object({ pipelines: z.array(formatSchema), verifier: z.optional(sha256Field) }),
  // As it was kept when a bundle had one pipeline.
  formatSchema,
])

/** What the manifests of bundles say of their wakes; the gateway has the bundles, or fetches them for devices anyway. It is kept on disk, since
 *  a gateway that starts without a cloud goes on judging. */
export class WakeFormats {
  readonly #parts: Parts
  readonly #cache: Pick<ArtifactCache, 'get'>
  readonly #known = new LRUCache<string, ReleaseFormat>({ max: REMEMBERED_MAX })
  /** answers that are no format, and until when they hold, monotonic ms */
  readonly #without = new LRUCache<string, { readonly answer: 'unknown' | 'later'; readonly untilMs: number }>({
    max: REMEMBERED_MAX,
  })

  constructor(parts: Parts, cache: Pick<ArtifactCache, 'get'>) {
    this.#parts = parts
    this.#cache = cache
  }

  /** @param model hex prefix of the bundle's sha256, as reports and wakes carry it */
  async of(model: string): Promise<WakeFormatAnswer> {
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

  async #stored(model: string): Promise<ReleaseFormat | undefined> {
    try {
      const text = await this.#parts.store.ask('setting', settingOf(model))
      if (text === undefined) return undefined
      const kept = keptSchema.parse(JSON.parse(text))
      return 'pipelines' in kept ? kept : { pipelines: [kept] }
    } catch (cause) {
      this.#parts.logger.error({ err: cause, model }, 'the kept labels of a model could not be read')
      return undefined
    }
  }

  async #fetch(model: string): Promise<WakeFormatAnswer> {
    const { cloud, logger } = this.#parts
    const answer = await cloud.getJson('/v1/models', LIST_BYTES_MAX)
    if (!answer.ok) {
      logger.warn({ error: answer.error, model }, 'the labels of a model are not to be had yet')
      return 'later'
    }
    const list = listSchema.safeParse(answer.value)
    const release = list.data?.models.find(({ sha256 }) => sha256.startsWith(model))
    if (release === undefined) {
      logger.warn({ model }, 'wakes of a model that the cloud does not know are not judged')
      return 'unknown'
    }
    const format = await this.#ofBundle(release.sha256)
    if (format.ok) {
      const { verifier } = release
      const read: ReleaseFormat = { pipelines: format.value, ...(verifier && { verifier }) }
      await this.#keep(model, read)
      return read
    }
    logger.warn({ error: format.error, model }, 'the labels of a model are not to be had')
    return format.error.code === 'unavailable' ? 'later' : 'unknown'
  }

  /** What cannot be kept (disk full) is fetched again after the next start. */
  async #keep(model: string, format: ReleaseFormat): Promise<void> {
    try {
      await this.#parts.store.ask('keepSetting', settingOf(model), JSON.stringify(format))
    } catch (cause) {
      this.#parts.logger.error({ err: cause, model }, 'the labels of a model could not be kept')
    }
  }

  async #ofBundle(sha256: string): Promise<Result<readonly WakeFormat[], ContractError>> {
    const bundle = await this.#cache.get(sha256, 'verifier')
    if (!bundle.ok) return err(bundle.error)
    return wakeFormatsOf(bundle.value)
  }
}

const settingOf = (model: string): string => `wakes of ${model}`
