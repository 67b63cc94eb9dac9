import { describe, expect, it } from 'vitest'
import { bytesToHex, hexToBytes } from '../../../../../contract/bytes.ts'
import { LIMITS } from '../../../../../contract/limits.ts'
import { blockCheck, blockCodec, EVENT_CODES, eventCodec, getCodec } from '../../../../../contract/messages.ts'
import type { Release } from '../../../../../contract/release.ts'
import { err, ok } from '../../../../../contract/result.ts'
import { nextDeadlineMs } from '../../../../../device/core/agent/agent.ts'
import type { AgentEffect } from '../../../../../device/core/agent/agent-state.ts'
import { type BootRecord, EMPTY_IMAGE } from '../../../../../device/core/flash/boot-record.ts'
import { radioNamed } from '../../../../../device/core/power/energy.ts'
import { BLOCK_TIMEOUT_MS, DAMAGED_MAX, RATE_LIMITED_MS } from '../../../../../device/core/update/download.ts'
import {
  CHECK_WINDOW_MS,
  RESTING_MS,
  RETRIES_MAX,
  RETRY_DELAY_MS,
  retryDelayMs,
  TRIAL_WINDOW_MS,
  TRIAL_WINDOWS_MIN,
} from '../../../../../device/core/update/update.ts'
import {
  ACTIVE_SHA,
  codes,
  heardOf,
  heardSample,
  kinds,
  ofType,
  PureAgent,
  recordSample,
  wantedRelease,
} from '../../../../fixtures/agent.ts'
import { type AssignmentChange, assignmentBytes } from '../../../../fixtures/documents.ts'
import { strangerKey } from '../../../../fixtures/keys.ts'

const MINUTE = 60_000
const sha = wantedRelease.sha256
const other: Release = { ...wantedRelease, name: 'kws-3', version: 3, sha256: 'b3'.repeat(32), bytes: 9_000 }
/** One block at a time; several are in download.test.ts. */
const radio = { ...radioNamed('ble-1m')!, blocksInFlight: 1 }
const connected = (boot: ConstructorParameters<typeof PureAgent>[0] = {}, config = {}) => {
  const agent = new PureAgent(boot, { radio, ...config })
  for (const { id } of ofType(agent.send({ type: 'connected' }), 'publish')) agent.send({ type: 'published', id })
  return agent
}
const assign = (agent: PureAgent, change: AssignmentChange = {}) => {
  if (change.release !== undefined) agent.release(change.release)
  return agent.send({
    type: 'received',
    kind: 'assign',
    payload: assignmentBytes({ release: wantedRelease, ...change }),
  })
}

const block = (
  agent: PureAgent,
  offset: number,
  change: Partial<Parameters<typeof blockCodec.encode>[0]> = {},
  of: { readonly sha256: string; readonly bytes: number } = wantedRelease,
) => {
  const data = new Uint8Array(Math.min(4_096, of.bytes - offset)).fill(offset / 4_096)
  const check = blockCheck(change.data ?? data)
  const payload = blockCodec.encode({ offset, totalBytes: of.bytes, data, check, ...change })
  return agent.send({ type: 'received', kind: 'block', sha256: of.sha256, payload })
}
const gets = (effects: readonly AgentEffect[]) =>
  ofType(effects, 'publish')
    .filter(({ kind }) => kind === 'get')
    .map(({ payload, qos }) => {
      const get = getCodec.decode(payload)
      if (!get.ok) throw new Error(get.error.detail)
      return { sha256: bytesToHex(get.value.sha256), offset: get.value.offset, length: get.value.length, qos }
    })
const download = (agent: PureAgent, of = wantedRelease) => {
  for (let offset = 0; offset < of.bytes; offset += 4_096) block(agent, offset, {}, of)
}
const records = (effects: readonly AgentEffect[]) => ofType(effects, 'write-record').map(({ record }) => record)
/** model and error of the events that were put on the air or wait for it */
const eventsOf = (agent: PureAgent) =>
  [...ofType(agent.all, 'publish'), ...agent.state.outbox.messages]
    .filter(({ kind }) => kind === 'event')
    .map(({ payload }) => {
      const event = eventCodec.decode(payload)
      if (!event.ok) throw new Error(event.error.detail)
      const { code, model, error, assignmentSeq } = event.value
      return { code: EVENT_CODES[code], model: model && bytesToHex(model), error, assignmentSeq }
    })

