import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { OwnedError, OwnerLock } from '../../../platform/owner-lock.ts'

function place(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kinglet-lock-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, 'owner.lock')
}

/** Another process that takes the lock as we do, and keeps it. */
async function other(path: string) {
  const program = `
    const Database = require('better-sqlite3')
    const db = new Database(${JSON.stringify(path)}, { timeout: 0 })
    db.exec('CREATE TABLE IF NOT EXISTS owner (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL)')
    db.prepare('INSERT OR REPLACE INTO owner VALUES (1, ?, ?)').run(process.pid, 'there')
    db.exec('BEGIN IMMEDIATE')
    console.log('mine')
    setInterval(() => db.open, 1000)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

it('is refused at once while another process has it, by name, and free when that was killed', async () => {
  const path = place()
  const child = await other(path)
  const startedMs = performance.now()
  expect(() => OwnerLock.take(path, 'the folder')).toThrow(
    new OwnedError('the folder', `process ${child.pid} on there`),
  )
  expect(performance.now() - startedMs).toBeLessThan(500)
  child.kill('SIGKILL')
  await once(child, 'exit')
  OwnerLock.take(path, 'the folder').release()
})

it('is refused within one process too, and free when it was released', () => {
  const path = place()
  const first = OwnerLock.take(path, 'the folder')
  expect(() => OwnerLock.take(path, 'the folder')).toThrow(
    new RegExp(
      `^the folder is in use by process ${process.pid} on .+: it has one owner at a time, end that one first$`,
    ),
  )
  first.release()
  OwnerLock.take(path, 'the folder').release()
})
