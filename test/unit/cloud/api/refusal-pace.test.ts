import { Hono } from 'hono'
import { expect, it } from 'vitest'
import type { CloudEnv } from '../../../../cloud/api/environment.ts'
import { refusalPace } from '../../../../cloud/api/refusal-pace.ts'

/** Time that stands until it is moved, with the calls that are due. */
class StandingClock {
  #nowMs = 0
  #due: { atMs: number; callback: () => void }[] = []
  wallMs = () => this.#nowMs
  monotonicMs = () => this.#nowMs
  after(delayMs: number, callback: () => void): () => void {
    const call = { atMs: this.#nowMs + delayMs, callback }
    this.#due.push(call)
    return () => {
      this.#due = this.#due.filter((other) => other !== call)
    }
  }
  move(ms: number): void {
    this.#nowMs += ms
    const due = this.#due.filter(({ atMs }) => atMs <= this.#nowMs)
    this.#due = this.#due.filter(({ atMs }) => atMs > this.#nowMs)
    for (const { callback } of due) callback()
  }
  get waiting(): number {
    return this.#due.length
  }
}

it('refusals beyond what honest clients make wait half a second each; what is granted, and what is not there, never does', async () => {
  const clock = new StandingClock()
  const app = new Hono<CloudEnv>()
  app.use(refusalPace(clock))
  app.get('/refused', (c) => c.text('no', 401))
  app.get('/granted', (c) => c.text('yes'))
  app.get('/broken', (c) => c.text('oh', 500))
  for (let i = 0; i < 500; i++) expect((await app.request('/refused')).status).toBe(401)
  let answered = 0
  const late = Array.from({ length: 3 }, async () => {
    expect((await app.request('/refused')).status).toBe(401)
    answered++
  })
  for (const [path, status] of [
    ['/granted', 200],
    ['/broken', 500],
    ['/not-there', 404],
  ] as const) {
    expect((await app.request(path)).status).toBe(status)
  }
  expect([answered, clock.waiting]).toEqual([0, 3])
  clock.move(499)
  await app.request('/granted')
  expect(answered).toBe(0)
  clock.move(1)
  await Promise.all(late)
  expect(answered).toBe(3)
  // By now fifty may be made again.
  for (let i = 0; i < 50; i++) expect((await app.request('/refused')).status).toBe(401)
  const next = app.request('/refused')
  await app.request('/granted')
  expect(clock.waiting).toBe(1)
  clock.move(500)
  expect((await next).status).toBe(401)
})

it('does not hold more than five thousand answers back', async () => {
  const clock = new StandingClock()
  const app = new Hono<CloudEnv>()
  app.use(refusalPace(clock))
  app.get('/refused', (c) => c.text('no', 401))
  const all = Array.from({ length: 5_510 }, async () => app.request('/refused'))
  await Promise.all([...all.slice(0, 500), ...all.slice(5_500)])
  expect(clock.waiting).toBe(5_000)
  clock.move(500)
  await Promise.all(all)
})
