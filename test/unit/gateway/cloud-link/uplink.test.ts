import { describe, expect, it, onTestFinished } from 'vitest'
import { CloudClient } from '../../../../gateway/cloud-link/cloud-client.ts'
import { Uplink } from '../../../../gateway/cloud-link/uplink.ts'
import { MessageCounters } from '../../../../gateway/message-counters.ts'
import type { StoreClient } from '../../../../gateway/store/store-client.ts'
import { localServer } from '../../../fixtures/local-server.ts'
import { notedLog, WaitedClock } from '../../../fixtures/timers.ts'

const INTERVAL_MS = 5_000
const KINDS = 'reports,events,verdicts,aggregates'
type Kinds = readonly string[]

/** A spool of rows by kind, before a real HTTP server that takes or refuses them.
 *  @param statusOf of a batch, which is the list of its rows */
async function world(
  rows: Readonly<Record<string, readonly string[]>>,
  statusOf: (batch: readonly string[], request: number) => number,
  batchRows = 8,
) {
  const spool = new Map(Object.entries(rows).map(([kind, of]) => [kind, [...of]]))
  const questions: string[] = []
  const failing = { nextBatch: 0, delivered: 0 }
  let taken: (() => void) | undefined
  const store = {
    async ask(method: 'nextBatch' | 'delivered', rowsMax = 0, kinds: Kinds = []) {
      if (failing[method]-- > 0) throw new Error('disk')
      if (method === 'delivered') {
        taken?.()
        return undefined
      }
      questions.push(`${rowsMax} of ${kinds.join()}`)
      const batch = kinds.flatMap((kind) => spool.get(kind)?.slice(0, rowsMax) ?? [])
      taken = () => {
        for (const [kind, of] of spool)
          spool.set(
            kind,
            of.filter((row) => !batch.includes(row)),
          )
      }
      return batch.length === 0 ? undefined : { rows: batch.length, body: Buffer.from(JSON.stringify(batch)) }
    },
  } as unknown as StoreClient
  let count = 0
  const server = await localServer((request, response) => {
    response.writeHead(statusOf(JSON.parse(request.body.toString()) as string[], count++)).end()
  })
  const cloud = new CloudClient(server.url, 'token')
  const clock = new WaitedClock()
  const counters = new MessageCounters()
  const logger = notedLog()
  const random = { next: () => 0.5, fork: () => random }
  const uplink = new Uplink({ cloud, counters, clock, random, logger, store }, INTERVAL_MS, batchRows)
  onTestFinished(() => uplink.close())
  uplink.start()
  /** Lets it run until it waits. @returns for how long */
  const turn = async () => {
    const delayMs = await clock.waits()
    clock.end()
    return delayMs
  }
  const sent = () => server.requests.map(({ body }) => (JSON.parse(body.toString()) as string[]).join(''))
  const left = () => [...spool.values()].flat().join('')
  return { clock, counters, cloud, failing, logger, questions, sent, left, server, turn, uplink }
}

describe('the spool', () => {
  it('is carried batch by batch, one an interval, and rows leave it when the cloud has them', async () => {
    const { counters, questions, sent, left, server, turn } = await world({ reports: ['a', 'b', 'c'] }, () => 200, 2)
    expect(await turn()).toBe(INTERVAL_MS)
    expect([sent(), left()]).toEqual([['ab'], 'c'])
    expect(await turn()).toBe(INTERVAL_MS)
    expect([sent(), left()]).toEqual([['ab', 'c'], ''])
    // Nothing is due: nobody is asked.
    expect(await turn()).toBe(INTERVAL_MS)
    expect(sent()).toHaveLength(2)
    expect(questions).toEqual(new Array(3).fill(`2 of ${KINDS}`))
    expect(server.requests[0]).toMatchObject({ method: 'POST', url: '/v1/ingest' })
    expect(counters.snapshot()).toEqual({ uplink: { delivered: 3 } })
  })

  it('is asked for as many rows as the contract allows at most', async () => {
    const { questions, turn } = await world({}, () => 200, 5_000)
    await turn()
    expect(questions).toEqual([`2000 of ${KINDS}`])
  })
})