describe('the whole life of an update, on data alone', () => {
  it('assignment, blocks, check, pending record, reboot; then trial, report, confirmation', () => {
    const agent = connected()
    expect(codes(assign(agent))).toEqual(['install-started'])
    expect(gets(agent.last)).toEqual([{ sha256: sha, offset: 0, length: 4_096, qos: 0 }])
    // The newest number is kept, and the slot is marked before it is overwritten.
    expect(records(agent.last).map(({ assignmentSeq, images }) => [assignmentSeq, images[1].bytes])).toEqual([
      [1, 0],
      [1, 0],
    ])

    const first = block(agent, 0)
    expect(first[0]).toMatchObject({ type: 'apply-block', slot: 1, offset: 0 })
    expect(gets(first)[0]).toMatchObject({ offset: 4_096, length: 4_096 })
    expect(gets(block(agent, 4_096))[0]).toMatchObject({ offset: 8_192, length: 1_808 })
    const last = block(agent, 8_192)
    expect(codes(last)).toEqual(['download-complete'])
    expect(ofType(last, 'check-image')).toEqual([{ type: 'check-image', slot: 1, release: wantedRelease }])
    expect(gets(last)).toEqual([])

    const checked = agent.send({ type: 'image-checked', sha256: sha, result: ok(undefined) })
    const pending = records(checked)[0]!
    expect(pending).toMatchObject({ phase: 'pending', active: 0, images: [{ sha256: ACTIVE_SHA }, { bytes: 10_000 }] })
    expect(bytesToHex(pending.images[1].sha256)).toBe(sha)
    // The record is durable before the reboot, the reboot is last, and what is unsent is in the spool.
    expect(checked.map(({ type }) => type)).toEqual(['write-record', 'clear-progress', 'save-spool', 'reboot'])
    expect(ofType(checked, 'save-spool')[0]!.outbox.messages.at(-1)!.kind).toBe('report')

    const trial = connected({ record: { ...pending, phase: 'running', boots: 2 }, slot: 1, outcome: 'trial' })
    expect(codes(trial.all)).toEqual(['booted', 'trial-started'])
    trial.send({ type: 'heard', heard: heardOf({ windows: TRIAL_WINDOWS_MIN }) })
    expect(trial.state.update.phase).toBe('trial')
    const [report] = ofType(trial.after(10 * MINUTE), 'publish')
    expect(report!.kind).toBe('report')
    const confirmed = trial.send({ type: 'published', id: report!.id })
    expect(codes(confirmed)).toEqual(['install-confirmed'])
    expect(records(confirmed)[0]).toMatchObject({ phase: 'confirmed', active: 1, failures: 0, assignmentSeq: 1 })
    expect(trial.state.measures.counters.installsConfirmed).toBe(1)

    const [mine, theirs] = [bytesToHex(ACTIVE_SHA.slice(0, 8)), sha.slice(0, 16)]
    const about = (name: string, from: PureAgent) => eventsOf(from).find(({ code }) => code === name)
    expect(about('booted', agent)).toMatchObject({ model: mine })
    for (const name of ['install-started', 'download-complete']) {
      expect(about(name, agent)).toMatchObject({ model: theirs, assignmentSeq: 1 })
    }
    for (const name of ['trial-started', 'install-confirmed']) {
      expect(about(name, trial)).toMatchObject({ model: theirs, assignmentSeq: 1 })
    }
  })

  it('nothing is sent after the decision to reboot', () => {
    const agent = connected()
    assign(agent)
    download(agent)
    const bytes = agent.state.measures.counters.radioTxBytes
    expect(kinds(agent.send({ type: 'image-checked', sha256: sha, result: ok(undefined) }))).toEqual([])
    expect(agent.state.measures.counters.radioTxBytes).toBe(bytes)
  })
})

