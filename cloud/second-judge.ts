import { bytesToHex } from '../contract/bytes.ts'
import type { Wake } from '../contract/messages.ts'
import type { Engine, EngineSession } from '../model/engine/engine.ts'
import { judgeWake, type WakeFormat, type WakeVerifier, wakeFormatOf, windowOf } from '../model/wake-judge.ts'
import type { ArtifactFolder } from './registry/artifact-folder.ts'
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
  readonly #model: SecondVerifier
  readonly #session: EngineSession
  /** at most one a release; null: it cannot be read */
  readonly #formats = new Map<string, WakeFormat | null>()

  private constructor(
    store: Store,
    artifacts: Pick<ArtifactFolder, 'read'>,
    model: SecondVerifier,
    session: EngineSession,
  ) {
    this.#store = store
    this.#artifacts = artifacts
    this.#model = model
    this.#session = session
  }

  /** @throws when the engine cannot load the graph: a cloud with a broken verifier must not start */
  static async open(
    store: Store,
    artifacts: Pick<ArtifactFolder, 'read'>,
    model: SecondVerifier,
    engine: Engine,
  ): Promise<SecondJudge> {
    const session = await engine.load(model.graph)
    if (!session.ok) throw new Error(`verifier: ${session.error.code}: ${session.error.detail}`)
    return new SecondJudge(store, artifacts, model, session.value)
  }

  /** @returns undefined when the wake cannot be judged */
  async judge(wake: Wake): Promise<boolean | undefined> {
    const format = this.#formatOf(bytesToHex(wake.model))
    if (format === null) return undefined
    return judgeWake(wake, format, this.#model, this.#session.input.elements, async (features, quantization) => {
      const result = await this.#session.run(windowOf(features, quantization))
      return result.ok ? result.value : undefined
    })
  }

  async close(): Promise<void> {
    await this.#session.dispose()
  }

  #formatOf(model: string): WakeFormat | null {
    const known = this.#formats.get(model)
    if (known !== undefined) return known
    const release = this.#store.models.list().find(({ prefix }) => prefix === model)
    // A device may make up models: of those nothing is remembered.
    if (release === undefined) return null
    const bundle = this.#artifacts.read(release.sha256)
    const read = bundle === undefined ? undefined : wakeFormatOf(bundle)
    const format = read?.ok === true ? read.value : null
    this.#formats.set(model, format)
    return format
  }
}
