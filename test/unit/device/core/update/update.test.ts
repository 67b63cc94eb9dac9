import { describe, expect, it } from 'vitest'
import { hexToBytes } from '../../../../../contract/bytes.ts'
import { featuresSha256 } from '../../../../../contract/manifest.ts'
import type { Release } from '../../../../../contract/release.ts'
import type { BootRecord } from '../../../../../device/core/flash/boot-record.ts'
import {
  confirmedRecord,
  IDLE,
  judgeAssignment,
  judgeRelease,
  type ReleaseContext,
  retryDelayMs,
  trialVerdict,
  type UpdateState,
  wantedBy,
} from '../../../../../device/core/update/update.ts'
import { modelRamBytes } from '../../../../../model/boards.ts'
import { mfccDefinitionHighPass, mfccDefinitionV1 } from '../../../../../model/features/mfcc-definition.ts'
import { configSample, recordSample, wantedRelease } from '../../../../fixtures/agent.ts'
import {
  type AssignmentChange,
  assignmentBytes,
  assignmentOf,
  BOARD,
  DEVICE,
  ISSUED_MS,
  SITE,
} from '../../../../fixtures/documents.ts'
import { directorKey, strangerKey } from '../../../../fixtures/keys.ts'

const SHA = hexToBytes(wantedRelease.sha256)
const MINUTE = 60_000

describe('the assignment', () => {
  const context = { device: DEVICE, site: SITE, board: BOARD, director: directorKey.role, nowMs: ISSUED_MS }
  const judged = (change: AssignmentChange = {}, record: Partial<BootRecord> = {}) =>
    judgeAssignment(assignmentBytes({ release: wantedRelease, seq: 7, ...change }), context, {
      ...recordSample,
      ...record,
    })
  const code = (...args: Parameters<typeof judged>) => {
    const result = judged(...args)
    return result.ok ? result.value.kind : result.error.code
  }

  it('that is authentic is consulted about, whole', () => {
    expect(judged()).toEqual({
      ok: true,
      value: { kind: 'consult', assignment: assignmentOf({ release: wantedRelease, seq: 7 }).signed },
    })
  })

  it('of what runs already is current; of what only lies in the other slot it is not', () => {
    const image = { sha256: SHA, bytes: wantedRelease.bytes }
    const [running] = recordSample.images
    expect(code({}, { images: [image, running] })).toBe('current')
    expect(code({}, { images: [running, image] })).toBe('consult')
    expect(code({}, { images: [running, image], active: 1 })).toBe('current')
  })

  it('of an image that failed twice in a row here is refused, with its number and hash', () => {
    expect(code({}, { failedSha256: SHA, failures: 1 })).toBe('consult')
    expect(judged({}, { failedSha256: SHA, failures: 2 })).toMatchObject({
      ok: false,
      error: { code: 'penalized', seq: 7, sha256: wantedRelease.sha256 },
    })
    expect(code({}, { failedSha256: new Uint8Array(32).fill(1), failures: 255 })).toBe('consult')
  })

  it('is refused when it is not authentic, not for this device, old or expired', () => {
    expect(code({ directorSecret: strangerKey.secretKey })).toBe('unknown-key')
    const changed = new TextDecoder()
      .decode(assignmentBytes({ release: wantedRelease, seq: 7 }))
      .replace('"seq":7', '"seq":8')
    expect(judgeAssignment(new TextEncoder().encode(changed), context, recordSample)).toMatchObject({
      error: { code: 'bad-signature' },
    })
    expect(code({ content: { device: 'bird-2' } })).toBe('wrong-device')
    expect(code({ content: { board: 'xG24' } })).toBe('wrong-board')
    expect(code({}, { assignmentSeq: 7 })).toBe('consult')
    expect(code({}, { assignmentSeq: 8 })).toBe('replayed')
    expect(code({ expiresMs: ISSUED_MS + 1 })).toBe('consult')
    expect(code({ expiresMs: ISSUED_MS })).toBe('expired')
    expect(judgeAssignment(new Uint8Array(8_193), context, recordSample)).toMatchObject({
      error: { code: 'too-large' },
    })
    expect(judgeAssignment(new Uint8Array(8_192), context, recordSample)).toMatchObject({
      error: { code: 'malformed' },
    })
  })
})