describe('assignments', () => {
  it('the retained one is silent when it is repeated: during the download, and once it runs', () => {
    const agent = connected()
    assign(agent)
    expect(assign(agent)).toEqual([])
    const running: BootRecord = {
      ...recordSample,
      images: [{ sha256: hexToBytes(sha), bytes: 10_000 }, EMPTY_IMAGE],
      assignmentSeq: 1,
    }
    expect(assign(connected({ record: running }))).toEqual([])
  })

  it('one for the running model only moves the number', () => {
    const running: BootRecord = { ...recordSample, images: [{ sha256: hexToBytes(sha), bytes: 10_000 }, EMPTY_IMAGE] }
    const agent = connected({ record: running })
    expect(assign(agent).map(({ type }) => type)).toEqual(['write-record'])
    expect(agent.state.record.assignmentSeq).toBe(1)
  })

  it('the image in the other slot is taken without a download', () => {
    const record: BootRecord = {
      ...recordSample,
      images: [recordSample.images[0], { sha256: hexToBytes(sha), bytes: 10_000 }],
    }
    const agent = connected({ record })
    const effects = assign(agent)
    expect(gets(effects)).toEqual([])
    expect(ofType(effects, 'check-image')).toHaveLength(1)
    expect(ofType(effects, 'apply-block')).toEqual([])
  })

  it.each<[string, Partial<Release>, object]>([
    ['arena-over-budget', { arenaBytes: 393_217 }, {}],
    ['flash-over-budget', { bytes: 400_001 }, {}],
    ['energy-over-budget', { bytes: 300_000 }, { radio: radioNamed('lora-sf12') }],
    ['unsupported-features', { featuresSha256: '00'.repeat(32) }, {}],
    ['security-counter-too-low', { securityCounter: 0 }, {}],
    ['wrong-board', { boards: ['xG24'] }, {}],
  ])('%s is said before a byte is asked for', (code, change, config) => {
    const agent = connected({ record: { ...recordSample, securityCounter: 1 }, batteryMj: 1_000_000 }, config)
    const release = { ...wantedRelease, ...change }
    const effects = assign(agent, { release })
    expect(codes(effects)).toEqual([`install-refused: ${code}`])
    expect(gets(agent.all)).toEqual([])
    expect(agent.state.measures.counters.installsStarted).toBe(0)
    expect(agent.state.update.phase).toBe('idle')
    expect(assign(agent, { release })).toEqual([])
  })

  it('the same board that cannot take the image in RAM takes one that just fits', () => {
    expect(codes(assign(connected(), { release: { ...wantedRelease, arenaBytes: 393_216 } }))).toEqual([
      'install-started',
    ])
    expect(codes(assign(connected(), { release: { ...wantedRelease, bytes: 400_000 } }))).toEqual(['install-started'])
  })

  it('an authentic refusal names the bundle and moves the number; a forged one does neither', () => {
    const agent = connected()
    assign(agent, { release: { ...wantedRelease, arenaBytes: 1e9 }, seq: 4 })
    expect(agent.state.record.assignmentSeq).toBe(4)
    expect(eventsOf(agent).at(-1)).toEqual({
      code: 'install-refused',
      model: sha.slice(0, 16),
      error: 'arena-over-budget',
      assignmentSeq: 4,
    })
    const effects = assign(agent, { seq: 9, directorSecret: strangerKey.secretKey })
    expect(codes(effects)).toEqual(['install-refused: unknown-key'])
    expect(agent.state.record.assignmentSeq).toBe(4)
    expect(eventsOf(agent).at(-1)).toEqual({
      code: 'install-refused',
      model: undefined,
      error: 'unknown-key',
      assignmentSeq: undefined,
    })
  })

  it('garbage is refused once a boot and not at every connection', () => {
    const agent = connected()
    const garbage = () => agent.send({ type: 'received', kind: 'assign', payload: new TextEncoder().encode('{}') })
    expect(codes(garbage())).toEqual(['install-refused: malformed'])
    expect(garbage()).toEqual([])
    const large = () =>
      agent.send({ type: 'received', kind: 'assign', payload: new Uint8Array(LIMITS.assignmentBytes + 1) })
    expect(codes(large())).toEqual(['install-refused: too-large'])
  })

  it('an image that failed twice in a row is penalized until another one was confirmed', () => {
    const record: BootRecord = { ...recordSample, failedSha256: hexToBytes(sha), failures: 2 }
    const agent = connected({ record })
    expect(codes(assign(agent))).toEqual(['install-refused: penalized'])
    expect(codes(assign(agent, { release: other, seq: 2 }))).toEqual(['install-started'])
    const once = connected({ record: { ...record, failures: 1 } })
    expect(codes(assign(once))).toEqual(['install-started'])
  })
})

describe('a newer assignment', () => {
  it('during a download replaces it from the first byte; a late block of the old one does no harm', () => {
    const agent = connected()
    assign(agent)
    block(agent, 0)
    const effects = assign(agent, { release: other, seq: 2 })
    expect(gets(effects)).toEqual([{ sha256: other.sha256, offset: 0, length: 4_096, qos: 0 }])
    expect(block(agent, 4_096)).toEqual([])
    expect(block(agent, 0)).toEqual([])
    expect(agent.state.update).toMatchObject({ phase: 'downloading', offset: 0, release: other })
    download(agent, other)
    expect(agent.state.update).toMatchObject({ phase: 'checking', release: other })
  })

  it('for the running model ends the download', () => {
    const agent = connected()
    assign(agent)
    const current: Release = { ...wantedRelease, name: 'kws-1', version: 1, sha256: bytesToHex(ACTIVE_SHA) }
    expect(codes(assign(agent, { release: current, seq: 2 }))).toEqual([])
    expect(agent.state.update.phase).toBe('idle')
    expect(block(agent, 0)).toEqual([])
  })

  it('during a check: the verdict on the old image says nothing about the new one', () => {
    const agent = connected()
    assign(agent)
    download(agent)
    assign(agent, { release: other, seq: 2 })
    download(agent, other)
    expect(agent.send({ type: 'image-checked', sha256: sha, result: ok(undefined) })).toEqual([])
    expect(agent.state.update).toMatchObject({ phase: 'checking', release: other })
  })

  it('during a trial goes back without a mark against the image on trial', () => {
    const record: BootRecord = {
      ...recordSample,
      phase: 'running',
      images: [recordSample.images[0], { sha256: hexToBytes(sha), bytes: 10_000 }],
      assignmentSeq: 1,
    }
    const agent = connected({ record, slot: 1, outcome: 'trial' })
    expect(assign(agent)).toEqual([])
    const effects = assign(agent, { release: other, seq: 2 })
    expect(records(effects)[0]).toMatchObject({ phase: 'confirmed', active: 0, failures: 0, assignmentSeq: 1 })
    expect(effects.at(-1)).toMatchObject({ type: 'reboot' })
  })

  it('that repeats the one on trial with a higher number keeps the trial', () => {
    const images: BootRecord['images'] = [recordSample.images[0], { sha256: hexToBytes(sha), bytes: 10_000 }]
    const agent = connected({ record: { ...recordSample, phase: 'running', images }, slot: 1, outcome: 'trial' })
    expect(assign(agent, { seq: 5 }).map(({ type }) => type)).toEqual(['write-record'])
    expect(agent.state).toMatchObject({ update: { phase: 'trial' }, record: { assignmentSeq: 5, phase: 'running' } })
  })
})

