import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { contractError } from '../../../../contract/errors.ts'
import { err, ok } from '../../../../contract/result.ts'
import type { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { ArtifactCache } from '../../../../gateway/downloads/artifact-cache.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'

const root = mkdtempSync(join(tmpdir(), 'kinglet-artifact-cache-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))
const hashOf = (content: Uint8Array): string => createHash('sha256').update(content).digest('hex')
/** Artifacts by a letter; each is as long as said. */
const artifact = (letter: string, bytes: number) => {
  const content = Buffer.alloc(bytes, letter)
  return { content, hash: hashOf(content) }
}

describe('the artifact cache', () => {
  const all = new Map<string, Uint8Array>()
  const asked: string[] = []
  let folders = 0
  let dir = ''
  let nowMs = 0
  const clock = { wallMs: () => 1_000_000 + nowMs, monotonicMs: () => nowMs, after: () => () => undefined }
  const cloud = {
    async stream(path: string) {
      const hash = path.split('/').at(-1)!
      asked.push(hash)
      const content = all.get(hash)
      if (content === undefined) return err({ ...contractError('not-found', path), status: 404 })
      return ok(
        (async function* () {
          yield content.subarray(0, 3)
          yield content.subarray(3)
        })(),
      )
    },
  } as Partial<CloudClient> as CloudClient
  const cacheOf = (totalBytes: number, memoryBytes = 1) =>
    new ArtifactCache(dir, { cloud, clock, counters: new MessageCounters() }, { totalBytes, memoryBytes, fetches: 4 })
  beforeEach(() => {
    dir = join(root, String(folders++))
    all.clear()
    asked.length = 0
  })
  const [a, b, c] = [artifact('a', 40), artifact('b', 40), artifact('c', 40)]

  it('lets the file go that was used least recently, in memory or on disk', async () => {
    for (const { hash, content } of [a, b, c]) all.set(hash, content)
    const cache = cacheOf(80, 1_000)
    for (const { hash } of [a, b]) expect(await cache.get(hash, 'd1')).toMatchObject({ ok: true })
    await cache.get(a.hash, 'd1')
    await cache.get(c.hash, 'd1')
    expect(readdirSync(dir).sort()).toEqual([a.hash, c.hash].sort())
    expect(cache.bytes).toBe(80)
  })

  it('keeps the newest though it be larger than everything, in memory and on disk, and says its true size', async () => {
    const large = artifact('l', 500)
    for (const { hash, content } of [a, large]) all.set(hash, content)
    const cache = cacheOf(80, 80)
    await cache.get(a.hash, 'd1')
    expect(await cache.get(large.hash, 'd1')).toEqual(ok(large.content))
    expect(readdirSync(dir)).toEqual([large.hash])
    expect(cache.bytes).toBe(500)
    rmSync(join(dir, large.hash))
    expect(await cache.get(large.hash, 'd1')).toEqual(ok(large.content))
    expect(asked).toEqual([a.hash, large.hash])
  })

  it('comes down to its bound at a start, oldest use first, and a file that went then can be fetched again', async () => {
    cacheOf(1_000)
    ;[a, b, c].forEach(({ hash, content }, i) => {
      all.set(hash, content)
      writeFileSync(join(dir, hash), content)
      utimesSync(join(dir, hash), 100 + i, 100 + i)
    })
    writeFileSync(join(dir, `${a.hash}.new`), 'the rest of a crash')
    const cache = cacheOf(80)
    expect(readdirSync(dir).sort()).toEqual([b.hash, c.hash].sort())
    expect(await cache.get(a.hash, 'd1')).toEqual(ok(a.content))
    expect(readdirSync(dir).sort()).toEqual([a.hash, c.hash].sort())
    expect(asked).toEqual([a.hash])
  })

  it('has nothing on disk of what is not what its name says', async () => {
    all.set(a.hash, b.content)
    expect(await cacheOf(1_000).get(a.hash, 'd1')).toMatchObject({ error: { code: 'hash-mismatch' } })
    expect(readdirSync(dir)).toEqual([])
  })

  it('believes for half a minute that the cloud does not have it', async () => {
    const cache = cacheOf(1_000)
    for (const afterMs of [0, 29_999, 30_000]) {
      nowMs = afterMs
      expect(await cache.get(a.hash, 'd1')).toMatchObject({ error: { code: 'artifact-not-found' } })
    }
    expect(asked).toHaveLength(2)
  })

  it('fetches once however many ask at the same time, and from memory after that', async () => {
    all.set(a.hash, a.content)
    const cache = cacheOf(1_000, 1_000)
    const answers = await Promise.all([1, 2, 3].map(() => cache.get(a.hash, 'd1')))
    expect(answers).toEqual(new Array(3).fill(ok(a.content)))
    rmSync(join(dir, a.hash))
    expect(await cache.get(a.hash, 'd1')).toEqual(ok(a.content))
    expect(asked).toEqual([a.hash])
  })

  it('fetches as many at a time as it may; of one device four wait, the next one is to be asked for again; devices take turns', async () => {
    const letters = 'abcdefghij'.split('').map((letter) => artifact(letter, 40))
    for (const { hash, content } of letters) all.set(hash, content)
    const cache = cacheOf(1_000)
    const flood = letters.slice(0, 9).map(({ hash }) => cache.get(hash, 'flood'))
    const other = cache.get(letters[9]!.hash, 'd1')
    const answers = await Promise.all([...flood, other])
    expect(answers.map((answer) => (answer.ok ? 'fetched' : answer.error.code))).toEqual([
      ...new Array<string>(8).fill('fetched'),
      ...['unavailable', 'fetched'],
    ])
    // The second turn was the other device's.
    expect(asked.indexOf(letters[9]!.hash)).toBeLessThan(6)
    expect(await cache.get(letters[8]!.hash, 'd1')).toEqual(ok(letters[8]!.content))
  })

  it('fetches anew what has rotted on disk since it was written', async () => {
    all.set(a.hash, a.content)
    cacheOf(1_000)
    writeFileSync(join(dir, a.hash), b.content)
    expect(await cacheOf(1_000).get(a.hash, 'd1')).toEqual(ok(a.content))
    expect(asked).toEqual([a.hash])
    expect(await cacheOf(1_000).get(a.hash, 'd1')).toEqual(ok(a.content))
    expect(asked).toHaveLength(1)
  })

  it('takes an artifact as large as a bundle may be and none larger', async () => {
    const [largest, tooLarge] = [artifact('x', 4 * 1024 * 1024), artifact('y', 4 * 1024 * 1024 + 1)]
    for (const { hash, content } of [largest, tooLarge]) all.set(hash, content)
    const cache = cacheOf(1_000)
    expect((await cache.get(largest.hash, 'd1')).ok).toBe(true)
    expect(await cache.get(tooLarge.hash, 'd1')).toMatchObject({ error: { code: 'too-large' } })
    expect(readdirSync(dir)).toEqual([largest.hash])
  })
})
