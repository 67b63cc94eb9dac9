import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LogSync, openStore, Settings } from '../../../../gateway/store/store.ts'
import { tempStore } from '../../../fixtures/gateway-store.ts'
import { failSyncs } from '../../../fixtures/medium.ts'

const folder = () => {
  const dir = mkdtempSync(join(tmpdir(), 'kinglet-store-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

describe('the store', () => {
  it('is made where there is none, folders too, and is what it was the next time', () => {
    const dir = join(folder(), 'a', 'b')
    const store = openStore(dir)
    expect(store.pragma('journal_mode', { simple: true })).toBe('wal')
    expect(store.pragma('synchronous', { simple: true })).toBe(1)
    new Settings(store).set('cursor', '7')
    store.close()
    const again = openStore(dir)
    expect(new Settings(again).get('cursor')).toBe('7')
    again.close()
  })

  it('of a newer program is left alone', () => {
    const dir = folder()
    openStore(dir).close()
    const file = join(dir, 'gateway.sqlite')
    const other = new Database(file)
    const known = other.pragma('user_version', { simple: true }) as number
    other.pragma(`user_version = ${known + 1}`)
    other.close()
    expect(() => openStore(dir)).toThrow(`gateway store has schema ${known + 1}, this program knows ${known}`)
    const after = new Database(file)
    expect(after.pragma('user_version', { simple: true })).toBe(known + 1)
    after.close()
  })

  it('that is no store is not opened', () => {
    const dir = folder()
    writeFileSync(join(dir, 'gateway.sqlite'), 'no database, but longer than the head of one'.repeat(20))
    expect(() => openStore(dir)).toThrow()
  })
})

describe('settings', () => {
  it('have the newest value of a name, or none', () => {
    const settings = new Settings(tempStore())
    expect(settings.get('a')).toBeUndefined()
    settings.set('a', '1')
    settings.set('b', '')
    settings.set('a', '2')
    expect([settings.get('a'), settings.get('b'), settings.get('A')]).toEqual(['2', '', undefined])
  })
})

describe('the medium', () => {
  it('is waited for by all that have asked, in order, and never within the call', async () => {
    const sync = new LogSync(tempStore())
    const done: string[] = []
    const ask = (name: string) =>
      new Promise<void>((resolve) => {
        sync.after((error) => {
          done.push(error === undefined ? name : error.message)
          resolve()
        })
      })
    const first = ask('a')
    // While a sync runs, others wait for the next.
    const later = [ask('b'), ask('c')]
    expect(done).toEqual([])
    await Promise.all([first, ...later])
    expect(done).toEqual(['a', 'b', 'c'])
    await ask('d')
    expect(done.at(-1)).toBe('d')
    sync.close()
  })

  it('that fails is told to those that wait, and asked again by the next', async () => {
    const sync = new LogSync(tempStore())
    const ask = () => new Promise<string | undefined>((resolve) => sync.after((error) => resolve(error?.message)))
    const mend = failSyncs('EIO')
    onTestFinished(mend)
    expect(await ask()).toBe('EIO')
    mend()
    expect(await ask()).toBeUndefined()
    sync.close()
  })
})