describe('blocks', () => {
  const downloading = () => {
    const agent = connected()
    assign(agent)
    return agent
  }

  const arrives = (agent: PureAgent, payload: Uint8Array) =>
    agent.send({ type: 'received', kind: 'block', sha256: sha, payload })
  const damages: [string, (agent: PureAgent) => readonly AgentEffect[]][] = [
    ['malformed', (agent) => arrives(agent, Uint8Array.of(1))],
    ['too-large', (agent) => arrives(agent, new Uint8Array(5_000))],
    ['download-truncated', (agent) => block(agent, 0, { data: new Uint8Array(4_095) })],
    ['download-truncated', (agent) => block(agent, 0, { data: new Uint8Array(0) })],
    ['block-damaged', (agent) => block(agent, 0, { data: new Uint8Array(4_096).fill(9), check: new Uint8Array(8) })],
    ['block-damaged', (agent) => block(agent, 0, { data: new Uint8Array(4_096), check: undefined })],
  ]

  it.each(damages)('%s: a damaged block is asked for again, a bounded number of times (%#)', (code, spoil) => {
    const agent = downloading()
    for (let i = 0; i < DAMAGED_MAX; i++) expect(gets(spoil(agent))).toMatchObject([{ offset: 0, length: 4_096 }])
    expect(codes(spoil(agent))).toEqual([`install-delayed: ${code}`])
    expect(ofType(agent.all, 'apply-block')).toEqual([])
    const patient = downloading()
    for (let i = 0; i < DAMAGED_MAX; i++) spoil(patient)
    expect(gets(block(patient, 0))).toMatchObject([{ offset: 4_096 }])
    // And the count begins anew with the next one.
    for (let i = 0; i < DAMAGED_MAX; i++) expect(codes(spoil(patient))).toEqual([])
  })

  it.each<[string, (agent: PureAgent) => readonly AgentEffect[]]>([
    ['artifact-not-found', (agent) => block(agent, 0, { data: undefined, error: 'artifact-not-found' })],
    ['hash-mismatch', (agent) => block(agent, 0, { data: undefined, error: 'hash-mismatch' })],
    ['size-mismatch', (agent) => block(agent, 0, { totalBytes: 9_999 })],
  ])(
    '%s ends the attempt and is told; the active image is not touched, and the next attempt comes by itself',
    (code, spoil) => {
      const agent = downloading()
      const effects = spoil(agent)
      expect(codes(effects)).toEqual([`install-delayed: ${code}`])
      expect(ofType(agent.all, 'apply-block')).toEqual([])
      expect(agent.state).toMatchObject({
        update: { phase: 'waiting' },
        record: { active: 0, phase: 'confirmed', failures: 0 },
      })
      expect(eventsOf(agent).at(-1)).toMatchObject({
        code: 'install-delayed',
        model: sha.slice(0, 16),
        assignmentSeq: 1,
      })
      expect(agent.state.measures.counters.installsFailed).toBe(0)
      // The retained assignment of the next connection does not hurry it.
      expect(assign(agent)).toEqual([])
      expect(gets(agent.after(RETRY_DELAY_MS))).toMatchObject([{ offset: 0 }])
    },
  )

  it('out of order, repeated or unasked for are ignored', () => {
    const agent = downloading()
    expect(block(agent, 4_096)).toEqual([])
    block(agent, 0)
    expect(block(agent, 0)).toEqual([])
    expect(ofType(agent.all, 'apply-block')).toHaveLength(1)
    expect(block(connected(), 0)).toEqual([])
  })

  it('a busy gateway is asked again after the timeout', () => {
    const agent = downloading()
    const waits = { unavailable: BLOCK_TIMEOUT_MS, 'rate-limited': RATE_LIMITED_MS }
    for (const [error, ms] of Object.entries(waits)) {
      expect(block(agent, 0, { data: undefined, error })).toEqual([])
      expect(nextDeadlineMs(agent.state)).toBe(agent.nowMs + ms)
      expect(gets(agent.after(ms - 1))).toEqual([])
      expect(gets(agent.after(1))).toMatchObject([{ offset: 0 }])
    }
  })

  it('a day without a block ends the attempt', () => {
    const agent = downloading()
    for (let i = 0; i < 144; i++) agent.after(BLOCK_TIMEOUT_MS)
    expect(codes(agent.all)).toContain('install-delayed: download-stalled')
    expect(agent.state.update.phase).toBe('waiting')
    expect(nextDeadlineMs(agent.state)).toBeGreaterThan(agent.nowMs)
  })

  it('without a link nothing is asked for and no clock is set; the link asks for the block that is missing', () => {
    const agent = downloading()
    block(agent, 0)
    agent.send({ type: 'disconnected', reason: 'test' })
    for (let i = 0; i < 50; i++) {
      expect(nextDeadlineMs(agent.state)).toBeGreaterThan(agent.nowMs)
      expect(gets(agent.after(BLOCK_TIMEOUT_MS))).toEqual([])
    }
    expect(gets(agent.send({ type: 'connected' }))).toEqual([{ sha256: sha, offset: 4_096, length: 4_096, qos: 0 }])
  })
})

