import { chmodSync, chownSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { tightenSecret } from '../../../platform/secret-rights.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-rights-'))
afterAll(() => rmSync(dir, { recursive: true }))
const modeOf = (path: string) => statSync(path).mode & 0o777
function secret(name: string, mode: number): string {
  const path = join(dir, name)
  writeFileSync(path, 'secret')
  chmodSync(path, mode)
  return path
}

it.each([0o644, 0o640, 0o604, 0o660, 0o777, 0o601])('takes a file of mode %o from others, and says so', (mode) => {
  const path = secret(`wide-${mode}`, mode)
  const warning = tightenSecret(path)
  expect(warning).toContain(`${path} holds a secret, and others could get at it (mode 0${mode.toString(8)})`)
  expect(warning).toContain('it is mode 0600 now')
  expect(modeOf(path)).toBe(0o600)
  expect(tightenSecret(path)).toBeUndefined()
})

it.each([0o600, 0o400, 0o700])('leaves one of mode %o as it is', (mode) => {
  const path = secret(`narrow-${mode}`, mode)
  expect(tightenSecret(path)).toBeUndefined()
  expect(modeOf(path)).toBe(mode)
})

it('follows a link, and leaves a device and a folder alone', () => {
  const path = secret('linked', 0o644)
  symlinkSync(path, join(dir, 'link'))
  expect(tightenSecret(join(dir, 'link'))).toContain('mode 0600 now')
  expect(modeOf(path)).toBe(0o600)
  expect(tightenSecret('/dev/null')).toBeUndefined()
  expect(tightenSecret(tmpdir())).toBeUndefined()
  expect(() => tightenSecret(join(dir, 'none'))).toThrow(/ENOENT/)
})

it("warns of somebody else's file, which it leaves as it is", () => {
  // As root one can be made; others find one of root's.
  const isRoot = process.geteuid?.() === 0
  const path = isRoot ? secret('theirs', 0o644) : '/etc/passwd'
  if (isRoot) chownSync(path, 65_534, 65_534)
  const mode = modeOf(path)
  expect(tightenSecret(path)).toMatch(/is somebody else's and stays so until its owner makes it mode 0600/)
  expect(modeOf(path)).toBe(mode)
})

it('warns where the file system refuses', () => {
  // Of the kernel's own: root may read it, and nobody may change its mode to one that it does not have.
  if (process.geteuid?.() !== 0) return
  const path = '/proc/self/status'
  expect(tightenSecret(path)).toMatch(/mode cannot be changed|file system knows no owners/)
})
