/** Words: source, destination, bytes. */
export function copyBytes(words: usize): void {
  memory.copy(<usize>load<u32>(words, 4), <usize>load<u32>(words), <usize>load<u32>(words, 8))
}

/** Words: destination, byte, bytes. */
export function fillBytes(words: usize): void {
  memory.fill(<usize>load<u32>(words), load<u8>(words, 4), <usize>load<u32>(words, 8))
}

/** Copies elements of a box from strides to strides.
 *  Words: source, destination, element bytes (1, 2, 4 or 8), four sizes from the outermost, four strides of the source and four of the
 *  destination in bytes. */
export function copyStrided(words: usize): void {
  const source = <usize>load<u32>(words)
  const destination = <usize>load<u32>(words, 4)
  const bytes = load<i32>(words, 8)
  const n0 = load<i32>(words, 12)
  const n1 = load<i32>(words, 16)
  const n2 = load<i32>(words, 20)
  const n3 = load<i32>(words, 24)
  const s0 = load<i32>(words, 28)
  const s1 = load<i32>(words, 32)
  const s2 = load<i32>(words, 36)
  const s3 = load<i32>(words, 40)
  const d0 = load<i32>(words, 44)
  const d1 = load<i32>(words, 48)
  const d2 = load<i32>(words, 52)
  const d3 = load<i32>(words, 56)
  const together = s3 === bytes && d3 === bytes
  for (let i = 0; i < n0; i++) {
    for (let j = 0; j < n1; j++) {
      for (let k = 0; k < n2; k++) {
        let from = source + <usize>(i * s0 + j * s1 + k * s2)
        let to = destination + <usize>(i * d0 + j * d1 + k * d2)
        if (together) {
          memory.copy(to, from, <usize>(n3 * bytes))
          continue
        }
        for (let l = 0; l < n3; l++) {
          if (bytes === 1) store<u8>(to, load<u8>(from))
          else if (bytes === 4) store<u32>(to, load<u32>(from))
          else if (bytes === 2) store<u16>(to, load<u16>(from))
          else store<u64>(to, load<u64>(from))
          from += <usize>s3
          to += <usize>d3
        }
      }
    }
  }
}

/** One element over and over. Words: destination, its low word, its high word, bytes of an element (2, 4 or 8), elements. */
export function fillElements(words: usize): void {
  const bytes = load<i32>(words, 12)
  const elements = load<i32>(words, 16)
  let to = <usize>load<u32>(words)
  for (let at = 0; at < elements; at++, to += <usize>bytes) memory.copy(to, words + 4, <usize>bytes)
}