describe('the release', () => {
  const context: ReleaseContext = {
    ...configSample,
    record: recordSample,
    activeArenaBytes: 16_000,
    progress: null,
    withoutPatches: false,
    remainingMj: Number.POSITIVE_INFINITY,
  }
  const judged = (change: Partial<Release> = {}, given: Partial<ReleaseContext> = {}) => {
    const release = { ...wantedRelease, ...change }
    return judgeRelease(assignmentOf({ release }).signed, release, { ...context, ...given })
  }
  const code = (...args: Parameters<typeof judged>) => {
    const result = judged(...args)
    return result.ok ? result.value.from : result.error.code
  }

  it('is downloaded when it fits', () => {
    const { sha256, bytes } = wantedRelease
    expect(judged()).toEqual({
      ok: true,
      value: { from: 'download', artifact: { kind: 'image', sha256, bytes }, offset: 0 },
    })
  })

  it('is the assigned one, or nothing', () => {
    const { signed } = assignmentOf({ release: wantedRelease })
    for (const change of [{ version: 3 }, { name: 'kws-9' }, { sha256: '00'.repeat(32) }]) {
      expect(judgeRelease(signed, { ...wantedRelease, ...change }, context)).toMatchObject({
        error: { code: 'contradicts-repository' },
      })
    }
    expect(code({ boards: ['xG24'] })).toBe('wrong-board')
    expect(code({ boards: [] })).toBe('download')
    expect(code({ securityCounter: 4 }, { record: { ...recordSample, securityCounter: 4 } })).toBe('download')
    expect(code({ securityCounter: 3 }, { record: { ...recordSample, securityCounter: 4 } })).toBe(
      'security-counter-too-low',
    )
  })

  it('fits features, RAM and slot to the byte', () => {
    expect(code({ featuresSha256: '0f'.repeat(32) })).toBe('unsupported-features')
    for (const definition of [mfccDefinitionV1, mfccDefinitionHighPass])
      expect(code({ featuresSha256: featuresSha256(definition) })).toBe('download')
    expect(code({ featuresSha256: featuresSha256({ ...mfccDefinitionV1, highPassHz: 21 }) })).toBe(
      'unsupported-features',
    )
    // Half of the board's 786 432 bytes.
    expect(modelRamBytes(context.board)).toBe(393_216)
    expect(code({ arenaBytes: 393_216 })).toBe('download')
    expect(code({ arenaBytes: 393_217 })).toBe('arena-over-budget')
    expect(code({ bytes: 400_000 })).toBe('download')
    expect(code({ bytes: 400_001 })).toBe('flash-over-budget')
  })

  it('is not downloaded when the other slot has it, whatever the battery says', () => {
    const [running] = recordSample.images
    const holding = (bytes: number, active: 0 | 1 = 0) => {
      const stored = { sha256: SHA, bytes }
      const images = active === 0 ? ([running, stored] as const) : ([stored, running] as const)
      return { record: { ...recordSample, active, images } }
    }
    expect(code({}, { ...holding(wantedRelease.bytes), remainingMj: 0 })).toBe('stored')
    expect(code({}, holding(wantedRelease.bytes, 1))).toBe('stored')
    expect(code({}, holding(wantedRelease.bytes - 1))).toBe('download')
    // What it has stored must fit its rules too.
    expect(code({ arenaBytes: 393_217 }, holding(wantedRelease.bytes))).toBe('arena-over-budget')
  })

  it('takes a fifth of what is left in the battery at most', () => {
    // 10 626 bytes on the air (air-bytes.test.ts) at 0.5 mJ a KiB; in flash the image and three records of a sector, at 25 mA and 3.3 V
    // for 56.2 ms a sector.
    const costMj = (10_626 / 1_024) * 0.5 + ((10_000 + 3 * 4_096) / 4_096) * 25e-3 * 3.3 * 56.2
    expect(code({}, { remainingMj: costMj * 5 * 1.000_001 })).toBe('download')
    expect(code({}, { remainingMj: costMj * 5 * 0.999_999 })).toBe('energy-over-budget')
    expect(code({}, { remainingMj: 0 })).toBe('energy-over-budget')
  })
})

