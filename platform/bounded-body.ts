type Body = AsyncIterable<Uint8Array> | null | undefined

/** Reads a body to its end, unless it is longer than it may be.
 *  @returns undefined when it is longer; the rest is not read, and its connection ends
 *  @throws what the stream throws when it breaks underway */
export async function readBounded(body: Body, bytesMax: number): Promise<Buffer | undefined> {
  const read = await readPast(body, bytesMax)
  return read.length > bytesMax ? undefined : read
}

/** Reads a body until it ends or has become longer than `bytesMax`, by one chunk at most: for whoever refuses what is too long by its
 *  length. */
export async function readPast(body: Body, bytesMax: number): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body ?? []) {
    chunks.push(chunk)
    bytes += chunk.length
    // Endless data: leaving the loop cancels the stream.
    if (bytes > bytesMax) break
  }
  return Buffer.concat(chunks)
}
