import { describe, expect, it } from 'vitest'
import { bytesToHex, hexToBytes } from '../../../../../contract/bytes.ts'
import { blockCheck, blockCodec, getCodec } from '../../../../../contract/messages.ts'
import type { Release, ReleasePatch } from '../../../../../contract/release.ts'
import { err, ok } from '../../../../../contract/result.ts'
import type { AgentConfig, AgentEffect, BootContext } from '../../../../../device/core/agent/agent-state.ts'
import { type BootRecord, EMPTY_IMAGE } from '../../../../../device/core/flash/boot-record.ts'
import type { Progress } from '../../../../../device/core/flash/progress-record.ts'
import { radioNamed } from '../../../../../device/core/power/energy.ts'
import { downloadAirBytes } from '../../../../../device/core/update/air-bytes.ts'
import { type ArtifactContext, BLOCK_TIMEOUT_MS, chooseArtifact } from '../../../../../device/core/update/download.ts'
import { RETRY_DELAY_MS } from '../../../../../device/core/update/update.ts'
import { boardNamed, modelRamBytes } from '../../../../../model/boards.ts'
import {
  ACTIVE_SHA,
  codes,
  configSample,
  ofType,
  PureAgent,
  recordSample,
  wantedRelease,
} from '../../../../fixtures/agent.ts'
import { assignmentBytes } from '../../../../fixtures/documents.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

const HOUR = 3_600_000
const ACTIVE = bytesToHex(ACTIVE_SHA)
const arena = Math.max(...pipelineSample.graphs.map(({ ramBytes }) => ramBytes))
const patch = (base: string | null, bytes: number, sha256: string): ReleasePatch => ({ base, bytes, sha256 })
const mine = patch(ACTIVE, 30_000, '01'.repeat(32))
const compact = patch(null, 60_000, '02'.repeat(32))
const theirs = patch('ee'.repeat(32), 5_000, '03'.repeat(32))
/** 25 whole blocks and a short one */
const release: Release = { ...wantedRelease, bytes: 105_000, patches: [theirs, mine, compact] }

