/** Words: source, destination, blocks, bytes of a block, offsets of the blocks from the source. */
export function copyBlocks(words: usize): void {
  const source = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 4)
  const blocks = load<u32>(words, 8)
  const bytes = <usize>load<u32>(words, 12)
  const offsets = <usize>load<u32>(words, 16)
  for (let block: u32 = 0; block < blocks; block++) {
    memory.copy(to, source + <usize>load<u32>(offsets + ((<usize>block) << 2)), bytes)
    to += bytes
  }
}

/** A function of a byte. Words: source, destination, bytes, table of 256. */
export function lookUpBytes(words: usize): void {
  const source = <usize>load<u32>(words)
  const destination = <usize>load<u32>(words, 4)
  const bytes = <usize>load<u32>(words, 8)
  const table = <usize>load<u32>(words, 12)
  for (let at: usize = 0; at < bytes; at++) {
    store<u8>(destination + at, load<u8>(table + <usize>load<u8>(source + at)))
  }
}

/** Blocks whose places are computed. An index outside is moved to the nearest within: the reference reads beyond its input there.
 *  Words: source, indices (int32), destination, batches, outer dimensions, axis size, indices of a batch, bytes of a block. */
export function gatherBlocks(words: usize): void {
  const source = <usize>load<u32>(words)
  let to = <usize>load<u32>(words, 8)
  const outer = load<i32>(words, 16)
  const axis = load<i32>(words, 20)
  const each = load<i32>(words, 24)
  const bytes = load<i32>(words, 28)
  for (let batch = 0; batch < load<i32>(words, 12); batch++) {
    const indices = <usize>load<u32>(words, 4) + ((<usize>(batch * each)) << 2)
    for (let row = batch * outer; row < (batch + 1) * outer; row++) {
      for (let at = 0; at < each; at++, to += <usize>bytes) {
        const index = min(max(load<i32>(indices + ((<usize>at) << 2)), 0), axis - 1)
        memory.copy(to, source + <usize>((row * axis + index) * bytes), <usize>bytes)
      }
    }
  }
}

/** Blocks at places of several dimensions, each index moved to the nearest within. Words: source, indices (int32), destination, blocks, bytes of a block, indices of a
 *  block, and for each its dimension and the bytes of a step. */
export function gatherPlaces(words: usize): void {
  let indices = <usize>load<u32>(words, 4)
  let to = <usize>load<u32>(words, 8)
  const bytes = <usize>load<u32>(words, 16)
  const axes = words + 24 + ((<usize>load<u32>(words, 20)) << 3)
  for (let block = load<i32>(words, 12); block > 0; block--, to += bytes) {
    let from = <usize>load<u32>(words)
    for (let axis = words + 24; axis < axes; axis += 8, indices += 4) {
      from += <usize>(min(max(load<i32>(indices), 0), load<i32>(axis) - 1) * load<i32>(axis, 4))
    }
    memory.copy(to, from, bytes)
  }
}
