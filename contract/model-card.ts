import * as z from 'zod/mini'
import { LIMITS } from './limits.ts'

/** What a model card says that a machine reads; all else in it is for people. Every field may be missing: which must be there says the risk of
 *  the release (docs/bundle.md). */

const words = z.string().check(z.minLength(1), z.maxLength(4_096))
const names = z.union([words, z.array(words).check(z.minLength(1), z.maxLength(256))])
const amount = z.number().check(z.minimum(0))

export const LINEAGE_FIELDS = ['data', 'code', 'parameters', 'environment', 'artifacts'] as const
export const CARD_WORDS = ['intendedUse', 'limitations', 'owner'] as const

const cardSchema = z.object({
  /** what it is for, where it fails, who answers for it */
  intendedUse: z.optional(words),
  limitations: z.optional(words),
  owner: z.optional(words),
  /** what it was made of: hashes, commits, addresses */
  lineage: z.optional(
    z.object({
      data: z.optional(names),
      code: z.optional(names),
      parameters: z.optional(names),
      environment: z.optional(names),
      artifacts: z.optional(names),
    }),
  ),
  /** measured on a part of the world, in the words of a query of devices: `board:xG24`, `environment:noisy` */
  evaluation: z.optional(
    z
      .array(z.object({ slice: words, metric: words, value: z.number(), samples: z.int().check(z.minimum(1)) }))
      .check(z.maxLength(1_000)),
  ),
  /** what a board has for the model, of boards that Kinglet does not know */
  boards: z.optional(z.record(z.string(), z.object({ ramBytes: amount, flashBytes: amount, inferenceMs: amount }))),
})
export type ModelCard = z.infer<typeof cardSchema>

/** @returns the card, or what is wrong with it in words */
export function parseCard(data: Uint8Array | undefined): ModelCard | string {
  if (data === undefined) return 'the bundle has no model card'
  if (data.length > LIMITS.manifestBytes)
    return `the model card has ${data.length} bytes, of at most ${LIMITS.manifestBytes}`
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data))
  } catch {
    return 'the model card is no JSON'
  }
  const parsed = cardSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  return `the model card's ${issue?.path.join('.') || 'content'} is not as docs/bundle.md has it: ${issue?.message ?? 'invalid'}`
}
