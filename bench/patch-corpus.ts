import { existsSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'

/** Pairs of these kinds are judged apart: a mean over all of them says nothing, since no tool gains on a network retrained from another
 *  start and every tool does on one that was only exported again. */
export const PAIR_KINDS = ['fine-tuned', 'retrained', 're-exported'] as const
export type PairKind = (typeof PAIR_KINDS)[number]

/** Two successive versions of one model. */
export interface ModelPair {
  readonly name: string
  readonly oldPath: string
  readonly newPath: string
  /** undefined: to be told by how well the peers do */
  readonly kind: PairKind | undefined
}

const SUFFIXES: Readonly<Record<string, PairKind>> = {
  '-finetune': 'fine-tuned',
  '-retrained': 'retrained',
  '-reexport': 're-exported',
  '-small-change': 're-exported',
}

/** The project's own networks and bundles: kws-2 is fine-tuned from kws-1, and what else there is from one of the two. */
export function zooPairs(root: string): ModelPair[] {
  const pair = (folder: string, from: string, to: string, extension: string): ModelPair => ({
    name: `${from} → ${to} (${extension === 'onnx' ? 'network' : 'bundle'})`,
    oldPath: join(root, 'zoo', folder, `${from}.${extension}`),
    newPath: join(root, 'zoo', folder, `${to}.${extension}`),
    kind: 'fine-tuned',
  })
  const named = (folder: string, extension: string): string[] =>
    readdirSync(join(root, 'zoo', folder))
      .filter((name) => name.endsWith(`.${extension}`))
      .map((name) => basename(name, `.${extension}`))
  const retrained = (name: string): boolean => name.startsWith('kws-2-') || /^kws-[3-9]/.test(name)
  return [
    pair('models', 'kws-1', 'kws-2', 'onnx'),
    ...named('models', 'onnx')
      .filter(retrained)
      .map((name) => pair('models', 'kws-1', name, 'onnx')),
    pair('bundles', 'kws-1', 'kws-2', 'kinglet'),
    pair('bundles', 'kws-2', 'kws-regressed', 'kinglet'),
    ...named('bundles', 'kinglet')
      .filter(retrained)
      .map((name) => pair('bundles', 'kws-1', name, 'kinglet')),
  ]
}

/** @returns a pair for each subfolder with an old.* and a new.*; undefined when there is no such folder */
export function folderPairs(folder: string): ModelPair[] | undefined {
  if (!existsSync(folder)) return undefined
  const pairs: ModelPair[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    const files = readdirSync(join(folder, entry.name))
    const file = (stem: string) => files.find((name) => name.startsWith(`${stem}.`))
    const [from, to] = [file('old'), file('new')]
    if (from === undefined || to === undefined) continue
    const suffix = Object.keys(SUFFIXES).find((suffix) => entry.name.endsWith(suffix))
    pairs.push({
      name: entry.name,
      oldPath: join(folder, entry.name, from),
      newPath: join(folder, entry.name, to),
      kind: suffix === undefined ? undefined : SUFFIXES[suffix]!,
    })
  }
  return pairs.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The kind of a pair whose name does not tell, by what is left of the full image when the best generic tool makes a patch. Measured on
 *  124 public pairs: most lie at or above 0.9 or below 0.1. */
export function kindByRatio(patchBytes: number, fullBytes: number): PairKind {
  const ratio = patchBytes / fullBytes
  return ratio < 0.1 ? 're-exported' : ratio >= 0.9 ? 'retrained' : 'fine-tuned'
}
