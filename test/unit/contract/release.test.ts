import { describe, expect, it } from 'vitest'
import { type AssignmentContext, verifyAssignment, verifyRelease } from '../../../contract/release.ts'
import { type Signed, signDocument } from '../../../contract/signed.ts'
import {
  type AssignmentChange,
  assignmentOf,
  BOARD,
  DEVICE,
  ISSUED_MS,
  releaseSample,
  SITE,
} from '../../fixtures/documents.ts'
import { directorKey, releaseKey, strangerKey } from '../../fixtures/keys.ts'

const context: AssignmentContext = {
  device: DEVICE,
  site: SITE,
  board: BOARD,
  director: directorKey.role,
  release: releaseKey.role,
  lastSeq: 5,
  securityCounter: 1,
  nowMs: ISSUED_MS + 1000,
}
const judge = (change: AssignmentChange, own: Partial<AssignmentContext> = {}): string => {
  const result = verifyAssignment(assignmentOf({ seq: 6, ...change }), { ...context, ...own })
  return result.ok ? 'ok' : result.error.code
}

describe('verifyAssignment', () => {
  it('accepts what both keys signed for this device, and gives the release', () => {
    const result = verifyAssignment(assignmentOf({ seq: 6 }), context)
    expect(result).toMatchObject({ ok: true, value: { release: releaseSample, assignment: { seq: 6 } } })
  })

  it.each<[string, AssignmentChange]>([
    ['unknown-key', { directorSecret: strangerKey.secretKey }],
    // The release key has no say in who runs what, nor the director in what may run.
    ['unknown-key', { directorSecret: releaseKey.secretKey }],
    ['unknown-key', { releaseSecret: directorKey.secretKey }],
    ['unknown-key', { releaseSecret: strangerKey.secretKey }],
    ['unknown-schema-version', { content: { v: 2 } }],
    ['unknown-schema-version', { content: { v: { toString: 1 } } }],
    ['malformed', { content: { type: 'release' } }],
    ['malformed', { content: { extra: 1 } }],
    ['malformed', { content: { seq: -1 } }],
    ['malformed', { content: { rollout: { id: 'r', stage: 0, arm: 'left' } } }],
    ['wrong-device', { content: { device: 'bird-2' } }],
    ['wrong-device', { content: { site: 'other' } }],
    ['wrong-board', { content: { board: 'xG24' } }],
    ['replayed', { seq: 4 }],
    ['expired', { expiresMs: ISSUED_MS + 1000 }],
    ['malformed', { signedRelease: null }],
    ['malformed', { signedRelease: { signed: releaseSample } }],
    [
      'bad-signature',
      {
        signedRelease: {
          ...signDocument(releaseSample, releaseKey.secretKey),
          signed: { ...releaseSample, version: 3 },
        },
      },
    ],
    ['unknown-schema-version', { signedRelease: signDocument({ ...releaseSample, v: 2 }, releaseKey.secretKey) }],
    ['malformed', { signedRelease: signDocument({ ...releaseSample, bytes: 0 }, releaseKey.secretKey) }],
    ['contradicts-release', { content: { target: { name: 'kws-2', version: 3, sha256: releaseSample.sha256 } } }],
    ['contradicts-release', { content: { target: { name: 'kws-3', version: 2, sha256: releaseSample.sha256 } } }],
    ['contradicts-release', { content: { target: { name: 'kws-2', version: 2, sha256: '00'.repeat(32) } } }],
    ['wrong-board', { release: { ...releaseSample, boards: ['xG24'] } }],
    ['security-counter-too-low', { release: { ...releaseSample, securityCounter: 0 } }],
  ])('refuses with %s (%#)', (code, change) => {
    expect(judge(change)).toBe(code)
  })

  it('takes the newest number again, for the broker repeats it', () => {
    expect(judge({ seq: 5 })).toBe('ok')
  })

  it('goes back in version, but not below the security counter', () => {
    expect(judge({ release: { ...releaseSample, version: 0 } })).toBe('ok')
    expect(judge({}, { securityCounter: 2 })).toBe('security-counter-too-low')
  })

  it('does not judge expiry without a wall clock', () => {
    expect(judge({ expiresMs: 1 }, { nowMs: 0 })).toBe('ok')
  })

  it('a release for no board in particular is for any', () => {
    expect(judge({ release: { ...releaseSample, boards: [] } })).toBe('ok')
  })

  it('a changed field under a good signature is noticed', () => {
    const document = assignmentOf({ seq: 6 })
    const tampered = { ...document, signed: { ...document.signed, seq: 7 } } as Signed<unknown>
    expect(verifyAssignment(tampered, context)).toMatchObject({ ok: false, error: { code: 'bad-signature' } })
  })
})

it('verifyRelease gives the document that the release role signed', () => {
  expect(verifyRelease(signDocument(releaseSample, releaseKey.secretKey), releaseKey.role)).toEqual({
    ok: true,
    value: releaseSample,
  })
})
