import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { REQUEST_KEPT_MS } from '../../../../cloud/store/request-store.ts'
import { Store } from '../../../../cloud/store/store.ts'

const T0 = 1_790_000_000_000
const request = { subject: 'anna', key: 'k-1' }

function storeOf() {
  const store = new Store(':memory:', T0)
  onTestFinished(() => store.close())
  return store
}
const change = (store: Store) =>
  store.atomically(() => store.audit.append({ atMs: T0, actor: 'anna', action: 'group.set', subject: 'x', detail: {} }))

it('answers the same request as before for a day, each subject for itself, and then does it anew', () => {
  const store = storeOf()
  expect(store.requests.begin(request, 'f', T0)).toBeUndefined()
  store.requests.answered(request, 200, '{"a":1}')
  expect(store.requests.begin(request, 'f', T0 + REQUEST_KEPT_MS)).toMatchObject({ status: 200, answer: '{"a":1}' })
  expect(store.requests.begin({ ...request, subject: 'bert' }, 'f', T0)).toBeUndefined()
  expect(store.requests.begin(request, 'g', T0)).toMatchObject({ fingerprint: 'f' })
  expect(store.requests.begin(request, 'g', T0 + REQUEST_KEPT_MS + 1)).toBeUndefined()
})

it('does again what was cut off before it changed anything, and never what was cut off after', async () => {
  const store = storeOf()
  store.requests.begin(request, 'f', T0)
  expect(await store.requests.within(request, () => Promise.resolve())).toBe(false)
  expect(store.requests.begin(request, 'f', T0 + 1)).toBeUndefined()
  expect(
    await store.requests.within(request, async () => {
      await sleep(1)
      change(store)
      change(store)
    }),
  ).toBe(true)
  expect(store.requests.begin(request, 'f', T0 + 2)).toMatchObject({ status: null, answer: null, atMs: T0 + 1 })
  // Of another content under the same key nothing is done either.
  expect(store.requests.begin(request, 'g', T0 + 2)).toMatchObject({ fingerprint: 'f' })
})

it('a change that is undone took no effect; one that a request leaves to a timer is not of the request', async () => {
  const store = storeOf()
  store.requests.begin(request, 'f', T0)
  let later: Promise<void> | undefined
  await store.requests.within(request, () => {
    expect(() =>
      store.atomically(() => {
        change(store)
        throw new Error('undone')
      }),
    ).toThrow('undone')
    later = sleep(5).then(() => {
      change(store)
    })
    return Promise.resolve()
  })
  await later
  expect(store.requests.begin(request, 'f', T0)).toBeUndefined()
})

it('a change after one that was undone takes effect, and a transaction that changes nothing takes none', async () => {
  const store = storeOf()
  store.requests.begin(request, 'f', T0)
  const nothing = () => Promise.resolve(store.atomically(() => undefined))
  expect(await store.requests.within(request, nothing)).toBe(false)
  const undoneThenDone = () => {
    expect(() =>
      store.atomically(() => {
        change(store)
        throw new Error('undone')
      }),
    ).toThrow('undone')
    return Promise.resolve(change(store)).then(() => undefined)
  }
  expect(await store.requests.within(request, undoneThenDone)).toBe(true)
  expect(store.requests.begin(request, 'f', T0)).toMatchObject({ status: null })
})

it('what was refused may be asked differently under its key', () => {
  const store = storeOf()
  store.requests.begin(request, 'f', T0)
  store.requests.forget(request)
  expect(store.requests.begin(request, 'g', T0)).toBeUndefined()
})

it('forgets what is too old, a little with each request', () => {
  const store = storeOf()
  for (let i = 0; i < 100; i++) store.requests.begin({ subject: 'anna', key: `old-${i}` }, 'f', T0)
  for (let i = 0; i < 10; i++) {
    store.requests.begin({ subject: 'anna', key: `new-${i}` }, 'f', T0 + REQUEST_KEPT_MS + 1)
  }
  expect(store.db.prepare('SELECT count(*) AS n FROM requests').get()).toEqual({ n: 10 })
})
