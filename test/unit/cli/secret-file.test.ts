import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { writeSecretFile } from '../../../cli/secret-file.ts'
import { watchMedium } from '../../fixtures/medium.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-secret-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

it('a secret is on the medium, with its folder, and only its owner reads it', () => {
  const medium = watchMedium(dir)
  try {
    writeSecretFile(join(dir, 'a.claim'), 'secret\n')
  } finally {
    medium.stop()
  }
  expect(medium.steps).toEqual(['sync a.claim.new', 'rename a.claim.new a.claim', 'sync '])
  expect(statSync(join(dir, 'a.claim')).mode & 0o777).toBe(0o600)
})

it('replaces nothing, and leaves nothing where it cannot write', () => {
  writeFileSync(join(dir, 'b.claim'), 'old')
  expect(() => writeSecretFile(join(dir, 'b.claim'), 'new')).toThrow('b.claim exists; a secret is never overwritten')
  expect(readFileSync(join(dir, 'b.claim'), 'utf8')).toBe('old')
  expect(() => writeSecretFile(join(dir, 'none', 'c.claim'), 'new')).toThrow(/none/)
  expect(readdirSync(dir).sort()).toEqual(['a.claim', 'b.claim'])
})
