import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import nacl from 'tweetnacl'
import { afterAll, describe, expect, it } from 'vitest'
import { createDirector } from '../../cloud/trust/director.ts'
import { loadOrCreateSeed } from '../../cloud/trust/seed-file.ts'
import type { Assignment } from '../../contract/release.ts'
import { signDocument, verifySigned } from '../../contract/signed.ts'

const assignment: Assignment = {
  v: 1,
  type: 'assignment',
  device: 'd-1',
  site: 's-1',
  board: 'board-a',
  seq: 7,
  issuedMs: 1_700_000_000_000,
  expiresMs: 1_700_100_000_000,
  target: { name: 'kws-1', version: 1, sha256: 'a'.repeat(64) },
  rollout: { id: 'r-1', stage: 1, arm: 'canary' },
}

describe('director', () => {
  const folder = mkdtempSync(join(tmpdir(), 'kinglet-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const random = { bytes: (length: number) => new Uint8Array(randomBytes(length)) }

  it('signs byte for byte what the contract signs with tweetnacl', () => {
    for (let i = 0; i < 20; i++) {
      const seed = random.bytes(32)
      const { secretKey } = nacl.sign.keyPair.fromSeed(seed)
      expect(createDirector(seed).sign({ ...assignment, seq: i })).toEqual(
        signDocument({ ...assignment, seq: i }, secretKey),
      )
    }
  })

  it('its signature verifies, and not after a change', () => {
    const director = createDirector(random.bytes(32))
    const signed = director.sign(assignment)
    expect(verifySigned(signed, director.role).ok).toBe(true)
    const changed = { ...signed, signed: { ...assignment, seq: 8 } }
    expect(verifySigned(changed, director.role)).toMatchObject({ ok: false, error: { code: 'bad-signature' } })
  })

  it('its seed is made once, private, and a damaged file is refused instead of replaced', () => {
    const path = join(folder, 'director.seed')
    const seed = loadOrCreateSeed(path, random)
    expect(loadOrCreateSeed(path, random)).toEqual(seed)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    writeFileSync(path, 'oops')
    expect(() => loadOrCreateSeed(path, random)).toThrow('holds no key')
    expect(readFileSync(path, 'utf8')).toBe('oops')
  })
})
