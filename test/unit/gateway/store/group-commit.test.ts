import { describe, expect, it, onTestFinished } from 'vitest'
import { GroupCommit } from '../../../../gateway/store/group-commit.ts'
import type { Store } from '../../../../gateway/store/store.ts'
import { tempStore } from '../../../fixtures/gateway-store.ts'
import { failSyncs } from '../../../fixtures/medium.ts'

interface Said {
  readonly name: string
  readonly error?: string | undefined
}

/** A commit over a store of notes; works write their name, hooks are noted. */
function world() {
  const store = tempStore()
  store.exec('CREATE TABLE note (name TEXT PRIMARY KEY)')
  const insert = store.prepare<[string]>('INSERT INTO note VALUES (?)')
  const steps: string[] = []
  const hooks = {
    beforeCommit: () => void steps.push('before commit'),
    afterRollback: () => void steps.push('after rollback'),
  }
  const commit = new GroupCommit(store, hooks)
  let closed = false
  const close = async () => {
    if (!closed) await commit.close()
    closed = true
  }
  onTestFinished(close)
  /** @returns when it is done, with its error */
  const write = (name: string, apply: () => void = () => undefined): Promise<Said> =>
    new Promise((resolve) => {
      commit.submit({
        apply: () => {
          steps.push(name)
          insert.run(name)
          apply()
        },
        done: (error) => resolve({ name, error: error?.message }),
      })
    })
  return { store, commit, hooks, steps, write, close, names: () => namesIn(store) }
}
const namesIn = (store: Store) =>
  store
    .prepare<[], { name: string }>('SELECT name FROM note ORDER BY rowid')
    .all()
    .map(({ name }) => name)

describe('works of one turn', () => {
  it('share a transaction, in order, and what they changed in memory is written in it', async () => {
    const { commit, steps, write, names } = world()
    const done = Promise.all([write('a'), write('b'), write('c')])
    expect(steps).toEqual([])
    expect(await done).toEqual([{ name: 'a' }, { name: 'b' }, { name: 'c' }])
    expect(steps).toEqual(['a', 'b', 'c', 'before commit'])
    expect(names()).toEqual(['a', 'b', 'c'])
    expect(commit.totals).toEqual({ commits: 1, works: 3 })
    await write('d')
    expect(commit.totals).toEqual({ commits: 2, works: 4 })
  })

  it('are not done before they are committed, nor within the call that commits them', async () => {
    const { commit, store, write } = world()
    let told = false
    const done = write('a').then(() => {
      told = true
    })
    commit.flush()
    expect(store.inTransaction).toBe(false)
    expect(namesIn(store)).toEqual(['a'])
    expect(told).toBe(false)
    await done
    // Nothing is left to commit.
    commit.flush()
    expect(commit.totals.commits).toBe(1)
  })

  it('are committed at once when they are as many as a batch', () => {
    const { commit, write } = world()
    for (let i = 0; i < 999; i++) void write(`w${i}`)
    expect(commit.totals).toEqual({ commits: 0, works: 0 })
    void write('w999')
    expect(commit.totals).toEqual({ commits: 1, works: 1_000 })
  })
})

describe('a work that fails', () => {
  it('is told alone; the others are tried one by one', async () => {
    const { commit, steps, write, names } = world()
    const said = await Promise.all([
      write('a'),
      write('b', () => {
        throw new Error('not this one')
      }),
      write('c'),
    ])
    expect(said).toEqual([{ name: 'a' }, { name: 'b', error: 'not this one' }, { name: 'c' }])
    expect(names()).toEqual(['a', 'c'])
    expect(steps).toEqual([
      ...['a', 'b', 'after rollback'],
      ...['a', 'before commit', 'b', 'after rollback', 'c', 'before commit'],
    ])
    expect(commit.totals).toEqual({ commits: 2, works: 2 })
  })

  it('by itself is not tried again', async () => {
    const { steps, write, names } = world()
    const said = await write('a', () => {
      throw new Error('no')
    })
    expect(said).toEqual({ name: 'a', error: 'no' })
    expect(steps).toEqual(['a', 'after rollback'])
    expect(names()).toEqual([])
  })

  it('with something that is no error is told as one', async () => {
    const { write } = world()
    const said = await write('a', () => {
      throw 'text' as unknown as Error
    })
    expect(said).toEqual({ name: 'a', error: 'text' })
  })

  it('leaves the store to the next one, also where the state cannot be written', async () => {
    const { hooks, store, write, names } = world()
    const { beforeCommit } = hooks
    hooks.beforeCommit = () => {
      throw new Error('disk full')
    }
    expect(await Promise.all([write('a'), write('b')])).toEqual([
      { name: 'a', error: 'disk full' },
      { name: 'b', error: 'disk full' },
    ])
    expect(store.inTransaction).toBe(false)
    hooks.beforeCommit = beforeCommit
    expect(await write('c')).toEqual({ name: 'c' })
    expect(names()).toEqual(['c'])
  })

  it('and has rolled back by itself, as SQLite does on a full disk, is no second failure', async () => {
    const { store, write, names } = world()
    const said = await write('a', () => {
      store.exec('ROLLBACK')
      throw new Error('database or disk is full')
    })
    expect(said).toEqual({ name: 'a', error: 'database or disk is full' })
    expect(await write('b')).toEqual({ name: 'b' })
    expect(names()).toEqual(['b'])
  })
})

describe('a medium that fails', () => {
  it('is told to all that wait for it, though they are committed: nobody may acknowledge them', async () => {
    const { write, names } = world()
    const mend = failSyncs('EIO')
    onTestFinished(mend)
    expect(await Promise.all([write('a'), write('b')])).toEqual([
      { name: 'a', error: 'EIO' },
      { name: 'b', error: 'EIO' },
    ])
    expect(names()).toEqual(['a', 'b'])
    mend()
    expect(await write('c')).toEqual({ name: 'c' })
  })
})

describe('the end', () => {
  it('commits what is queued and refuses what comes later', async () => {
    const { write, close, names, steps } = world()
    const queued = write('a')
    await close()
    expect(await queued).toEqual({ name: 'a' })
    expect(await write('b')).toEqual({ name: 'b', error: 'the store is closed' })
    expect(names()).toEqual(['a'])
    expect(steps).not.toContain('b')
  })
})
