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