describe('the choice of what is downloaded', () => {
  const context: ArtifactContext = {
    ...configSample,
    record: recordSample,
    activeArenaBytes: arena,
    progress: null,
    withoutPatches: false,
  }
  const chosen = (change: Partial<ArtifactContext> = {}, of = release) =>
    chooseArtifact(of, { ...context, ...change }).artifact

  it('is the patch of the running image; one of another image is never taken', () => {
    expect(chosen()).toEqual({ kind: 'patch', sha256: mine.sha256, bytes: 30_000 })
    const others = { ...release, patches: [theirs, compact] }
    expect(chosen({}, others)).toEqual({ kind: 'patch', sha256: compact.sha256, bytes: 60_000 })
    expect(chosen({}, { ...release, patches: [theirs] })).toEqual({
      kind: 'image',
      sha256: release.sha256,
      bytes: 105_000,
    })
    expect(chosen({}, { ...release, patches: undefined })).toMatchObject({ kind: 'image' })
  })

  it('is the cheapest on the air, whatever it is called', () => {
    expect(chosen({}, { ...release, patches: [{ ...mine, bytes: 70_000 }, compact] })).toMatchObject({ bytes: 60_000 })
    // A radio that is paid by the session: fewer bytes all the same.
    expect(chosen({ radio: radioNamed('nb-iot')! })).toMatchObject({ bytes: 30_000 })
  })

  it('is the bundle where the decoder does not fit beside the running image, or after a patch that failed', () => {
    const board = boardNamed('NUCLEO-U385RG')!
    const room = modelRamBytes(board) - 16 * 1024 - 4_096
    expect(chosen({ board, activeArenaBytes: room })).toMatchObject({ kind: 'patch' })
    expect(chosen({ board, activeArenaBytes: room + 1 })).toMatchObject({ kind: 'image' })
    expect(chosen({ board, activeArenaBytes: room, sectorBytes: 8_192 })).toMatchObject({ kind: 'image' })
    expect(chosen({ withoutPatches: true })).toMatchObject({ kind: 'image' })
  })

  it('costs what is really downloaded: radio with its overhead, the slot, and a record after each block', () => {
    const lora = radioNamed('lora-sf7')!
    const { costMj } = chooseArtifact(release, { ...context, radio: lora })
    const air = (downloadAirBytes(configSample, mine.sha256, 0, 30_000) / 1024) * lora.millijoulePerKilobyte
    const flash = ((25e-3 * 3.3 * (45 + 16 * 0.7)) / 4_096) * (105_000 + 8 * 6 * 4_096)
    expect(costMj).toBeCloseTo(air + flash, 6)
    expect(downloadAirBytes(configSample, mine.sha256, 0, 30_000)).toBeGreaterThan(30_000 + 8 * 200)
    expect(downloadAirBytes(configSample, mine.sha256, 28_672, 30_000)).toBeLessThan(1_800)
  })

  describe('goes on with what was begun', () => {
    const progress: Progress = { artifact: mine.sha256, release: release.sha256, slot: 1, base: ACTIVE, offset: 8_192 }
    const goesOn = (change: Partial<Progress>, context_: Partial<ArtifactContext> = {}) =>
      chooseArtifact(release, { ...context, progress: { ...progress, ...change }, ...context_ }).offset

    it('where the flash says', () => {
      expect(goesOn({})).toBe(8_192)
      const whole = { artifact: release.sha256, offset: 4_096 }
      expect(chooseArtifact(release, { ...context, progress: { ...progress, ...whole } })).toMatchObject({
        artifact: { kind: 'image' },
        offset: 4_096,
      })
      const left = chooseArtifact(release, { ...context, progress: { ...progress, offset: 28_672 } }).costMj
      expect(left).toBeLessThan(chooseArtifact(release, context).costMj / 4)
    })

    it.each<[string, Partial<Progress>, Partial<ArtifactContext>]>([
      ['of another release', { release: 'dd'.repeat(32) }, {}],
      ['of another artifact', { artifact: 'dd'.repeat(32) }, {}],
      ['in the slot that runs', { slot: 0 }, {}],
      ['over another base', { base: 'dd'.repeat(32) }, {}],
      ['past the end', { offset: 30_001 }, {}],
      ['of a patch that is barred', {}, { withoutPatches: true }],
      [
        'in a slot that holds an image',
        {},
        { record: { ...recordSample, images: [recordSample.images[0], { sha256: new Uint8Array(32), bytes: 1 }] } },
      ],
    ])('but not when it is %s', (_, change, context_) => {
      expect(goesOn(change, context_)).toBe(0)
    })
  })
})

/** An agent that is told of the release. */
const assigned = (config: Partial<AgentConfig> = {}, boot: Partial<BootContext> = {}, of = release) => {
  const agent = new PureAgent(boot, config)
  for (const { id } of ofType(agent.send({ type: 'connected' }), 'publish')) agent.send({ type: 'published', id })
  agent.release(of)
  agent.send({ type: 'received', kind: 'assign', payload: assignmentBytes({ release: of }) })
  return agent
}
const gets = (effects: readonly AgentEffect[]) =>
  ofType(effects, 'publish')
    .filter(({ kind }) => kind === 'get')
    .map(({ payload }) => {
      const get = getCodec.decode(payload)
      if (!get.ok) throw new Error(get.error.detail)
      return { sha256: bytesToHex(get.value.sha256), offset: get.value.offset }
    })
const offsets = (effects: readonly AgentEffect[]) => gets(effects).map(({ offset }) => offset / 4_096)
const block = (agent: PureAgent, index: number, error?: string, { sha256, bytes } = mine) => {
  const offset = index * 4_096
  const data = new Uint8Array(Math.min(4_096, bytes - offset))
  const said = error === undefined ? { data, check: blockCheck(data) } : { error }
  const payload = blockCodec.encode({ offset, totalBytes: bytes, ...said })
  return agent.send({ type: 'received', kind: 'block', sha256, payload })
}