describe('failures of the flash', () => {
  const error = { code: 'flash-full', detail: 'no room' } as const

  it('end a download', () => {
    const agent = connected()
    assign(agent)
    block(agent, 0)
    expect(codes(agent.send({ type: 'flash-failed', error }))).toEqual(['install-delayed: flash-full'])
    expect(agent.state.update.phase).toBe('waiting')
  })

  it('of the record that begins a trial: no trial, no mark, and the next update goes its way', () => {
    const agent = connected()
    assign(agent)
    download(agent)
    agent.send({ type: 'image-checked', sha256: sha, result: ok(undefined) })
    const record = { ...agent.state.record, phase: 'confirmed' as const, boots: 0 }
    expect(codes(agent.send({ type: 'flash-failed', error, record }))).toEqual(['install-delayed: flash-full'])
    expect(agent.state).toMatchObject({ update: { phase: 'waiting' }, record: { phase: 'confirmed', failures: 0 } })
    expect(codes(assign(agent, { release: other, seq: 2 }))).toEqual(['install-started'])
  })

  it('beside an update are no install failure', () => {
    expect(codes(connected().send({ type: 'flash-failed', error }))).toEqual([])
  })
})

describe('checks that fail', () => {
  const result = err({ code: 'golden-mismatch', detail: 'off by 0.4' } as const)

  it('mark the image, forget it and say why', () => {
    const agent = connected()
    assign(agent)
    download(agent)
    const effects = agent.send({ type: 'image-checked', sha256: sha, result })
    expect(codes(effects)).toEqual(['install-failed: golden-mismatch'])
    expect(records(effects)[0]).toMatchObject({ phase: 'confirmed', failures: 1, images: [{}, { bytes: 0 }] })
    expect(bytesToHex(agent.state.record.failedSha256)).toBe(sha)
    assign(agent)
    download(agent)
    agent.send({ type: 'image-checked', sha256: sha, result })
    expect(codes(assign(agent))).toEqual(['install-refused: penalized'])
  })

  it('of a stored image that has rotted: the next attempt downloads it', () => {
    const record: BootRecord = {
      ...recordSample,
      images: [recordSample.images[0], { sha256: hexToBytes(sha), bytes: 10_000 }],
    }
    const agent = connected({ record })
    assign(agent)
    agent.send({ type: 'image-checked', sha256: sha, result: err({ code: 'hash-mismatch', detail: 'rot' }) })
    expect(agent.state.record).toMatchObject({ failures: 0, images: [{}, { bytes: 0 }] })
    expect(gets(agent.after(RETRY_DELAY_MS))).toHaveLength(1)
  })
})

