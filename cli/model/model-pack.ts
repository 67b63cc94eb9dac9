import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import * as z from 'zod'
import { sha256Hex } from '../../contract/bytes.ts'
import { wakePolicySchema } from '../../contract/manifest.ts'
import { LADDER_LEVELS } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import { createMfcc } from '../../model/features/mfcc.ts'
import { checkMfccDefinition, mfccDefinitionHighPass, mfccDefinitionV1 } from '../../model/features/mfcc-definition.ts'
import { quantizeFeatures } from '../../model/features/quantize.ts'
import { type Packed, packBundle } from '../../model/pack.ts'
import { readAudio, wavFiles } from '../audio-files.ts'
import { AudioNotes } from '../audio-notes.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'
import { readBundleFile } from '../open-bundle-file.ts'
import { OutputFile } from '../output-file.ts'

const quantization = z.strictObject({ scale: z.number().positive(), zeroPoint: z.int() })

/** A pack file: what a person decides about a bundle. Paths are relative to the file. `docs/bundle.md` explains each field. */
const packFileSchema = z.strictObject({
  name: z.string(),
  version: z.int().positive(),
  /** bundle file of the model this one was trained from */
  parent: z.string().nullable(),
  securityCounter: z.int().nonnegative(),
  labels: z.array(z.string()),
  /** omitted: MLPerf Tiny's keyword-spotting MFCC */
  features: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
  featureQuantization: quantization,
  graphs: z.array(
    z.strictObject({
      id: z.string(),
      file: z.string(),
      input: quantization.nullable().default(null),
      output: quantization.nullable().default(null),
    }),
  ),
  ladder: z.array(
    z.strictObject({
      level: z.enum(LADDER_LEVELS),
      graph: z.string().nullable(),
      hopFrames: z.int().positive(),
      gate: z.strictObject({ marginDb: z.number(), hangoverMs: z.int().nonnegative() }).nullable(),
    }),
  ),
  policy: z.custom<z.infer<typeof wakePolicySchema>>(
    (value) => wakePolicySchema.safeParse(value).success,
    'not a wake policy',
  ),
  boards: z.array(z.string()),
  golden: z.strictObject({ audio: z.string(), count: z.int().positive().max(64), tolerance: z.number().positive() }),
  card: z.string(),
})

export interface PackReport {
  readonly bundle: string
  readonly packed: Packed
  /** what people should know of the recordings that golden vectors were made of */
  readonly notes: readonly string[]
}

/** Packs a bundle from a pack file. The same inputs give the same bytes.
 *  @param replaces whether a file at `outPath` may be replaced
 *  @param highPass whether its features are those of a high-pass, see `mfccDefinitionHighPass` */
export async function packFile(
  specPath: string,
  outPath: string,
  { replaces, highPass }: { readonly replaces: boolean; readonly highPass: boolean },
): Promise<PackReport> {
  const here = dirname(specPath)
  const spec = readSpec(specPath)
  OutputFile.check(outPath, replaces)
  const { highPassHz } = mfccDefinitionHighPass
  const definition = checkMfccDefinition({ ...(spec.features ?? mfccDefinitionV1), ...(highPass && { highPassHz }) })
  if (!definition.ok) throw new CommandFailure(`${specPath}: ${definition.error.code}: ${definition.error.detail}`)
  const read = (file: string): Uint8Array => {
    try {
      return readFileSync(resolve(here, file))
    } catch (cause) {
      throw fileFailure(resolve(here, file), cause)
    }
  }
  const mfcc = createMfcc(definition.value)
  const { clipSamples, frames, coefficients, sampleRateHz } = definition.value
  const clips = wavFiles(resolve(here, spec.golden.audio))
  if (clips.length === 0)
    throw new CommandFailure(`${specPath}: no WAV files for golden vectors in ${spec.golden.audio}`)
  // Spread over the folder, so that every label's sub-folder is likely to be seen.
  const count = Math.min(spec.golden.count, clips.length)
  const audioNotes = new AudioNotes()
  const goldenInputs = Array.from({ length: count }, (_, i) => {
    const path = present(clips[Math.floor((i * clips.length) / count)], 'a clip')
    const audio = readAudio(path, sampleRateHz)
    if ('refusal' in audio) throw new CommandFailure(`${path}: ${audio.refusal}`)
    audioNotes.add(path, audio.notes)
    const clip = new Float32Array(clipSamples)
    clip.set(audio.samples.subarray(0, clipSamples))
    const features = mfcc(clip, new Float32Array(frames * coefficients))
    return quantizeFeatures(features, spec.featureQuantization, new Int8Array(features.length))
  })
  const { golden, card, graphs, parent, features: _features, ...rest } = spec
  const packed = await packBundle(
    {
      manifest: {
        ...rest,
        features: { ...definition.value },
        parent: parent === null ? null : sha256Hex(readBundleFile(resolve(here, parent))),
        graphs: graphs.map(({ id, input, output }) => ({ id, input, output })),
        goldenTolerance: golden.tolerance,
      },
      graphs: new Map(graphs.map(({ id, file }) => [id, read(file)])),
      goldenInputs,
      card: new TextDecoder().decode(read(card)),
    },
    bundleEngine(),
  )
  if (!packed.ok) throw new CommandFailure(`${specPath}: ${packed.error.code}: ${packed.error.detail}`)
  OutputFile.write(outPath, packed.value.bundle, replaces)
  return { bundle: outPath, packed: packed.value, notes: audioNotes.lines() }
}

function readSpec(path: string): z.infer<typeof packFileSchema> {
  const parsed = packFileSchema.safeParse(readJsonFile(path))
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path}: ${firstIssue(parsed.error)}`, { hint: 'docs/bundle.md explains every field' })
}
