/** Copies a box whose place on one side is computed while the graph runs, and so may be its steps. An index that points outside is moved to the nearest from which the box
 *  lies inside; steps with which it cannot lie inside are one, forward or back.
 *  Words: source, destination, element bytes, dimensions (6 at most), indices (int32 or int64), bytes from one index to the next, steps (int32; 0 for those below),
 *  1 where the source's place is computed and 0 where the destination's is; at 32 six for each dimension from the outermost: size, bytes of a step in the source and in the
 *  destination, elements of the computed side, 1 where negative indices count from the end and 2 where it begins at its end whatever the index, step. */
export function copyPlaced(words: usize): void {
  along(words, 0, <usize>load<u32>(words), <usize>load<u32>(words, 4))
}

function along(words: usize, axis: i32, source: usize, destination: usize): void {
  if (axis === load<i32>(words, 12)) {
    memory.copy(destination, source, <usize>load<u32>(words, 8))
    return
  }
  const own = words + 32 + <usize>(24 * axis)
  const size = load<i32>(own)
  const dim = load<i32>(own, 12)
  const bits = load<i32>(own, 16)
  const steps = <usize>load<u32>(words, 24)
  let step = steps === 0 ? load<i32>(own, 20) : load<i32>(steps + ((<usize>axis) << 2))
  const most = size > 1 ? (dim - 1) / (size - 1) : dim
  if (step > most || step < -most || step === 0) step = step < 0 ? -1 : 1
  const reach = (size - 1) * step
  let begin = load<i32>(<usize>load<u32>(words, 16) + <usize>(axis * load<i32>(words, 20)))
  if ((bits & 2) !== 0) begin = step > 0 ? 0 : dim - 1
  else if (begin < 0 && (bits & 1) !== 0) begin += dim
  begin = min(max(begin, max(0, -reach)), dim - 1 - max(0, reach))
  let from = <i32>source
  let to = <i32>destination
  let fromStep = load<i32>(own, 4)
  let toStep = load<i32>(own, 8)
  if (load<i32>(words, 28) !== 0) {
    from += begin * fromStep
    fromStep *= step
  } else {
    to += begin * toStep
    toStep *= step
  }
  for (let at = 0; at < size; at++, from += fromStep, to += toStep) along(words, axis + 1, <usize>from, <usize>to)
}

/** Which index of the input an index of the output mirrors; kept inside whatever the paddings say. */
function mirrored(at: i32, left: i32, dim: i32, offset: i32): i32 {
  let index = at - left
  if (index < 0) index = offset - 1 - index
  else if (index >= dim) index = 2 * dim - 1 - offset - index
  return min(max(index, 0), dim - 1)
}

/** MIRROR_PAD. Words: source, destination, element bytes, dimensions, paddings (two of each dimension), bytes of one, 1 for "reflect" and 0 for "symmetric"; at 28 four for each dimension:
 *  size, size of the output, bytes of a step in the source and in the destination. */
export function mirrorPad(words: usize): void {
  mirrorAlong(words, 0, <usize>load<u32>(words), <usize>load<u32>(words, 4))
}

function mirrorAlong(words: usize, axis: i32, source: usize, destination: usize): void {
  if (axis === load<i32>(words, 12)) {
    memory.copy(destination, source, <usize>load<u32>(words, 8))
    return
  }
  const own = words + 28 + <usize>(16 * axis)
  const dim = load<i32>(own)
  // What a padding can be, so that nothing overflows.
  const made = load<i32>(own, 4)
  const left = min(max(load<i32>(<usize>load<u32>(words, 16) + <usize>(2 * axis * load<i32>(words, 20))), 0), made)
  let to = destination
  for (let at = 0; at < made; at++, to += <usize>load<u32>(own, 12)) {
    const index = mirrored(at, left, dim, load<i32>(words, 24))
    mirrorAlong(words, axis + 1, source + <usize>(index * load<i32>(own, 8)), to)
  }
}