describe('blocks under way', () => {
  it('are as many as the radio is made for, applied in order, the next one asked for when one is in flash', () => {
    const agent = assigned()
    expect(gets(agent.last)).toEqual([0, 1, 2, 3].map((i) => ({ sha256: mine.sha256, offset: i * 4_096 })))
    const [applied] = ofType(block(agent, 0), 'apply-block')
    expect(applied).toMatchObject({ artifact: { sha256: mine.sha256 }, slot: 1, offset: 0, last: false })
    expect(applied!.base).toEqual(recordSample.images[0])
    expect(offsets(agent.last)).toEqual([4])
    expect(offsets(block(agent, 1))).toEqual([5])
    expect(offsets(assigned({ radio: radioNamed('lora-sf9')! }).last)).toEqual([0])
  })

  it('the last of them is short, and none is asked for past it', () => {
    const agent = assigned()
    for (let i = 0; i < 7; i++) block(agent, i)
    expect(offsets(agent.last)).toEqual([])
    expect(ofType(block(agent, 7), 'apply-block')).toMatchObject([{ last: true, offset: 28_672 }])
    expect(codes(agent.last)).toEqual(['download-complete'])
    expect(ofType(agent.last, 'check-image')).toMatchObject([{ slot: 1, release: { sha256: release.sha256 } }])
  })

  it('late, repeated and early ones are ignored', () => {
    const agent = assigned()
    block(agent, 0)
    for (const index of [0, 2, 3]) expect(ofType(block(agent, index), 'apply-block')).toEqual([])
    expect(ofType(block(agent, 1), 'apply-block')).toHaveLength(1)
  })

  it('a damaged one comes alone, and then as many as before', () => {
    const agent = assigned()
    const damaged = blockCodec.encode({
      offset: 0,
      totalBytes: mine.bytes,
      data: new Uint8Array(4_096),
      check: new Uint8Array(8),
    })
    const effects = agent.send({ type: 'received', kind: 'block', sha256: mine.sha256, payload: damaged })
    expect(offsets(effects)).toEqual([0])
    // Those behind it were under way and come for nothing.
    expect(ofType(block(agent, 1), 'apply-block')).toEqual([])
    expect(offsets(block(agent, 0))).toEqual([1, 2, 3, 4])
  })

  it('those that the gateway refused because they were too many are asked for again by the first that comes', () => {
    const agent = assigned()
    for (const index of [1, 2, 3]) expect(block(agent, index, 'rate-limited')).toEqual([])
    expect(offsets(block(agent, 0))).toEqual([1, 2, 3, 4])
  })

  it('a silent gateway is asked for one at a time', () => {
    const agent = assigned()
    expect(offsets(agent.after(BLOCK_TIMEOUT_MS))).toEqual([0])
    expect(offsets(agent.after(BLOCK_TIMEOUT_MS))).toEqual([0])
    expect(offsets(block(agent, 0))).toEqual([1, 2, 3, 4])
  })

  it('are asked for again from the first missing one when the link comes back', () => {
    const agent = assigned()
    block(agent, 0)
    agent.send({ type: 'disconnected', reason: 'test' })
    expect(offsets(agent.send({ type: 'connected' }))).toEqual([1, 2, 3, 4])
  })
})

