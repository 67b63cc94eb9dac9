/** From one type to another: numbers with a fraction lose it, what is too large for an integer type wraps, and of float32 what is beyond 64 bits is the nearest of them.
 *  Words: input, output, elements, types of both (0 int8, 1 uint8, 2 int16, 3 int32, 4 int64, 5 float32, 6 bool). */
export function castElements(words: usize): void {
  let from = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const fromType = load<i32>(words, 12)
  const toType = load<i32>(words, 16)
  for (let at = load<i32>(words, 8); at > 0; at--) {
    if (fromType === 5) {
      const value = load<f32>(from)
      if (toType === 5) store<f32>(to, value)
      else storeWhole(to, toType, toType === 6 ? <i64>(value !== 0) : <i64>value)
    } else {
      const value = loadWhole(from, fromType)
      if (toType === 5) store<f32>(to, <f32>value)
      else storeWhole(to, toType, toType === 6 ? <i64>(value !== 0) : value)
    }
    from += bytesOf(fromType)
    to += bytesOf(toType)
  }
}

function bytesOf(type: i32): usize {
  if (type === 4) return 8
  return type === 2 ? 2 : type === 3 || type === 5 ? 4 : 1
}

function loadWhole(at: usize, type: i32): i64 {
  if (type === 0) return <i64>load<i8>(at)
  if (type === 2) return <i64>load<i16>(at)
  if (type === 3) return <i64>load<i32>(at)
  return type === 4 ? load<i64>(at) : <i64>load<u8>(at)
}

function storeWhole(at: usize, type: i32, value: i64): void {
  if (type === 2) store<i16>(at, <i16>value)
  else if (type === 3) store<i32>(at, <i32>value)
  else if (type === 4) store<i64>(at, value)
  else store<i8>(at, <i8>value)
}

/** One or the other by a bool, with broadcasting. Words: condition, a, b, output, element bytes, six sizes from the outermost; at 44 six strides of the condition, of a and of b in elements. */
export function selectElements(words: usize): void {
  select(
    words,
    0,
    <usize>load<u32>(words),
    <usize>load<u32>(words, 4),
    <usize>load<u32>(words, 8),
    <usize>load<u32>(words, 12),
  )
}

/** Goes along one dimension and those within it. @returns where the next output goes */
function select(words: usize, axis: i32, condition: usize, left: usize, right: usize, output: usize): usize {
  const own = words + 20 + <usize>(axis << 2)
  const bytes = load<i32>(words, 16)
  let c = condition
  let a = left
  let b = right
  let to = output
  for (let at = 0; at < load<i32>(own); at++) {
    if (axis < 5) to = select(words, axis + 1, c, a, b, to)
    else {
      memory.copy(to, load<u8>(c) !== 0 ? a : b, <usize>bytes)
      to += <usize>bytes
    }
    c += <usize>load<i32>(own, 24)
    a += <usize>(bytes * load<i32>(own, 48))
    b += <usize>(bytes * load<i32>(own, 72))
  }
  return to
}

/** Sums along one dimension of float32. Words: input, output, outer, size, inner, 1 to leave out the element itself, 1 from the end. */
export function cumulativeSum(words: usize): void {
  const size = load<i32>(words, 12)
  const inner = load<i32>(words, 16)
  const exclusive = load<i32>(words, 20) !== 0
  const reverse = load<i32>(words, 24) !== 0
  for (let outer = 0; outer < load<i32>(words, 8); outer++) {
    for (let within = 0; within < inner; within++) {
      let sum: f32 = 0
      for (let at = 0; at < size; at++) {
        const index = (outer * size + (reverse ? size - 1 - at : at)) * inner + within
        const place = (<usize>index) << 2
        const next = sum + load<f32>(<usize>load<u32>(words) + place)
        store<f32>(<usize>load<u32>(words, 4) + place, exclusive ? sum : next)
        sum = next
      }
    }
  }
}
