import { dirname, resolve } from 'node:path'
import * as z from 'zod'
import { sha256Hex } from '../../contract/bytes.ts'
import { LIMITS } from '../../contract/limits.ts'
import { seededRandom } from '../../contract/random.ts'
import { microFeatures } from '../../model/features/feature-definition.ts'
import { microFrontendDefinition } from '../../model/features/micro-frontend-definition.ts'
import { MICRO_QUANTIZATION } from '../../model/features/micro-stream.ts'
import { describeGraph, readGraph } from '../../model/graph-file.ts'
import { fittingBoards, type Packed, type PackInput, packBundle } from '../../model/pack.ts'
import { TFLITE_LIMITS } from '../../model/tflite/tflite-limits.ts'
import { readBounded } from '../bounded-file.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'
import { OutputFile } from '../output-file.ts'

/** The JSON beside a microWakeWord network. What it says of its author and its languages is carried into the card; what else it says of a
 *  runtime (sizes, versions) is none of ours.
 *  @see esphome `micro_wake_word`, manifest versions 1 and 2 */
const share = z.number().min(0).max(1)
const windows = z.int().min(1).max(32)
const manifestSchema = z.discriminatedUnion('version', [
  z.looseObject({
    version: z.literal(1),
    type: z.literal('micro'),
    wake_word: z.string().min(1).max(LIMITS.labelLength),
    model: z.string().min(1),
    micro: z.looseObject({ probability_cutoff: share, sliding_window_average_size: windows }),
  }),
  z.looseObject({
    version: z.literal(2),
    type: z.literal('micro'),
    wake_word: z.string().min(1).max(LIMITS.labelLength),
    model: z.string().min(1),
    micro: z.looseObject({
      probability_cutoff: share,
      sliding_window_size: windows,
      feature_step_size: z.int().min(1).max(1_000),
      tensor_arena_size: z.int().positive().optional(),
    }),
  }),
])
type MicroManifest = z.infer<typeof manifestSchema>

/** spec: what networks of the first version were trained on; the second version says it. */
const FIRST_VERSION_STEP_MS = 20
/** spec: outputs are 8 bits of 1/256, and a cutoff is one of 1/255. */
const CUTOFF_SCALE = 255 / 256
/** spec: after a wake nothing is reported for two seconds, in the reference client. */
const REFRACTORY_MS = 2_000
/** chosen: as the zoo's bundles */
const WAKE_HOLD_MS = 5_000
/** chosen: the arithmetic is exact, so drawn windows try it as well as recorded ones; eight in a row try what the graph keeps from one to the next, too. */
const GOLDEN_VECTORS = 8
const GRAPH = 'wake'

export interface ImportOptions {
  /** release name; default: the wake word in lower case with dashes */
  readonly name?: string | undefined
  readonly releaseVersion: number
  /** default: every board that can run it */
  readonly boards?: readonly string[] | undefined
  readonly replaces: boolean
}

/** Packs a microWakeWord network from its manifest alone. The same inputs give the same bytes.
 *  @param manifestPath JSON of version 1 or 2; the network's file is beside it */
export async function importMicroWakeWord(
  manifestPath: string,
  outPath: string,
  options: ImportOptions,
): Promise<Packed> {
  const manifest = readManifest(manifestPath)
  OutputFile.check(outPath, options.replaces)
  const modelPath = resolve(dirname(manifestPath), manifest.model)
  const graph = readBounded(modelPath, TFLITE_LIMITS.modelBytes)
  const frames = framesOf(modelPath, graph)
  const stepMs = manifest.version === 1 ? FIRST_VERSION_STEP_MS : manifest.micro.feature_step_size
  const input = packInput(manifest, graph, { stepMs, frames }, options, manifestPath)
  const engine = bundleEngine()
  const packFor = async (boards: readonly string[]): Promise<Packed> => {
    const packed = await packBundle({ ...input, manifest: { ...input.manifest, boards: [...boards] } }, engine)
    if (!packed.ok) throw new CommandFailure(`${manifestPath}: ${packed.error.code}: ${packed.error.detail}`)
    return packed.value
  }
  // Which boards can run it follows from figures that only packing gives.
  const packed = await packFor(options.boards ?? fittingBoards((await packFor([])).manifest))
  OutputFile.write(outPath, packed.bundle, options.replaces)
  return packed
}

