import { type ContractError, contractError } from '../contract/errors.ts'
import { type Head, labelsOf } from '../contract/head.ts'
import { type BundleManifest, featuresSha256, readManifest } from '../contract/manifest.ts'
import { err, ok, type Result } from '../contract/result.ts'
import type { Engine, EngineSession } from './engine/engine.ts'
import { openBundle } from './opened-bundle.ts'
import { anomalyScore } from './pipeline/anomaly-score.ts'
import type { WakeVerifier } from './wake-judge.ts'

/** What judges: one pipeline of one graph, whose posteriors have labels or whose score has a threshold. */
interface Judging {
  readonly head: Exclude<Head, { kind: 'regression' }>
  readonly labels: readonly string[]
  readonly featuresSha256: string
  readonly graph: string
}

function judgingOf({ pipelines, ladder }: BundleManifest): Result<Judging, ContractError> {
  const [pipeline] = pipelines
  const graphs = ladder[0]?.runs[0]?.graphs ?? []
  const [graph] = graphs
  if (pipeline === undefined || pipelines.length > 1 || graph === undefined || graphs.length > 1) {
    return err(contractError('bundle-bad-manifest', 'a verifier is one pipeline with one graph at its best level'))
  }
  const { head, features } = pipeline
  if (head.kind === 'regression') {
    return err(
      contractError(
        'bundle-bad-manifest',
        'a verifier says yes or no: its head is wake, classification or anomaly, not regression',
      ),
    )
  }
  return ok({ head, labels: labelsOf(head), featuresSha256: featuresSha256(features), graph })
}

/** Whether one bundle can judge wakes of another: it reads what they carry, and knows a word that wakes by its name.
 *  @returns `contradicts-release` with what is wanting, or the codes of decodeBundle and parseManifest */
export function verifierFits(verifier: Uint8Array, release: Uint8Array): Result<void, ContractError> {
  const [own, judged] = [readManifest(verifier), readManifest(release)]
  const judges = own.ok ? judgingOf(own.value) : own
  if (!judges.ok) return err({ ...judges.error, detail: `the verifier: ${judges.error.detail}` })
  if (!judged.ok) return judged
  const { name, pipelines } = judged.value
  const heard = pipelines.filter(({ features }) => featuresSha256(features) === judges.value.featuresSha256)
  if (heard.length === 0) {
    return err(
      contractError('contradicts-release', `the verifier has another front end than ${name}, whose wakes it would get`),
    )
  }
  const waking = heard.flatMap(({ head }) =>
    labelsOf(head).filter((label) => head.kind !== 'wake' || !head.policy.ignoreLabels.includes(label)),
  )
  if (waking.some((label) => judges.value.labels.includes(label))) return ok(undefined)
  return err(
    contractError('contradicts-release', `the verifier knows no label of ${name} that wakes (${waking.join(', ')})`),
  )
}

/** A verifier and its network. */
export interface OpenedVerifier extends WakeVerifier {
  readonly session: EngineSession
  close(): Promise<void>
}

/** Opens a bare network as a verifier, which comes with its labels.
 *  @param given.graph float32 ONNX, window in, posteriors out
 *  @throws when the engine cannot load it: who has a broken verifier must not start */
export async function openGivenVerifier(
  { graph, labels, threshold }: WakeVerifier & { readonly graph: Uint8Array },
  engine: Engine,
): Promise<OpenedVerifier> {
  const session = await engine.load(graph)
  if (!session.ok) throw new Error(`verifier: ${session.error.code}: ${session.error.detail}`)
  return { labels, threshold, session: session.value, close: () => session.value.dispose() }
}

/** A session that gives one posterior in place of what an anomaly head scores: one half at its threshold. */
const scoring = (session: EngineSession, head: Extract<Head, { kind: 'anomaly' }>): EngineSession => ({
  input: session.input,
  output: { ...session.output, dims: [1, 1], elements: 1, quantization: null },
  async run(window) {
    const result = await session.run(window)
    if (!result.ok) return result
    const score = Math.max(0, anomalyScore(head, result.value, Float32Array.from(window)))
    if (!Number.isFinite(score))
      return err({ code: 'engine-run-failed', detail: 'the verifier scores no number' } as const)
    return ok(Float32Array.of(score / (score + head.threshold)))
  },
  dispose: () => session.dispose(),
})

/** Opens a bundle as a verifier: the network of its best level, whatever is below.
 *  @returns the codes of openBundle, `bundle-bad-manifest` for what cannot judge */
export async function openVerifier(bundle: Uint8Array, engine: Engine): Promise<Result<OpenedVerifier, ContractError>> {
  // A gateway or a cloud, whose memory is not a board's.
  const opened = await openBundle(bundle, engine, Number.POSITIVE_INFINITY)
  if (!opened.ok) return opened
  const { manifest, sessions } = opened.value
  const judges = judgingOf(manifest)
  const session = judges.ok ? sessions.get(judges.value.graph) : undefined
  if (judges.ok && session !== undefined) {
    const { head, labels, featuresSha256: reads } = judges.value
    const asked = head.kind === 'anomaly' ? scoring(session, head) : session
    return ok({ labels, session: asked, featuresSha256: reads, close: () => opened.value.dispose() })
  }
  await opened.value.dispose()
  return judges.ok ? err(contractError('bundle-bad-manifest', 'the graph of the verifier is not open')) : judges
}
