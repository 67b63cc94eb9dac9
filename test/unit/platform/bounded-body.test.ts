import { expect, it } from 'vitest'
import { readBounded, readPast } from '../../../platform/bounded-body.ts'

/** An endless body of chunks of ten bytes; says how many were asked for and whether it was ended. */
function endless() {
  const seen = { chunks: 0, ended: false }
  const body = (async function* () {
    try {
      for (;;) {
        seen.chunks++
        yield new Uint8Array(10).fill(seen.chunks)
      }
    } finally {
      seen.ended = true
    }
  })()
  return { body, seen }
}
async function* of(...sizes: number[]) {
  for (const size of sizes) yield new Uint8Array(size).fill(size)
}

it('a body within the bound is read whole, one of exactly the bound too', async () => {
  expect(await readBounded(of(2, 3), 5)).toEqual(Buffer.from([2, 2, 3, 3, 3]))
  expect(await readBounded(of(), 0)).toEqual(Buffer.alloc(0))
  for (const none of [null, undefined]) expect(await readBounded(none, 5)).toEqual(Buffer.alloc(0))
})

it('one byte more is refused, and no more is read than shows it', async () => {
  expect(await readBounded(of(3, 3), 5)).toBeUndefined()
  const { body, seen } = endless()
  expect(await readBounded(body, 25)).toBeUndefined()
  expect(seen).toEqual({ chunks: 3, ended: true })
})

it('for callers that judge by length, what is too long comes back longer than the bound', async () => {
  const { body, seen } = endless()
  expect(await readPast(body, 25)).toHaveLength(30)
  expect(seen).toEqual({ chunks: 3, ended: true })
  expect(await readPast(of(2, 3), 5)).toHaveLength(5)
})

it('a body that breaks underway throws', async () => {
  const broken = (async function* () {
    yield new Uint8Array(1)
    throw new Error('reset')
  })()
  await expect(readBounded(broken, 5)).rejects.toThrow('reset')
})