describe('a delay before the next attempt', () => {
  it('is a minute, doubled by each failure up to the eighth', () => {
    expect([0, 1, 2, 7, 8, 9, 100].map((attempts) => retryDelayMs(attempts, 0) / MINUTE)).toEqual([
      1, 2, 4, 128, 256, 256, 256,
    ])
  })

  it('is up to half less, in whole milliseconds', () => {
    expect(retryDelayMs(0, 0.5)).toBe(45_000)
    expect(retryDelayMs(3, 0.5)).toBe(6 * MINUTE)
    expect(retryDelayMs(0, 0.999_999)).toBe(30_000)
    expect(retryDelayMs(0, 1 / 3)).toBe(50_000)
  })
})

describe('a trial', () => {
  const verdict = (change: Partial<Extract<UpdateState, { phase: 'trial' }>>, nowMs: number) =>
    trialVerdict(
      { phase: 'trial', deadlineMs: 1_000, windowsHeard: 100, reportAcknowledged: true, confirmAtMs: 0, ...change },
      nowMs,
    )

  it('is healthy after 100 windows and a report that somebody has', () => {
    expect(verdict({}, 500)).toBe('healthy')
    expect(verdict({ windowsHeard: 99 }, 500)).toBe('waiting')
    expect(verdict({ reportAcknowledged: false, windowsHeard: 9_999 }, 500)).toBe('waiting')
  })

  it('fails at its deadline, unless it is healthy then', () => {
    expect(verdict({ windowsHeard: 99 }, 999)).toBe('waiting')
    expect(verdict({ windowsHeard: 99 }, 1_000)).toBe('failed')
    expect(verdict({}, 5_000)).toBe('healthy')
  })

  it('is not confirmed again before its time, and fails while a write is never answered', () => {
    expect(verdict({ confirmAtMs: 600 }, 599)).toBe('waiting')
    expect(verdict({ confirmAtMs: 600 }, 600)).toBe('healthy')
    expect(verdict({ confirmAtMs: Number.POSITIVE_INFINITY }, 1_000)).toBe('failed')
  })

  it('that was healthy makes its image the confirmed one and clears the marks', () => {
    const record: BootRecord = {
      ...recordSample,
      phase: 'running',
      assignmentSeq: 7,
      securityCounter: 3,
      failedSha256: SHA,
      failures: 1,
    }
    const confirmed = {
      ...record,
      active: 1,
      phase: 'confirmed',
      failedSha256: new Uint8Array(32),
      failures: 0,
      untold: 'install-confirmed',
      untoldSeq: 7,
      untoldModel: new Uint8Array(8),
    }
    expect(confirmedRecord(record, 5)).toEqual({ ...confirmed, securityCounter: 5 })
    // It never falls.
    expect(confirmedRecord(record, 2)).toEqual({ ...confirmed, securityCounter: 3 })
    expect(confirmedRecord({ ...record, active: 1 }, 5).active).toBe(0)
  })
})

it('an update is about an image until it runs', () => {
  const { target } = assignmentOf({ release: wantedRelease }).signed
  const release = wantedRelease
  const states: [UpdateState, string | undefined][] = [
    [IDLE, undefined],
    [{ phase: 'consulting', target }, release.sha256],
    [{ phase: 'waiting', target, reason: 'low-battery', retryAtMs: 0 }, release.sha256],
    [{ phase: 'checking', release, slot: 1, artifact: null, deadlineMs: 0 }, release.sha256],
    [{ phase: 'rebooting', release }, release.sha256],
    [{ phase: 'trial', deadlineMs: 0, windowsHeard: 0, reportAcknowledged: false, confirmAtMs: 0 }, undefined],
  ]
  for (const [state, sha256] of states) expect(wantedBy(state), state.phase).toBe(sha256)
})
