import { readFileSync } from 'node:fs'
import * as z from 'zod'
import type { Quantization } from '../../model/features/quantize.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { firstIssue, readJsonFile } from '../json-file.ts'

interface VerifierFile {
  readonly graph: Uint8Array
  readonly labels: readonly string[]
  readonly featureQuantization: Quantization
}

const verifierFileSchema = z.object({
  labels: z.array(z.string()),
  input: z.object({ scale: z.number(), zeroPoint: z.int() }),
})

/** Reads a verifier: NAME.onnx and, beside it, NAME.json with labels and feature quantization. */
export function readVerifier(path: string): VerifierFile {
  const describing = path.replace(/\.onnx$/, '.json')
  const parsed = verifierFileSchema.safeParse(readJsonFile(describing))
  if (!parsed.success) throw new CommandFailure(`${describing}: ${firstIssue(parsed.error)}`)
  const { labels, input } = parsed.data
  try {
    return { graph: readFileSync(path), labels, featureQuantization: input }
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}