function packInput(
  manifest: MicroManifest,
  graph: Uint8Array,
  { stepMs, frames }: { readonly stepMs: number; readonly frames: number },
  options: ImportOptions,
  manifestPath: string,
): PackInput {
  const { probability_cutoff: cutoff } = manifest.micro
  const smoothingWindows =
    manifest.version === 1 ? manifest.micro.sliding_window_average_size : manifest.micro.sliding_window_size
  const { author, website, trained_languages: languages } = manifest as Record<string, unknown>
  const random = seededRandom(1)
  return {
    manifest: {
      name: options.name ?? releaseNameOf(manifest.wake_word, manifestPath),
      version: options.releaseVersion,
      parent: null,
      securityCounter: 0,
      labels: [manifest.wake_word],
      features: microFeatures(stepMs, frames),
      featureQuantization: { ...MICRO_QUANTIZATION },
      graphs: [{ id: GRAPH, input: null, output: null }],
      // Every window must be heard: the network keeps what it has heard in buffers of its own.
      ladder: [{ level: 'full', graph: GRAPH, hopFrames: frames, gate: null }],
      policy: {
        smoothingWindows,
        thresholdPermille: Math.round(1000 * cutoff * CUTOFF_SCALE),
        refractoryMs: REFRACTORY_MS,
        wakeHoldMs: WAKE_HOLD_MS,
        ignoreLabels: [],
      },
      boards: [],
      goldenTolerance: 0,
    },
    graphs: new Map([[GRAPH, graph]]),
    goldenInputs: Array.from({ length: GOLDEN_VECTORS }, () =>
      Int8Array.from(
        { length: frames * microFrontendDefinition.channels },
        () => Math.floor(random.next() * 256) - 128,
      ),
    ),
    card: JSON.stringify({
      ...{ wakeWord: manifest.wake_word, author, website, languages },
      source: { kind: 'microWakeWord', manifestVersion: manifest.version, modelSha256: sha256Hex(graph) },
      policy: { cutoff, slidingWindow: smoothingWindows, featureStepMs: stepMs },
    }),
  }
}

/** @returns frames that the network reads at once */
function framesOf(path: string, bytes: Uint8Array): number {
  const graph = readGraph(bytes)
  if (!graph.ok) throw new CommandFailure(`${path}: ${graph.error.code}: ${graph.error.detail}`)
  const { format, inputs } = describeGraph(graph.value)
  const dims = inputs[0]?.dims ?? []
  const [batch, frames, channels] = dims
  const { channels: expected } = microFrontendDefinition
  if (
    format !== 'tflite' ||
    inputs.length !== 1 ||
    dims.length !== 3 ||
    batch !== 1 ||
    frames == null ||
    channels !== expected
  ) {
    throw new CommandFailure(`${path}: no network of microWakeWord: it takes [${dims.join(', ')}] of ${format}`, {
      hint: `one is TFLite and takes 1 × frames × ${expected}; "kinglet model pack" packs others`,
    })
  }
  return frames
}

function readManifest(path: string): MicroManifest {
  const json = readJsonFile(path)
  const { version, type } = (json ?? {}) as Record<string, unknown>
  const hint =
    'the JSON beside a microWakeWord network has "type": "micro", "version": 1 or 2, "wake_word", "model" and "micro"'
  if (type !== 'micro')
    throw new CommandFailure(`${path}: no microWakeWord manifest: type is ${JSON.stringify(type)}`, { hint })
  if (version !== 1 && version !== 2) {
    throw new CommandFailure(`${path}: manifest version ${JSON.stringify(version)}; 1 and 2 are known`, { hint })
  }
  const parsed = manifestSchema.safeParse(json)
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path}: ${firstIssue(parsed.error)}`, { hint })
}

function releaseNameOf(wakeWord: string, path: string): string {
  const name = wakeWord
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, LIMITS.nameLength)
  if (name !== '') return name
  throw new CommandFailure(`${path}: no release name can be made of the wake word "${wakeWord}"`, {
    hint: 'say one with --name',
  })
}
