import { PAIR_KINDS, type PairKind } from './patch-corpus.ts'
import type { DecodingMemory, DecodingTime } from './patch-decoding.ts'
import type { NumberKindOfModel, ResidualLimit } from './patch-limit.ts'
import { best, PEERS, type Peer, type PeerBytes } from './patch-peers.ts'

/** One direction of a pair. */
export interface MeasuredPatch {
  readonly baseBytes: number
  readonly resultBytes: number
  readonly patchBytes: number
  readonly peers: PeerBytes
  readonly encodeMs: number
  readonly time: DecodingTime
  readonly memory: DecodingMemory
  readonly isRoundTrip: boolean
}

export interface MeasuredPair {
  readonly name: string
  readonly kind: PairKind
  /** whether the kind was told by the peers' ratio */
  readonly isKindGuessed: boolean
  readonly numbers: NumberKindOfModel
  /** old → new, what is judged */
  readonly forth: MeasuredPatch
  readonly back: MeasuredPatch
  /** our compact full image of the new file */
  readonly fullBytes: number
  /** of fine-tuned int8 networks */
  readonly limit: ResidualLimit | null
}

export interface Goal {
  readonly text: string
  /** null when a peer that it is measured against is missing */
  readonly isReached: boolean | null
  readonly measured: string
}

const STATE_BYTES = 16 * 1024
const all = () => true
const isFull = ({ isPatch }: Peer) => !isPatch
const has = ({ peers }: MeasuredPatch, among: (peer: Peer) => boolean): boolean =>
  PEERS.filter(among).every(({ name, standIn = name }) => (peers[name] ?? peers[standIn]) !== undefined)
const ratio = (bytes: number, peer: number | undefined): number | null => (peer === undefined ? null : bytes / peer)
const fixed = (value: number | null, digits = 3): string => (value === null ? '–' : value.toFixed(digits))
const throughput = (patch: MeasuredPatch, ms: number): number => patch.resultBytes / 1000 / ms

export interface Ratios {
  readonly toBsdiff: number | null
  readonly toBest: number | null
  readonly bestName: string
  readonly toFull: number | null
}

export function ratiosOf({ patchBytes, peers }: MeasuredPatch): Ratios {
  const smallest = best(peers, all)
  return {
    toBsdiff: ratio(patchBytes, peers.bsdiff ?? peers['bsdiff-node']),
    toBest: ratio(patchBytes, smallest?.bytes),
    bestName: smallest?.name ?? '–',
    toFull: ratio(patchBytes, best(peers, isFull)?.bytes),
  }
}

/** What the product promises, and whether it holds here. */
export function goalsOf(pairs: readonly MeasuredPair[]): Goal[] {
  const goals: Goal[] = []
  const atMost = (name: string, what: string, value: number | null, most: number): void => {
    const isReached = value === null ? null : value <= most
    goals.push({ text: `${name}: at most ${most.toFixed(3)} × ${what}`, isReached, measured: fixed(value) })
  }
  for (const pair of pairs) {
    const { name, kind, numbers, forth } = pair
    const { toBsdiff, toBest: toBestHere, toFull: toFullHere } = ratiosOf(forth)
    // The best of what is here may be worse than the best.
    const toBest = has(forth, all) ? toBestHere : null
    const toFull = has(forth, isFull) ? toFullHere : null
    if (name === 'kws-1 → kws-2 (network)') {
      atMost(name, 'bsdiff', toBsdiff, 0.55)
      atMost(name, 'best generic', toBest, 0.6)
    }
    if (/-head\b/.test(name)) atMost(name, 'best generic', toBest, 0.8)
    if (kind === 'fine-tuned' && numbers === 'float') atMost(name, 'best generic', toBest, 0.985)
    if (kind === 'retrained' && numbers === 'int8') atMost(name, 'the smaller of xz and zstd, full', toFull, 0.97)
    if (kind === 're-exported') atMost(name, 'best generic', toBest, 0.9)
  }
  const both = pairs.flatMap(({ name, forth, back }) => [
    { name, patch: forth },
    { name: `${name}, back`, patch: back },
  ])
  const worst = (value: (patch: MeasuredPatch) => number) =>
    both
      .map(({ name, patch }) => ({ name, value: value(patch) }))
      .reduce((most, one) => (one.value > most.value ? one : most))
  const missing = !pairs.every(({ forth }) => has(forth, all))
  const over = worst(({ patchBytes, peers }) => patchBytes - (best(peers, all)?.bytes ?? Number.POSITIVE_INFINITY))
  goals.push({
    text: 'every pair, both ways: at most 1.00 × best of all tools and 64 bytes',
    isReached: missing && over.value <= 64 ? null : over.value <= 64,
    measured: `${over.value > 0 ? '+' : ''}${over.value} bytes, ${over.name}`,
  })
  const slowest = worst((patch) => -throughput(patch, patch.time.coreMs))
  goals.push({
    text: 'every pair, both ways: decodes at least 5 MB/s of core time',
    isReached: -slowest.value >= 5,
    measured: `${(-slowest.value).toFixed(1)} MB/s, ${slowest.name}`,
  })
  const largest = worst(({ memory }) => memory.stateBytes)
  goals.push({
    text: `every pair, both ways: a decoder's state takes at most ${STATE_BYTES} bytes and a page`,
    isReached: largest.value <= STATE_BYTES,
    measured: `${largest.value} bytes, ${largest.name}`,
  })
  return goals
}