describe('a cloud that does not take it now', () => {
  it.each([401, 403, 404, 408, 429, 500, 503])(
    'with status %d gets the same batch again, later and later',
    async (status) => {
      const { questions, sent, left, turn } = await world({ reports: ['a', 'b'] }, (_batch, n) =>
        n < 2 ? status : 200,
      )
      // Half of half a second, of a second, and then it has it.
      expect([await turn(), await turn(), await turn()]).toEqual([250, 500, INTERVAL_MS])
      expect(sent()).toEqual(['ab', 'ab', 'ab'])
      expect(left()).toBe('')
      expect(new Set(questions)).toEqual(new Set([`8 of ${KINDS}`]))
    },
  )

  it('is waited for while it is away; after a success pauses begin anew', async () => {
    const statuses = [503, 503, 200, 503]
    const { counters, server, left, turn } = await world({ reports: ['a', 'b'] }, (_, n) => statuses[n] ?? 200, 1)
    expect([await turn(), await turn(), await turn(), await turn()]).toEqual([250, 500, INTERVAL_MS, 250])
    await server.close()
    expect(await turn()).toBe(500)
    expect(left()).toBe('b')
    expect(counters.snapshot()).toEqual({ uplink: { unavailable: 4, delivered: 1 } })
  })
})

describe('a batch that the cloud refuses', () => {
  const refusing = (row: string, status: number) => (batch: readonly string[]) => (batch.includes(row) ? status : 200)

  it.each([400, 409, 413, 422])(
    'with status %d is halved until the row is alone, and that row is dropped',
    async (status) => {
      const reports = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
      const { counters, logger, sent, left, turn } = await world({ reports }, refusing('a', status))
      await turn()
      // Halves at once; the row that is alone once more by itself; then two at a time.
      expect(sent()).toEqual(['abcdefgh', 'abcd', 'ab', 'a', 'a', 'bc'])
      expect(counters.get('uplink', 'refused')).toBe(1)
      expect(counters.get('uplink', 'delivered')).toBe(2)
      expect(logger.lines.filter((line) => line.startsWith('error'))).toEqual([
        'error: row dropped: the cloud refuses it',
      ])
      await turn()
      expect(left()).toBe('h')
      await turn()
      // Batches grow again, up to what they were.
      expect(sent().slice(6)).toEqual(['defg', 'h'])
    },
  )

  it('for a row of one kind is sent kind by kind: the others are delivered', async () => {
    const { counters, questions, sent, left, turn } = await world(
      { reports: ['r'], events: ['e'], aggregates: ['a'] },
      refusing('e', 400),
      1,
    )
    await turn()
    expect(sent()).toEqual(['rea', 'r', 'e', 'a'])
    expect(questions).toEqual([
      `1 of ${KINDS}`,
      '1 of reports',
      '1 of events',
      '1 of verdicts',
      '1 of aggregates',
      `2 of ${KINDS}`,
    ])
    expect(left()).toBe('')
    expect([counters.get('uplink', 'refused'), counters.get('uplink', 'delivered')]).toEqual([1, 2])
  })

  it('and then is away while rows are singled out: nothing is dropped', async () => {
    const { counters, sent, left, turn } = await world(
      { reports: ['r'], events: ['e'] },
      (batch, n) => (n === 2 ? 503 : refusing('e', 400)(batch)),
      1,
    )
    expect(await turn()).toBe(250)
    expect([sent(), left()]).toEqual([['re', 'r', 'e'], 'e'])
    expect([counters.get('uplink', 'refused'), counters.get('uplink', 'unavailable')]).toEqual([0, 1])
  })
})

describe('a store that fails', () => {
  it('is asked again after a pause; what was sent is sent again', async () => {
    const { counters, failing, logger, sent, left, turn } = await world({ reports: ['a'] }, () => 200)
    failing.nextBatch = 0
    failing.delivered = 1
    expect(await turn()).toBe(250)
    expect([sent(), left()]).toEqual([['a'], 'a'])
    expect(await turn()).toBe(INTERVAL_MS)
    expect([sent(), left()]).toEqual([['a', 'a'], ''])
    failing.nextBatch = 1
    expect(await turn()).toBe(250)
    expect(logger.lines).toEqual(['error: uplink failed', 'error: uplink failed'])
    expect(counters.get('uplink', 'internal')).toBe(2)
  })
})

it('the end ends a wait, and nothing is sent after it', async () => {
  const { clock, questions, uplink } = await world({ reports: ['a'] }, () => 200)
  await clock.waits()
  await uplink.close()
  expect([clock.waiting, questions.length]).toEqual([0, 1])
})
