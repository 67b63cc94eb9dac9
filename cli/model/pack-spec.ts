import { LineCounter, parseDocument } from 'yaml'
import * as z from 'zod'
import { NAME_PATTERN } from '../../contract/id.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { LIMITS } from '../../contract/limits.ts'
import { wakePolicySchema } from '../../contract/manifest-fields.ts'
import { BOARDS } from '../../model/boards.ts'
import { readBounded } from '../bounded-file.ts'
import { CommandFailure } from '../failure.ts'

/** chosen: the largest has 3 kB */
const SPEC_BYTES = 1024 * 1024

/** chosen: no network's values are as coarse or as fine; a reciprocal or an exponent in place of a scale is. */
const SCALES = { least: 1e-9, most: 1e6 }

export const quantizationField = z.strictObject({
  scale: z
    .number()
    .min(SCALES.least, `a scale is the real value of one step, ${SCALES.least} to ${SCALES.most}`)
    .max(SCALES.most, `a scale is the real value of one step, ${SCALES.least} to ${SCALES.most}`),
  zeroPoint: z
    .int()
    .min(-128, 'a zero point is the 8-bit value of real 0, -128 to 255')
    .max(255, 'a zero point is the 8-bit value of real 0, -128 to 255'),
})

export const namedField = (what: string) =>
  z.string().regex(NAME_PATTERN, `${what} is of lower-case letters, digits and dashes, ${LIMITS.nameLength} at most`)

const graphSchema = z.strictObject({
  id: namedField('the id of a graph'),
  file: z.string().min(1),
  input: quantizationField.nullable().default(null),
  output: quantizationField.nullable().default(null),
})

const levelSchema = z.strictObject({
  level: z.enum(LADDER_LEVELS),
  graph: z.string().nullable(),
  hopFrames: z.int().positive(),
  gate: z.strictObject({ marginDb: z.number(), hangoverMs: z.int().nonnegative() }).nullable(),
})

/** A pack file: what a person decides about a bundle. Paths are relative to the file. `docs/bundle.md` explains each field. */
const packFileSchema = z
  .strictObject({
    name: namedField('a name'),
    version: z.int().positive(),
    /** bundle file of the model this one was trained from */
    parent: z.string().nullable(),
    securityCounter: z.int().nonnegative(),
    labels: z.array(z.string().min(1)).min(1),
    /** omitted: MLPerf Tiny's keyword-spotting MFCC */
    features: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
    featureQuantization: quantizationField,
    graphs: z.array(graphSchema).min(1),
    ladder: z.array(levelSchema).min(1, 'a bundle needs a level that runs'),
    policy: wakePolicySchema,
    boards: z.array(z.string()),
    golden: z.strictObject({
      audio: z.string(),
      count: z.int().positive().max(64),
      tolerance: z.number().nonnegative(),
    }),
    /** omitted: made of what the packer knows */
    card: z.string().optional(),
  })
  .superRefine((spec, context) => {
    const refuse = (message: string, ...path: (string | number)[]) =>
      context.addIssue({ code: 'custom', message, path })
    const twice = (values: readonly string[], refused: (at: number) => void) => {
      for (const [at, value] of values.entries()) if (values.indexOf(value) !== at) refused(at)
    }
    twice(spec.labels, (at) =>
      refuse(`label "${spec.labels[at]}" is there twice; each output has a name of its own`, 'labels', at),
    )
    const ids = spec.graphs.map(({ id }) => id)
    twice(ids, (at) => refuse(`two graphs have the id "${ids[at]}"`, 'graphs', at, 'id'))
    twice(
      spec.ladder.map(({ level }) => level),
      (at) => refuse(`level ${spec.ladder[at]?.level} is there twice`, 'ladder', at, 'level'),
    )
    for (const [at, { level, graph }] of spec.ladder.entries()) {
      const known = `this file's graphs are ${ids.join(', ')}`
      if (graph === null)
        refuse(
          `level ${level} has no graph and would hear nothing: name one or leave the level out; ${known}`,
          'ladder',
          at,
          'graph',
        )
      else if (!ids.includes(graph))
        refuse(`level ${level} names the graph "${graph}"; ${known}`, 'ladder', at, 'graph')
    }
    for (const [at, label] of spec.policy.ignoreLabels.entries()) {
      if (!spec.labels.includes(label))
        refuse(`"${label}" is no label; labels are ${spec.labels.join(', ')}`, 'policy', 'ignoreLabels', at)
    }
    for (const [at, board] of spec.boards.entries()) {
      if (BOARDS.some((known) => known.name === board)) continue
      refuse(`no board "${board}"; boards are ${BOARDS.map((known) => known.name).join(', ')}`, 'boards', at)
    }
  })
export type PackSpec = z.infer<typeof packFileSchema>

/** A pack file as it was read, with the places of its fields. */
export interface ReadSpec {
  readonly spec: PackSpec
  /** @returns the failure that something about a field is, with file, line and column */
  failure(field: readonly (string | number)[], what: string): CommandFailure
}

const HINT = { hint: 'docs/bundle.md explains every field' }

/** A pack file before its fields are looked at. */
export interface OpenedSpec {
  readonly json: object
  readonly failure: ReadSpec['failure']
}

/** Opens a pack file, YAML or JSON (which is YAML too).
 *  @throws CommandFailure with file, line and column where it is neither */
export const openPackSpec = (path: string): OpenedSpec =>
  packSpecOf(readBounded(path, SPEC_BYTES).toString('utf8'), path)

/** The same of its text. @param path what messages call it */
export function packSpecOf(text: string, path: string): OpenedSpec {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset)
    return `${path}:${line}:${col}`
  }
  const [error] = document.errors
  if (error !== undefined) {
    throw new CommandFailure(`${at(error.pos[0])}: neither YAML nor JSON: ${error.message.split('\n')[0]}`, HINT)
  }
  const failure: OpenedSpec['failure'] = (field, what) => {
    // Of a field that is not there, the place where it would be.
    for (let depth = field.length; depth >= 0; depth--) {
      const node: unknown = depth === 0 ? document.contents : document.getIn(field.slice(0, depth), true)
      const range = (node as { readonly range?: readonly number[] | null } | null | undefined)?.range
      if (range?.[0] === undefined) continue
      return new CommandFailure(`${at(range[0])}: ${field.length > 0 ? `${field.join('.')}: ` : ''}${what}`, HINT)
    }
    return new CommandFailure(`${path}: ${what}`, HINT)
  }
  let json: unknown
  try {
    json = document.toJS({ maxAliasCount: 100 })
  } catch (cause) {
    throw new CommandFailure(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause, ...HINT })
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CommandFailure(`${path}: no pack file: it holds no fields`, HINT)
  }
  return { json, failure }
}

/** Reads the pack file of a bundle of one front end and one graph a level.
 *  @throws CommandFailure with file, line and column of the first field that is wrong, and what instead */
export const readPackSpec = (opened: OpenedSpec): ReadSpec => ({
  spec: parseSpec(packFileSchema, opened),
  failure: opened.failure,
})

/** @throws CommandFailure with file, line and column of the first field that is wrong, and what instead */
export function parseSpec<T>(schema: z.ZodType<T>, { json, failure }: OpenedSpec): T {
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue, ...more] = parsed.error.issues
  const field = (issue?.path ?? []).filter((key): key is string | number => typeof key !== 'symbol')
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`
  throw failure(field, `${issue?.message ?? 'invalid'}${others}`)
}