describe('a patch that leads nowhere', () => {
  const refuse = (agent: PureAgent, code: 'wrong-base' | 'patch-malformed' | 'flash-full') => {
    agent.answersWrites = false
    block(agent, 0)
    agent.answersWrites = true
    return agent.send({ type: 'block-refused', sha256: mine.sha256, error: { code, detail: 'x' } })
  }
  const next = (agent: PureAgent) => gets(agent.after(RETRY_DELAY_MS))[0]?.sha256

  it('is told with its own code, and the next attempt of the same assignment takes the bundle', () => {
    for (const code of ['wrong-base', 'patch-malformed'] as const) {
      const agent = assigned()
      expect(codes(refuse(agent, code))).toEqual([`install-delayed: ${code}`])
      expect(agent.state.record).toMatchObject({ active: 0, phase: 'confirmed', failures: 0 })
      expect(next(agent)).toBe(release.sha256)
    }
  })

  it('so does one whose image is not the release', () => {
    const agent = assigned()
    for (let i = 0; i < 8; i++) block(agent, i)
    const result = err({ code: 'hash-mismatch', detail: 'x' } as const)
    const effects = agent.send({ type: 'image-checked', sha256: release.sha256, result })
    expect(codes(effects)).toEqual(['install-delayed: hash-mismatch'])
    expect(effects.map(({ type }) => type).filter((type) => /write-record|clear/.test(type))).toEqual([
      'clear-progress',
      'write-record',
    ])
    expect(next(agent)).toBe(release.sha256)
  })

  it('but a flash that fails says nothing about the patch, and the next attempt goes on where it was', () => {
    const agent = assigned()
    block(agent, 0)
    agent.answersWrites = false
    block(agent, 1)
    agent.answersWrites = true
    agent.send({ type: 'block-refused', sha256: mine.sha256, error: { code: 'flash-full', detail: 'x' } })
    expect(gets(agent.after(RETRY_DELAY_MS))[0]).toEqual({ sha256: mine.sha256, offset: 4_096 })
  })

  it('another assignment tries patches again', () => {
    const agent = assigned()
    refuse(agent, 'wrong-base')
    const other = { ...release, name: 'kws-3', version: 3, sha256: 'b3'.repeat(32) }
    agent.release(other)
    agent.send({ type: 'received', kind: 'assign', payload: assignmentBytes({ release: other, seq: 2 }) })
    expect(gets(agent.last)[0]!.sha256).toBe(mine.sha256)
  })
})

describe('after a reset', () => {
  const progress: Progress = { artifact: mine.sha256, release: release.sha256, slot: 1, base: ACTIVE, offset: 16_384 }
  const record: BootRecord = { ...recordSample, images: [recordSample.images[0], EMPTY_IMAGE], assignmentSeq: 1 }

  it('the assignment is judged and the repository asked as always; then the download goes on, and nothing is written first', () => {
    const agent = assigned({}, { record, progress })
    expect(ofType(agent.all, 'publish').some(({ kind }) => kind === 'meta-get')).toBe(true)
    expect(offsets(agent.last)).toEqual([4, 5, 6, 7])
    expect(agent.all.filter(({ type }) => type === 'write-record' || type === 'clear-progress')).toEqual([])
  })

  it('a download that was whole is checked', () => {
    const agent = assigned({}, { record, progress: { ...progress, offset: mine.bytes } })
    expect(gets(agent.last)).toEqual([])
    expect(ofType(agent.last, 'check-image')).toHaveLength(1)
    const checked = agent.send({ type: 'image-checked', sha256: release.sha256, result: ok(undefined) })
    expect(checked.map(({ type }) => type)).toEqual(['write-record', 'clear-progress', 'save-spool', 'reboot'])
  })

  it('of another release it is struck out before the slot is declared empty, once', () => {
    const agent = assigned({}, { record, progress: { ...progress, release: 'dd'.repeat(32) } })
    const writes = agent.all.map(({ type }) => type).filter((type) => /write-record|clear/.test(type))
    expect(writes).toEqual(['clear-progress', 'write-record'])
    expect(offsets(agent.last)).toEqual([0, 1, 2, 3])
  })

  it('an assignment of what runs strikes it out', () => {
    const current = { ...release, name: 'kws-1', version: 1, sha256: ACTIVE }
    const agent = assigned({}, { record, progress }, current)
    expect(ofType(agent.all, 'clear-progress')).toHaveLength(1)
    expect(agent.state.attempt.progress).toBeNull()
  })

  it('an assignment that has expired meanwhile is not gone on with', () => {
    const agent = new PureAgent({ record, progress })
    agent.release(release)
    const payload = assignmentBytes({ release, expiresMs: agent.now.wallMs - 1 })
    expect(codes(agent.send({ type: 'received', kind: 'assign', payload }))).toEqual(['install-refused: expired'])
    expect(gets(agent.all)).toEqual([])
  })
})

