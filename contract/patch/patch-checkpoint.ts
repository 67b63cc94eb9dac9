import { present } from '../present.ts'
import { bytesOfNumber } from './number-run.ts'
import { encodePatchHeader, PATCH_HEADER_BYTES_MAX, readPatchHeader } from './patch-header.ts'
import { PATCH_PHASES, type PatchState, WINDOW_BYTES } from './patch-state.ts'

/** Everything that is needed to go on after a power cut, at most PATCH_STATE_BYTES and a page. The pages written so far are not part
 *  of it: the next one to be written is at the last multiple of the page at or below `producedBytes`. */
export function encodeCheckpoint(state: PatchState): Uint8Array {
  const header = state.header === undefined ? new Uint8Array(0) : encodePatchHeader(state.header)
  const scalars = Float64Array.from(scalarsOf(state, header.length))
  const range = state.range
  const parts = [
    new Uint8Array(scalars.buffer),
    header,
    new Uint8Array(Float64Array.from(foretellingOf(state)).buffer),
    range.window.subarray(range.at, range.end),
    ...(state.phase === 'header' || state.phase === 'stored' ? [] : tablesOf(state)),
    state.space.pageSoFar,
  ]
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** What version 2 keeps besides: a checkpoint of version 1 is what it always was. */
const foretellingOf = ({ header, bytes: { literals } }: PatchState): number[] =>
  header === undefined || header.version === 1 ? [] : [literals.hits, literals.guesses, ...literals.changes]

function tablesOf(state: PatchState): Uint8Array[] {
  const { probability, seen } = state.range
  const { slots, weights } = state.bytes.literals
  return [probability, seen, slots, weights].map((table) => new Uint8Array(table.buffer))
}

function scalarsOf(state: PatchState, headerBytes: number): number[] {
  const range = state.range
  const bytes = state.bytes
  const own = [
    PATCH_PHASES.indexOf(state.phase),
    state.consumed,
    state.space.produced,
    state.stretch,
    state.copy,
    state.shift,
  ]
  return [
    headerBytes,
    range.end - range.at,
    ...own,
    state.space.recent,
    ...range.scalars(),
    bytes.history,
    bytes.baseEnd,
    ...bytes.shifts,
    ...state.numbers.scalars(),
  ]
}

/** Takes over what `encodeCheckpoint` gave, into a fresh state of the same options. The flash may hold anything: what is taken over is
 *  within the bounds that the rest relies on.
 *  @returns whether it can be a checkpoint; the state is of no use when it cannot
 *  @throws PatchFault `wrong-base` | `flash-over-budget`, as `PatchState.admit` */
export function restoreCheckpoint(state: PatchState, checkpoint: Uint8Array): boolean {
  const scalarBytes = 8 * scalarsOf(state, 0).length
  if (checkpoint.length < scalarBytes) return false
  const scalars = numbersIn(checkpoint.subarray(0, scalarBytes))
  if (scalars === undefined) return false
  let at = scalarBytes
  const take = (length: number): Uint8Array => {
    at += length
    return checkpoint.subarray(at - length, at)
  }
  const next = (): number => present(scalars.shift(), 'a number of the checkpoint')
  const [headerBytes, held, phase] = [next(), next(), PATCH_PHASES[next()]]
  if (phase === undefined || headerBytes < 0 || held < 0 || held > WINDOW_BYTES) return false
  if (headerBytes > PATCH_HEADER_BYTES_MAX) return false
  const header = readPatchHeader(take(headerBytes))
  if (header.ok) state.admit(header.value.header)
  else if (phase !== 'header') return false
  const { literals } = state.bytes
  const foretelling = numbersIn(take(8 * foretellingOf(state).length))
  if (foretelling === undefined) return false
  literals.hits = (foretelling[0] ?? 0) & 7
  literals.guesses = (foretelling[1] ?? 0) & 7
  literals.changes.set(foretelling.slice(2))
  state.phase = phase
  state.consumed = next()
  state.space.produced = next()
  state.stretch = next()
  state.copy = next()
  state.shift = next()
  state.space.recent = next()
  const range = state.range
  range.window.set(take(held).subarray(0, held))
  range.end = held
  range.restore(next)
  const bytes = state.bytes
  bytes.history = next() & 7
  bytes.baseEnd = next()
  for (let i = 0; i < bytes.shifts.length; i++) bytes.shifts[i] = next()
  if (!state.numbers.restore(next)) return false
  if (phase !== 'header' && phase !== 'stored') {
    for (const table of tablesOf(state)) {
      const part = take(table.length)
      if (part.length === table.length) table.set(part)
    }
    range.bound()
  }
  const page = take(state.space.produced % state.options.pageBytes)
  if (at !== checkpoint.length) return false
  state.space.restorePage(page)
  return isSound(state)
}

/** @returns undefined when there are others than whole ones */
function numbersIn(bytes: Uint8Array): number[] | undefined {
  const numbers = Array.from(new Float64Array(bytes.slice(0, bytes.length - (bytes.length % 8)).buffer))
  return numbers.every((value) => Number.isSafeInteger(value)) ? numbers : undefined
}

function isSound(state: PatchState): boolean {
  const left = state.space.resultBytes - state.space.produced
  const within = (value: number, most: number): boolean => value >= 0 && value <= most
  const target = state.space.baseBytes + state.space.produced
  const { run, done } = state.numbers
  const phase = state.phase
  if (!within(state.space.produced, state.space.resultBytes) || !within(state.consumed, Number.MAX_SAFE_INTEGER))
    return false
  if (!within(state.stretch, left) || !within(state.copy, state.stretch)) return false
  if (phase === 'copy' && (state.copy === 0 || state.shift < 1 || state.shift > target)) return false
  if (!within(state.bytes.baseEnd, state.space.baseBytes)) return false
  if (phase !== 'numbers') return phase === 'done' ? left === 0 : true
  if (run === undefined || !within(done, run.count) || state.header?.method !== 'numbers') return false
  const length = run.count * bytesOfNumber(run.kind)
  const ahead = (run.count - done) * bytesOfNumber(run.kind)
  const end = run.source === 'base' ? state.space.baseBytes : state.space.produced
  return ahead <= left && (run.source === 'none' || (run.offset >= 0 && run.offset + length <= end))
}
