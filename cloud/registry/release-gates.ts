import type { BundleManifest } from '../../contract/manifest.ts'
import { CARD_WORDS, LINEAGE_FIELDS, type ModelCard, parseCard } from '../../contract/model-card.ts'
import type { Release } from '../../contract/release.ts'
import { boardNamed, modelRamBytes } from '../../model/boards.ts'
import type { ReleaseRisk } from '../store/approval-store.ts'

/** How many people besides whoever registered it have to approve a release. */
export const APPROVALS: Readonly<Record<ReleaseRisk, number>> = { low: 0, medium: 1, high: 2 }

/** What a release lacks, and how to get it. */
export interface ReleaseLack {
  readonly gate: 'bundle' | 'card' | 'lineage' | 'resources' | 'golden' | 'evaluation' | 'approvals'
  readonly lacks: string
  readonly how: string
}

/** What is known of a release. */
export interface ReleaseFacts {
  readonly release: Release
  /** undefined: its bundle is not here any more, or cannot be read */
  readonly bundle: { readonly manifest: BundleManifest; readonly card: Uint8Array | undefined } | undefined
  readonly approvals: number
}

const PACK_ANEW =
  'put it into the file that "card" of the pack file names, and pack, sign and register the next version'

/** What a release lacks for its risk; what cannot be read is missing. Low risk asks for nothing but what registering does. */
export function lacksOf(risk: ReleaseRisk, { release, bundle, approvals }: ReleaseFacts): readonly ReleaseLack[] {
  if (risk === 'low') return []
  if (bundle === undefined) {
    return [{ gate: 'bundle', lacks: 'its bundle, which cannot be read', how: 'upload it again: kinglet release add' }]
  }
  const card = parseCard(bundle.card)
  const wanted = APPROVALS[risk]
  const approvalLack: readonly ReleaseLack[] =
    approvals >= wanted
      ? []
      : [
          {
            gate: 'approvals',
            lacks: `${wanted - approvals} of ${wanted} approvals`,
            how: `somebody else than whoever registered it: kinglet release approve ${release.name}@${release.version}`,
          },
        ]
  if (typeof card === 'string')
    return [{ gate: 'card', lacks: card, how: PACK_ANEW }, ...goldenLack(bundle.manifest), ...approvalLack]
  return [
    ...cardLack(card),
    ...lineageLack(card),
    ...resourcesLack(release, card),
    ...goldenLack(bundle.manifest),
    ...(risk === 'high' ? evaluationLack(release, card) : []),
    ...approvalLack,
  ]
}

function cardLack(card: ModelCard): ReleaseLack[] {
  const missing = CARD_WORDS.filter((field) => card[field] === undefined)
  if (missing.length === 0) return []
  return [{ gate: 'card', lacks: `${missing.join(', ')} in its model card`, how: PACK_ANEW }]
}

function lineageLack({ lineage }: ModelCard): ReleaseLack[] {
  const missing = LINEAGE_FIELDS.filter((field) => lineage?.[field] === undefined)
  if (missing.length === 0) return []
  const of = missing.map((field) => `lineage.${field}`).join(', ')
  return [{ gate: 'lineage', lacks: `${of} in its model card`, how: PACK_ANEW }]
}

/** Each board must be named, known by Kinglet or described by the card, and have room for the model. */
function resourcesLack({ boards, arenaBytes, constantBytes }: Release, card: ModelCard): ReleaseLack[] {
  if (boards.length === 0) {
    const how = 'name them in "boards" of the pack file, and pack, sign and register the next version'
    return [{ gate: 'resources', lacks: 'the boards that it is for', how }]
  }
  return boards.flatMap((name): ReleaseLack[] => {
    const known = boardNamed(name)
    const stated = Object.hasOwn(card.boards ?? {}, name) ? card.boards?.[name] : undefined
    const room = known === undefined ? stated : { ramBytes: modelRamBytes(known), flashBytes: known.flashBytes }
    if (room === undefined) {
      return [
        { gate: 'resources', lacks: `boards.${name} in its model card: RAM, flash and milliseconds`, how: PACK_ANEW },
      ]
    }
    if (arenaBytes <= room.ramBytes && constantBytes <= room.flashBytes) return []
    const needs = `${arenaBytes} bytes of RAM and ${constantBytes} of flash`
    return [
      {
        gate: 'resources',
        lacks: `room on ${name}: it needs ${needs}`,
        how: 'make the model smaller, or leave the board out',
      },
    ]
  })
}

function goldenLack({ golden, pipelines }: BundleManifest): ReleaseLack[] {
  const without = pipelines.filter(
    (_, index) => !golden.runs.some(({ pipeline, results }) => pipeline === index && results > 0),
  )
  if (without.length === 0) return []
  const of = without.map(({ id }) => id).join(', ')
  return [{ gate: 'golden', lacks: `golden vectors of ${of}`, how: 'name recordings in "golden" of the pack file' }]
}

/** Each board, and some environment, must have been measured. */
function evaluationLack({ boards }: Release, { evaluation = [] }: ModelCard): ReleaseLack[] {
  const slices = new Set(evaluation.map(({ slice }) => slice))
  const missing = boards.map((name) => `board:${name}`).filter((slice) => !slices.has(slice))
  if (![...slices].some((slice) => slice.startsWith('environment:'))) missing.push('environment:…')
  if (missing.length === 0) return []
  return [{ gate: 'evaluation', lacks: `evaluation of ${missing.join(', ')} in its model card`, how: PACK_ANEW }]
}