describe('a download waits', () => {
  // The sample's clock begins at 22:13:20 UTC.
  const updateWindow = { fromHour: 23, toHour: 1, utcOffsetMinutes: 0 }

  it('for its hours: told once, nothing asked for meanwhile, and then it begins by itself', () => {
    const agent = assigned({ updateWindow })
    expect(codes(agent.last)).toEqual(['install-delayed: outside-window'])
    expect(agent.state.update).toMatchObject({ phase: 'waiting', reason: 'outside-window' })
    expect(ofType(agent.last, 'publish').filter(({ kind }) => kind === 'meta-get')).toEqual([])
    agent.send({ type: 'received', kind: 'assign', payload: assignmentBytes({ release }) })
    expect(codes(agent.after(46 * 60_000))).toEqual([])
    expect(agent.state.update.phase).toBe('waiting')
    expect(offsets(agent.after(60_000))).toEqual([0, 1, 2, 3])
    expect(agent.state).toMatchObject({
      attempt: { attempts: 0 },
      measures: { counters: { installsStarted: 1, installsFailed: 0 } },
    })
  })

  it('for the hours that the assignment says, whatever its own are; a newer one without hours lets it go on', () => {
    // The sample's clock begins at 23:13:20 of that zone.
    const window = { fromMinute: 0, toMinute: 60, offsets: [{ fromMs: 0, minutes: 60 }] }
    const agent = new PureAgent({}, { updateWindow: { fromHour: 22, toHour: 23, utcOffsetMinutes: 0 } })
    agent.send({ type: 'connected' })
    agent.release(release)
    agent.send({ type: 'received', kind: 'assign', payload: assignmentBytes({ release, content: { window } }) })
    expect(codes(agent.last)).toEqual(['install-delayed: outside-window'])
    const next = assignmentBytes({ release, seq: 9 })
    agent.send({ type: 'received', kind: 'assign', payload: next })
    expect(agent.state.update.phase).not.toBe('waiting')
  })

  it('in the middle too, and goes on where it was the next day', () => {
    const agent = assigned({ updateWindow })
    agent.after(HOUR)
    block(agent, 0)
    agent.after(2 * HOUR)
    expect(offsets(block(agent, 1))).toEqual([])
    expect(agent.state.update).toMatchObject({ phase: 'waiting', reason: 'outside-window' })
    expect(offsets(agent.after(22 * HOUR))).toEqual([2, 3, 4, 5])
  })

  it('for charge; an image that is here already does not', () => {
    const power = { capacityMj: 1e6, horizonMs: 0 }
    const low = { power, governed: false, fixedLevel: 'sparse' } as const
    expect(codes(assigned(low, { batteryMj: 2e5 }).last)).toEqual(['install-delayed: low-battery'])
    expect(codes(assigned({ ...low, fixedLevel: 'full' }, { batteryMj: 9e5 }).last)).toEqual(['install-started'])
    // It hears nothing until it runs a lighter model, so it takes that one.
    const asleep = { ...low, fixedLevel: 'hibernate' } as const
    expect(codes(assigned(asleep, { batteryMj: 9e5 }).last)).toEqual(['install-started'])
    expect(codes(assigned(asleep, { batteryMj: 4e5 }).last)).toEqual(['install-delayed: low-battery'])
    const images: BootRecord['images'] = [
      recordSample.images[0],
      { sha256: hexToBytes(release.sha256), bytes: release.bytes },
    ]
    const stored = assigned(low, { batteryMj: 2e5, record: { ...recordSample, images } })
    expect(ofType(stored.last, 'check-image')).toHaveLength(1)
  })
})
