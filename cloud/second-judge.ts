import { bytesToHex } from '../contract/bytes.ts'
import type { Wake } from '../contract/messages.ts'
import type { Engine } from '../model/engine/engine.ts'
import { judgeWake, type WakeFormat, type WakeVerifier, wakeFormatsOf, windowOf } from '../model/wake-judge.ts'
import { type OpenedVerifier, openGivenVerifier, openVerifier } from '../model/wake-verifier.ts'
import type { ArtifactFolder } from './registry/artifact-folder.ts'
import type { ReleaseRecord } from './store/model-store.ts'
import type { Store } from './store/store.ts'

/** The cloud's own verifier. */
export interface SecondVerifier extends WakeVerifier {
  /** float32 ONNX graph, window in, posteriors out; the one that gateways have */
  readonly graph: Uint8Array
}

/** Judges wakes with the cloud's own verifier. The engine works in threads of its own, one wake at a time: requests do not wait for it. */
export class SecondJudge {
  readonly #store: Store
  readonly #artifacts: Pick<ArtifactFolder, 'read'>
  /** what judges wakes of releases that name no verifier */
  readonly #given: OpenedVerifier
  readonly #engine: Engine
  /** at most one a release; null: it cannot be read */
  readonly #means = new Map<string, Promise<Means | null>>()
  /** by hash, since versions of a model share one; null: it cannot be opened */
  readonly #own = new Map<string, Promise<OpenedVerifier | null>>()

  private constructor(store: Store, artifacts: Pick<ArtifactFolder, 'read'>, given: OpenedVerifier, engine: Engine) {
    this.#store = store
    this.#artifacts = artifacts
    this.#given = given
    this.#engine = engine
  }

  /** @throws when the engine cannot load the graph: a cloud with a broken verifier must not start */
  static async open(
    store: Store,
    artifacts: Pick<ArtifactFolder, 'read'>,
    model: SecondVerifier,
    engine: Engine,
  ): Promise<SecondJudge> {
    return new SecondJudge(store, artifacts, await openGivenVerifier(model, engine), engine)
  }

  /** @returns undefined when the wake cannot be judged */
  async judge(wake: Wake): Promise<boolean | undefined> {
    const means = await this.#meansOf(bytesToHex(wake.model))
    const format = means?.pipelines[wake.pipeline ?? 0]
    if (means === null || format === undefined) return undefined
    const { session } = means.verifier
    return judgeWake(wake, format, means.verifier, session.input.elements, async (features, quantization) => {
      const result = await session.run(windowOf(features, quantization))
      return result.ok ? result.value : undefined
    })
  }

  async close(): Promise<void> {
    for (const verifier of await Promise.all(this.#own.values())) await verifier?.close()
    await this.#given.close()
  }

  #meansOf(model: string): Promise<Means | null> {
    const known = this.#means.get(model)
    if (known !== undefined) return known
    const release = this.#store.models.list().find(({ prefix }) => prefix === model)
    // A device may make up models: of those nothing is remembered.
    if (release === undefined) return Promise.resolve(null)
    const means = this.#open(release)
    this.#means.set(model, means)
    return means
  }

  async #open({ sha256, verifier }: ReleaseRecord): Promise<Means | null> {
    const bundle = this.#artifacts.read(sha256)
    const formats = bundle && wakeFormatsOf(bundle)
    if (formats?.ok !== true) return null
    const pipelines = formats.value
    if (verifier === null) return { pipelines, verifier: this.#given }
    const own = this.#own.get(verifier) ?? this.#openOwn(verifier)
    this.#own.set(verifier, own)
    const opened = await own
    return opened && { pipelines, verifier: opened }
  }

  async #openOwn(sha256: string): Promise<OpenedVerifier | null> {
    const bundle = this.#artifacts.read(sha256)
    const opened = bundle && (await openVerifier(bundle, this.#engine))
    return opened?.ok === true ? opened.value : null
  }
}

/** What wakes of a release are judged with. */
interface Means {
  readonly pipelines: readonly WakeFormat[]
  readonly verifier: OpenedVerifier
}
