import { describe, expect, it } from 'vitest'
import {
  type AssignmentContext,
  agreesWithRepository,
  type Release,
  releaseSchema,
  verifyAssignment,
} from '../../../contract/release.ts'
import { directorOf, releaseOfTarget } from '../../../contract/repository-target.ts'
import type { Signed } from '../../../contract/signed.ts'
import type { TargetFile } from '../../../contract/tuf/metadata.ts'
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
  lastSeq: 5,
  nowMs: ISSUED_MS + 1000,
}
const judge = (change: AssignmentChange, own: Partial<AssignmentContext> = {}): string => {
  const result = verifyAssignment(assignmentOf({ seq: 6, ...change }), { ...context, ...own })
  return result.ok ? 'ok' : result.error.code
}

describe('verifyAssignment', () => {
  it('accepts what the director signed for this device', () => {
    expect(verifyAssignment(assignmentOf({ seq: 6 }), context)).toMatchObject({ ok: true, value: { seq: 6 } })
  })

  it.each<[string, AssignmentChange]>([
    ['unknown-key', { directorSecret: strangerKey.secretKey }],
    // Whoever says what may run has no say in who runs it.
    ['unknown-key', { directorSecret: releaseKey.secretKey }],
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
  ])('refuses with %s (%#)', (code, change) => {
    expect(judge(change)).toBe(code)
  })

  it('takes the newest number again, for the broker repeats it', () => {
    expect(judge({ seq: 5 })).toBe('ok')
  })

  it('does not judge expiry without a wall clock', () => {
    expect(judge({ expiresMs: 1 }, { nowMs: 0 })).toBe('ok')
  })

  it('a changed field under a good signature is noticed', () => {
    const document = assignmentOf({ seq: 6 })
    const tampered = { ...document, signed: { ...document.signed, seq: 7 } } as Signed<unknown>
    expect(verifyAssignment(tampered, context)).toMatchObject({ ok: false, error: { code: 'bad-signature' } })
  })
})

describe('agreesWithRepository', () => {
  const { target } = assignmentOf().signed
  const agrees = (release: Partial<Release>, own: { board?: string; securityCounter?: number } = {}): string => {
    const device = { board: BOARD, securityCounter: 1, ...own }
    const result = agreesWithRepository({ ...assignmentOf().signed, target }, { ...releaseSample, ...release }, device)
    return result.ok ? 'ok' : result.error.code
  }

  it.each<[string, Partial<Release>]>([
    ['ok', {}],
    ['contradicts-repository', { version: 3 }],
    ['contradicts-repository', { name: 'kws-3' }],
    ['contradicts-repository', { sha256: '00'.repeat(32) }],
    ['wrong-board', { boards: ['xG24'] }],
    ['ok', { boards: [] }],
    ['security-counter-too-low', { securityCounter: 0 }],
  ])('%s (%#)', (code, release) => {
    expect(agrees(release)).toBe(code)
  })

  it('goes back in version, but not below the security counter of this device', () => {
    expect(agrees({}, { securityCounter: 2 })).toBe('security-counter-too-low')
  })
})

describe('what the repository says of a target', () => {
  const targetOf = (change: Partial<TargetFile> = {}): TargetFile => ({
    path: 'kws-2/2.kinglet',
    length: releaseSample.bytes,
    hashes: new Map([['sha256', releaseSample.sha256]]),
    custom: { kinglet: releaseSample },
    ...change,
  })
  const read = (change: Partial<TargetFile> = {}) => {
    const result = releaseOfTarget(targetOf(change))
    return result.ok ? result.value : result.error.code
  }

  it('is a release that says the same as the target', () => {
    expect(read()).toEqual(releaseSample)
    expect(read({ path: 'kws-2/3.kinglet' })).toBe('contradicts-repository')
    expect(read({ length: 1 })).toBe('contradicts-repository')
    expect(read({ hashes: new Map([['sha512', releaseSample.sha256]]) })).toBe('contradicts-repository')
  })

  it('may name patches, each for one base, at most 16', () => {
    const patch = (i: number | null) => ({
      base: i === null ? null : i.toString(16).padStart(64, '0'),
      sha256: 'cd'.repeat(32),
      bytes: 9,
    })
    const named = (patches: unknown) => read({ custom: { kinglet: { ...releaseSample, patches } } })
    const most = [patch(null), ...Array.from({ length: 15 }, (_, i) => patch(i))]
    expect(named(most)).toMatchObject({ patches: most })
    expect(named([])).toMatchObject({ patches: [] })
    for (const wrong of [
      [...most, patch(15)],
      [patch(1), patch(1)],
      [patch(null), patch(null)],
      [{ ...patch(1), bytes: 0 }],
      [{ ...patch(1), bytes: releaseSample.bytes }],
      [{ ...patch(1), sha256: 'CD'.repeat(32) }],
      [{ ...patch(1), base: '' }],
      [{ ...patch(1), url: 'x' }],
      {},
    ]) {
      expect(named(wrong)).toBe('malformed')
    }
  })

  it('may have patches of version 2 beside it, which agents of before that version do not see', () => {
    const patch = (base: string | null, bytes: number) => ({ base, sha256: `${bytes}`.padStart(64, '0'), bytes })
    const [first, full] = [patch('ab'.repeat(32), 9), patch(null, 20)]
    const kinglet = { ...releaseSample, patches: [first, full] }
    const later = [patch('ab'.repeat(32), 7)]
    expect(read({ custom: { kinglet, 'kinglet-patches-2': later } })).toEqual({
      ...kinglet,
      patches: [...later, first, full],
    })
    expect(read({ custom: { kinglet, 'kinglet-patches-2': [] } })).toEqual(kinglet)
    const alone = { ...releaseSample, patches: undefined }
    expect(read({ custom: { kinglet: alone, 'kinglet-patches-2': later } })).toMatchObject({ patches: later })
    for (const wrong of [{}, null, [...later, ...later], [{ ...later[0], url: 'x' }]]) {
      expect(read({ custom: { kinglet, 'kinglet-patches-2': wrong } })).toBe('malformed')
    }
    // What such an agent reads: the release, strict about every field.
    expect(releaseSchema.safeParse(kinglet).success).toBe(true)
    expect(releaseSchema.safeParse({ ...kinglet, 'kinglet-patches-2': later }).success).toBe(false)
  })

  it.each([undefined, null, 7, [], { kinglet: null }, { kinglet: { ...releaseSample, bytes: 0 } }])(
    'or nothing that a device acts on (%#)',
    (custom) => {
      expect(['malformed', 'unknown-schema-version']).toContain(read({ custom }))
    },
  )

  it('and root says who directs; a root that names nobody leaves every assignment unknown', () => {
    const bytes = (signed: unknown) => new TextEncoder().encode(JSON.stringify({ signed }))
    expect(directorOf(bytes({ 'x-kinglet-director': directorKey.role }))).toEqual(directorKey.role)
    for (const wrong of [{}, { 'x-kinglet-director': { ...directorKey.role, threshold: 0 } }, null]) {
      const director = directorOf(bytes(wrong))
      expect(verifyAssignment(assignmentOf({ seq: 6 }), { ...context, director })).toMatchObject({
        error: { code: 'unknown-key' },
      })
    }
  })
})
