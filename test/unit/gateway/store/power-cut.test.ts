import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { GroupCommit } from '../../../../gateway/store/group-commit.ts'
import { openStore } from '../../../../gateway/store/store.ts'
import { losingMedium } from '../../../fixtures/medium.ts'

it('what was acknowledged is there after a power cut at that moment, under a load that never pauses', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-gateway-cut-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const live = join(dir, 'live')
  const store = openStore(live)
  store.exec('CREATE TABLE note (name TEXT PRIMARY KEY)')
  const insert = store.prepare<[string]>('INSERT INTO note VALUES (?)')
  const medium = losingMedium(live)
  onTestFinished(() => medium.stop())
  const commit = new GroupCommit(store, { beforeCommit: () => undefined, afterRollback: () => undefined })

  let cuts = 0
  const acknowledged: string[] = []
  /** What the next start finds. */
  const left = (): string[] => {
    const to = join(dir, `cut-${cuts++}`)
    medium.cut(to)
    const found = openStore(to)
    const names = found.prepare('SELECT name FROM note').pluck().all() as string[]
    found.close()
    return names
  }
  const write = (name: string): Promise<void> =>
    new Promise((resolve, reject) => {
      commit.submit({
        apply: () => insert.run(name),
        done: (error) => {
          if (error !== undefined) return reject(error)
          acknowledged.push(name)
          try {
            expect(left()).toEqual(expect.arrayContaining(acknowledged))
            resolve()
          } catch (cause) {
            reject(cause)
          }
        },
      })
    })
  // The second is committed while the sync of the first runs.
  const first = write('a')
  commit.flush()
  const second = write('b')
  commit.flush()
  await Promise.all([first, second, write('c'), write('d')])
  expect(acknowledged).toEqual(['a', 'b', 'c', 'd'])
  await commit.close()
  store.close()
})