describe('attempts', () => {
  const poisoned = err({ code: 'hash-mismatch', detail: 'other bytes' } as const)
  const attempt = (agent: PureAgent) => {
    download(agent)
    return agent.send({ type: 'image-checked', sha256: sha, result: poisoned })
  }

  it('whose bytes are not the image say nothing about it: a poisoned cache bans no release', () => {
    const agent = connected()
    assign(agent)
    for (let i = 0; i < 3; i++) {
      expect(codes(attempt(agent))).toEqual(['install-delayed: hash-mismatch'])
      agent.after(RETRY_DELAY_MS * 2 ** i)
    }
    download(agent)
    expect(ofType(agent.send({ type: 'image-checked', sha256: sha, result: ok(undefined) }), 'reboot')).toHaveLength(1)
    expect(agent.state.record.failures).toBe(0)
    expect(agent.state.measures.counters).toMatchObject({ installsStarted: 1, installsFailed: 0 })
  })

  it('are repeated after longer and longer, then given up for a day; the image gets no mark', () => {
    const agent = connected()
    assign(agent)
    const waits: number[] = []
    for (let i = 0; i < RETRIES_MAX; i++) {
      attempt(agent)
      const { update } = agent.state
      if (update.phase !== 'waiting') throw new Error(update.phase)
      waits.push(update.retryAtMs - agent.nowMs)
      expect(gets(agent.after(update.retryAtMs - agent.nowMs - 1))).toEqual([])
      expect(gets(agent.after(1))).toHaveLength(1)
    }
    waits.forEach((ms, i) => {
      expect(ms).toBeGreaterThan((RETRY_DELAY_MS * 2 ** i) / 2)
      expect(ms).toBeLessThanOrEqual(RETRY_DELAY_MS * 2 ** i)
    })
    expect(codes(attempt(agent))).toEqual(['install-failed: hash-mismatch'])
    expect(agent.state).toMatchObject({
      update: { phase: 'idle' },
      record: { failures: 0 },
      measures: { counters: { installsFailed: 1 } },
    })
    // However often the link comes back.
    assign(agent)
    expect(gets(agent.after(RESTING_MS - 1))).toEqual([])
    expect(gets(agent.after(1))).toHaveLength(1)
  })

  it('another number for what is waited for means now', () => {
    const agent = connected()
    assign(agent)
    attempt(agent)
    expect(gets(assign(agent, { seq: 2 }))).toHaveLength(1)
  })

  it('judge the assignment anew: one that has expired meanwhile is dropped', () => {
    const agent = connected()
    assign(agent, { expiresMs: agent.now.wallMs + 30_000 })
    attempt(agent)
    expect(codes(agent.after(RETRY_DELAY_MS))).toEqual(['install-failed: expired'])
    expect(agent.state.update.phase).toBe('idle')
  })

  it('differ from device to device and from boot to boot', () => {
    const waitOf = (device: string, boots: number) => {
      const agent = connected({ record: { ...recordSample, boots } }, { device })
      agent.send({
        type: 'received',
        kind: 'assign',
        payload: assignmentBytes({ release: wantedRelease, content: { device } }),
      })
      attempt(agent)
      return agent.state.update.phase === 'waiting' ? agent.state.update.retryAtMs : 0
    }
    expect(new Set([waitOf('bird-1', 1), waitOf('bird-2', 1), waitOf('bird-1', 2)]).size).toBe(3)
    expect(waitOf('bird-1', 1)).toBe(waitOf('bird-1', 1))
    expect([retryDelayMs(0, 0), retryDelayMs(99, 0)]).toEqual([RETRY_DELAY_MS, RETRY_DELAY_MS * 2 ** RETRIES_MAX])
  })

  it('whose check hangs fail, with a mark', () => {
    const agent = connected()
    assign(agent)
    download(agent)
    expect(codes(agent.after(CHECK_WINDOW_MS - 1))).toEqual([])
    expect(codes(agent.after(1))).toEqual(['install-failed: model-load-failed'])
    expect(agent.state).toMatchObject({ update: { phase: 'idle' }, record: { failures: 1 } })
  })
})