const row = (cells: readonly (string | number)[]): string => `| ${cells.join(' | ')} |`

/** Everything that was measured, as Markdown. */
export function reportLines(pairs: readonly MeasuredPair[]): string[] {
  const lines: string[] = []
  const head = ['pair', 'new file', 'patch', '/ bsdiff', '/ best generic', '/ xz, zstd full', 'back / best']
  const tail = ['full / xz, zstd full', 'encode s', 'decode MB/s: core time (best run, cold run)']
  for (const kind of PAIR_KINDS) {
    const some = pairs.filter((pair) => pair.kind === kind)
    if (some.length === 0) continue
    lines.push('', row([kind, ...head.slice(1), ...tail]), `|${'---|'.repeat(head.length + tail.length)}`)
    for (const pair of some) lines.push(pairRow(pair))
    const ratios = some.map(({ forth }) => ratiosOf(forth))
    const backs = some.map(({ back }) => ratiosOf(back).toBest)
    const means = [
      ratios.map(({ toBsdiff }) => toBsdiff),
      ratios.map(({ toBest }) => toBest),
      ratios.map(({ toFull }) => toFull),
      backs,
      some.map(fullRatio),
    ].map((values) => `**${fixed(geometricMean(values))}**`)
    lines.push(row([`**geometric mean of ${some.length}**`, '', '', ...means, '', '']))
  }
  const guessed = pairs.filter(({ isKindGuessed }) => isKindGuessed).map(({ name }) => name)
  if (guessed.length > 0)
    lines.push('', `Kind told by the ratio of the best generic patch to the full image: ${guessed.join(', ')}.`)
  const limits = pairs.filter(({ limit }) => limit !== null)
  if (limits.length > 0) {
    lines.push(
      '',
      row(['fine-tuned int8', 'weights', 'changed', 'entropy', 'spent on them', 'rest of the patch', 'patch / limit']),
      `|${'---|'.repeat(7)}`,
    )
    for (const { name, forth, limit } of limits) {
      const { weights, changedShare, entropyBytes, spentBytes, sideBytes } = limit!
      const changed = `${(100 * changedShare).toFixed(1)} %`
      const over = fixed(forth.patchBytes / (entropyBytes + sideBytes))
      lines.push(row([name, weights, changed, entropyBytes.toFixed(0), spentBytes, sideBytes, over]))
    }
  }
  const states = pairs.flatMap(({ forth, back }) => [forth.memory, back.memory])
  const most = (bytes: readonly number[]) => Math.max(...bytes)
  lines.push(
    '',
    `Decoder: state at most ${most(states.map(({ stateBytes }) => stateBytes))} bytes without the page; ` +
      `constant tables ${most(states.map(({ tableBytes }) => tableBytes))} bytes.`,
  )
  return lines
}

export function goalLines(goals: readonly Goal[]): string[] {
  const words = { true: 'reached', false: 'MISSED', null: 'not judged, a tool is missing' } as const
  return goals.map(({ text, isReached, measured }) => `${words[`${isReached}`]}: ${text}: ${measured}`)
}

const fullRatio = ({ fullBytes, forth }: MeasuredPair): number | null =>
  ratio(fullBytes, best(forth.peers, isFull)?.bytes)

function pairRow(pair: MeasuredPair): string {
  const { name, forth, back } = pair
  const { toBsdiff, toBest, bestName, toFull } = ratiosOf(forth)
  const speed = (ms: number) => throughput(forth, ms).toFixed(1)
  return row([
    name,
    forth.resultBytes,
    forth.patchBytes,
    fixed(toBsdiff),
    `${fixed(toBest)} (${bestName})`,
    fixed(toFull),
    fixed(ratiosOf(back).toBest),
    fixed(fullRatio(pair)),
    (forth.encodeMs / 1000).toFixed(1),
    `${speed(forth.time.coreMs)} (${speed(forth.time.bestMs)}, ${speed(forth.time.coldMs)})`,
  ])
}

function geometricMean(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null)
  if (known.length === 0 || known.length < values.length) return null
  return Math.exp(known.reduce((sum, value) => sum + Math.log(value), 0) / known.length)
}
