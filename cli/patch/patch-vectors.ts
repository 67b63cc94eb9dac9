import * as z from 'zod/mini'
import { CommandFailure } from '../failure.ts'
import { readJsonFile } from '../json-file.ts'

/** Patches with what a decoder is to make of them. */
const vectorSchema = z.strictObject({
  name: z.string().check(z.minLength(1), z.maxLength(100)),
  /** base64; null: a patch without a base */
  base: z.nullable(z.base64()),
  patch: z.base64(),
  /** of what the patch makes; null: it is to be refused */
  sha256: z.nullable(z.string().check(z.regex(/^[0-9a-f]{64}$/))),
  /** why ours refuses it; for people */
  error: z.optional(z.string()),
})
export interface PatchVector {
  readonly name: string
  readonly base: Uint8Array | null
  readonly patch: Uint8Array
  readonly sha256: string | null
}

/** Chosen: the file in the repository has a few more than 200. */
const VECTORS_MAX = 10_000

/** @throws CommandFailure when the file is no list of vectors */
export function readPatchVectors(path: string): readonly PatchVector[] {
  const parsed = z.array(vectorSchema).check(z.minLength(1), z.maxLength(VECTORS_MAX)).safeParse(readJsonFile(path))
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new CommandFailure(
      `${path}: no test vectors of patches: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
      {
        hint: 'the vectors of this version are test/fixtures/patch-vectors.json in the repository',
      },
    )
  }
  const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'))
  return parsed.data.map(({ name, base, patch, sha256 }) => ({
    name,
    base: base === null ? null : bytes(base),
    patch: bytes(patch),
    sha256,
  }))
}