describe('what the record says and what is said', () => {
  const images: BootRecord['images'] = [recordSample.images[0], { sha256: hexToBytes(sha), bytes: 10_000 }]
  const error = { code: 'flash-write-failed', detail: 'worn' } as const
  const record: BootRecord = { ...recordSample, phase: 'running', images, assignmentSeq: 1 }
  const healthy = () => {
    const agent = connected({ record, slot: 1, outcome: 'trial' })
    agent.answersWrites = false
    agent.send({ type: 'heard', heard: heardOf({ windows: TRIAL_WINDOWS_MIN }) })
    const [report] = ofType(agent.after(10 * MINUTE), 'publish')
    agent.send({ type: 'published', id: report!.id })
    return agent
  }

  it('install-confirmed is not said before the record is in flash', () => {
    const agent = healthy()
    expect(records(agent.last)).toMatchObject([{ phase: 'confirmed', active: 1, untold: 'install-confirmed' }])
    expect(codes(agent.all)).not.toContain('install-confirmed')
    expect(codes(agent.send({ type: 'record-written' }))).toEqual(['install-confirmed'])
    expect(agent.state).toMatchObject({ record: { active: 1 }, update: { phase: 'idle' } })
  })

  it('nor when it cannot be written: tried again, and reverted when the window is over', () => {
    const agent = healthy()
    agent.send({ type: 'flash-failed', error, record })
    expect(agent.state).toMatchObject({ record: { active: 0, phase: 'running' }, update: { phase: 'trial' } })
    expect(records(agent.after(RETRY_DELAY_MS - 1))).toEqual([])
    expect(records(agent.after(1))).toMatchObject([{ phase: 'confirmed', active: 1 }])
    agent.send({ type: 'flash-failed', error, record })
    // One more try at the most, and then the reboot.
    agent.after(TRIAL_WINDOW_MS)
    agent.send({ type: 'flash-failed', error, record })
    agent.after(1)
    expect(ofType(agent.all, 'reboot').length).toBeGreaterThan(0)
    expect(codes(agent.all)).not.toContain('install-confirmed')
  })

  it('a confirmation that nobody acknowledged is said again by the next boot, and struck out when it was', () => {
    const confirmed: BootRecord = { ...recordSample, images, active: 1, assignmentSeq: 1, untold: 'install-confirmed' }
    const agent = new PureAgent({ record: confirmed, slot: 1 })
    expect(codes(agent.all)).toEqual(['booted', 'install-confirmed'])
    expect(eventsOf(agent).at(-1)).toMatchObject({ model: sha.slice(0, 16), assignmentSeq: 1 })
    const sent = ofType(agent.send({ type: 'connected' }), 'publish')
    const { untoldId } = agent.state.reporting
    expect(sent.map(({ id }) => id)).toContain(untoldId)
    for (const { id } of sent.filter((message) => message.id !== untoldId)) {
      expect(records(agent.send({ type: 'published', id }))).toEqual([])
    }
    expect(records(agent.send({ type: 'published', id: untoldId }))).toMatchObject([{ untold: 'none', active: 1 }])
    expect(agent.state.reporting.untoldId).toBe(0)
  })

  it('names the assignment and the image it was about, whatever has been accepted and is on trial since', () => {
    // Its acknowledgement was kept back, and a newer assignment has brought the next trial.
    const before = { untold: 'install-confirmed' as const, untoldSeq: 1, untoldModel: ACTIVE_SHA.slice(0, 8) }
    const record: BootRecord = { ...recordSample, ...before, images, phase: 'running', assignmentSeq: 2 }
    const agent = new PureAgent({ record, slot: 1, outcome: 'trial' })
    const told = eventsOf(agent).filter(({ code }) => code === 'install-confirmed')
    expect(told).toMatchObject([{ model: bytesToHex(ACTIVE_SHA).slice(0, 16), assignmentSeq: 1 }])
    // Of a record of before, that says neither: what is confirmed, and not what is on trial.
    const old = { ...record, untoldSeq: undefined, untoldModel: undefined }
    expect(eventsOf(new PureAgent({ record: old, slot: 1, outcome: 'trial' })).at(-1)).toMatchObject({
      ...{ code: 'install-confirmed', model: bytesToHex(ACTIVE_SHA).slice(0, 16) },
    })
    // So does a revert that is told after another image has failed.
    const reverted: BootRecord = {
      ...{ ...recordSample, assignmentSeq: 3, failedSha256: ACTIVE_SHA, failures: 1 },
      ...{ untold: 'reverted', untoldSeq: 2, untoldModel: hexToBytes(sha).slice(0, 8) },
    }
    expect(eventsOf(new PureAgent({ record: reverted })).at(-1)).toMatchObject({
      ...{ code: 'reverted', model: sha.slice(0, 16), assignmentSeq: 2 },
    })
  })

  it('is not said twice when the spool has it still', () => {
    const confirmed: BootRecord = { ...recordSample, images, active: 1, assignmentSeq: 1, untold: 'install-confirmed' }
    const before = new PureAgent({ record: confirmed, slot: 1 })
    const again = new PureAgent({ record: confirmed, slot: 1, outbox: before.state.outbox })
    expect(codes(again.all)).toEqual(['booted'])
    expect(again.state.reporting.untoldId).toBe(before.state.reporting.untoldId)
  })

  it('a trial that could not be recorded is told as a failed install, and waited for', () => {
    const agent = connected({ record: { ...record, phase: 'confirmed' }, outcome: 'abandoned', trouble: error })
    expect(codes(agent.all)).toEqual(['booted: flash-write-failed', 'install-failed: flash-write-failed'])
    expect(eventsOf(agent).at(-1)).toMatchObject({ model: sha.slice(0, 16) })
    expect(ofType(assign(agent), 'check-image')).toEqual([])
    expect(ofType(agent.after(RETRY_DELAY_MS), 'check-image')).toHaveLength(1)
  })
})

describe('an assignment of a rollout that names what runs already', () => {
  const runs = { ...wantedRelease, sha256: bytesToHex(ACTIVE_SHA) }
  const rollout = { id: 'r-1', stage: 1 }
  const sign = () => new Uint8Array(64).fill(5)
  const said = (change: AssignmentChange, config = {}) => codes(assign(connected({}, config), change))

  it('is answered with the device’s word, once for each number', () => {
    const agent = connected({}, { sign })
    expect(codes(assign(agent, { release: runs, seq: 4 }))).toEqual(['already-installed'])
    expect(eventsOf(agent).at(-1)).toMatchObject({ model: runs.sha256.slice(0, 16), assignmentSeq: 4 })
    expect(codes(assign(agent, { release: runs, seq: 4 }))).toEqual([])
    expect(codes(assign(agent, { release: runs, seq: 5 }))).toEqual(['already-installed'])
  })

  it('costs nothing where nobody asks: no key, no rollout, the control arm', () => {
    expect(said({ release: runs, seq: 4 })).toEqual([])
    expect(said({ release: runs, content: { rollout: null }, seq: 4 }, { sign })).toEqual([])
    expect(said({ release: runs, content: { rollout: { ...rollout, arm: 'control' } }, seq: 4 }, { sign })).toEqual([])
  })
})

describe('trials', () => {
  const images: BootRecord['images'] = [recordSample.images[0], { sha256: hexToBytes(sha), bytes: 10_000 }]
  const onTrial = (config = {}) =>
    connected(
      { record: { ...recordSample, phase: 'running', images, assignmentSeq: 1 }, slot: 1, outcome: 'trial' },
      config,
    )
  const enough = heardOf({ windows: TRIAL_WINDOWS_MIN })

  it('need both windows and an acknowledged report', () => {
    const deaf = onTrial()
    const [report] = ofType(deaf.after(10 * MINUTE), 'publish')
    deaf.send({ type: 'published', id: report!.id })
    expect(deaf.state.update.phase).toBe('trial')
    expect(codes(deaf.send({ type: 'heard', heard: enough }))).toEqual(['install-confirmed'])
    const mute = onTrial()
    mute.send({ type: 'heard', heard: enough })
    mute.after(10 * MINUTE)
    expect(mute.state.update.phase).toBe('trial')
  })

  it('an acknowledged event or wake is no report', () => {
    const agent = onTrial()
    agent.send({ type: 'heard', heard: enough })
    agent.after(10 * MINUTE)
    agent.send({
      type: 'heard',
      heard: {
        ...heardSample,
        wakes: [{ atMs: 0, label: 3, posteriorPermille: 900, features: new Uint8Array(490), noiseDb: -50 }],
      },
    })
    const [sent] = ofType(agent.last, 'publish')
    expect(sent!.kind).toBe('wake')
    agent.send({ type: 'published', id: sent!.id })
    expect(agent.state.update.phase).toBe('trial')
  })

  it('a report of the boot before, acknowledged only now, says nothing of this one', () => {
    const former = connected({ record: { ...recordSample, images, assignmentSeq: 1 } })
    former.send({ type: 'disconnected', reason: 'gone' })
    former.send({ type: 'report-requested' })
    const left = former.state.outbox.messages.find(({ kind }) => kind === 'report')
    expect(left).toBeDefined()
    const agent = connected({
      record: { ...recordSample, phase: 'running', images, assignmentSeq: 1, boots: recordSample.boots + 1 },
      slot: 1,
      outcome: 'trial',
      outbox: former.state.outbox,
    })
    agent.send({ type: 'heard', heard: enough })
    agent.send({ type: 'published', id: left!.id })
    expect(agent.state.update.phase).toBe('trial')
    // Nor after the trial has one of its own, which has not been acknowledged.
    agent.after(10 * MINUTE)
    const own = agent.state.outbox.messages.findLast(({ kind }) => kind === 'report')
    expect(own!.id).toBeGreaterThan(left!.id)
    agent.send({ type: 'published', id: left!.id })
    expect(agent.state.update.phase).toBe('trial')
    expect(codes(agent.send({ type: 'published', id: own!.id }))).toEqual(['install-confirmed'])
  })

  it('a later report counts as well as the first', () => {
    const agent = onTrial({ reportIntervalMs: 20 * MINUTE })
    agent.send({ type: 'heard', heard: enough })
    const [first] = ofType(agent.after(10 * MINUTE), 'publish')
    const [second] = ofType(agent.after(20 * MINUTE), 'publish')
    expect([first!.kind, second!.kind]).toEqual(['report', 'report'])
    expect(codes(agent.send({ type: 'published', id: second!.id }))).toEqual(['install-confirmed'])
  })

  it('that are not confirmed in time reboot once, and the boot reverts', () => {
    const agent = onTrial()
    agent.send({ type: 'disconnected', reason: 'test' })
    agent.send({ type: 'heard', heard: enough })
    agent.after(TRIAL_WINDOW_MS - 1)
    expect(ofType(agent.all, 'reboot')).toEqual([])
    expect(ofType(agent.after(1), 'reboot')).toHaveLength(1)
    expect(records(agent.all)).toEqual([])
  })

  it('end at once when the engine fails', () => {
    const agent = onTrial()
    const effects = agent.send({ type: 'engine-failed', error: { code: 'model-load-failed', detail: 'x' } })
    expect(codes(effects)).toEqual(['engine-failed: model-load-failed'])
    expect(ofType(effects, 'reboot')).toHaveLength(1)
  })

  it('at the deadline and with a failing engine in one step reboot once', () => {
    const agent = onTrial()
    const effects = agent.after(TRIAL_WINDOW_MS, {
      type: 'engine-failed',
      error: { code: 'model-load-failed', detail: 'x' },
    })
    expect(ofType(effects, 'reboot')).toHaveLength(1)
  })

  it('of a hibernating device do not ask for windows', () => {
    const agent = onTrial({ level: 'hibernate', fixedLevel: 'hibernate' })
    agent.send({ type: 'heard', heard: heardOf({ windows: 0, listeningMs: 0 }) })
    const [report] = ofType(agent.after(10 * MINUTE), 'publish')
    expect(codes(agent.send({ type: 'published', id: report!.id }))).toEqual(['install-confirmed'])
  })
})
