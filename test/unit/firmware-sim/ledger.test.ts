import { describe, expect, it } from 'vitest'
import type { AgentEffect } from '../../../device/core/agent/agent-state.ts'
import { type Heard, zeroBins } from '../../../device/core/listen/heard.ts'
import { downloadAirBytes } from '../../../device/core/update/air-bytes.ts'
import { Ledger } from '../../../firmware-sim/ledger.ts'
import type { Take } from '../../../firmware-sim/scene.ts'
import { configSample, wantedRelease } from '../../fixtures/agent.ts'

const labels = ['silence', 'go', 'stop']
const heardOf = (wakes: readonly string[], change: Partial<Heard> = {}): Heard => ({
  listeningMs: 10_000,
  elapsedMs: 10_000,
  windows: 50,
  openWindows: 9,
  inferences: 20,
  gateOpenings: 2,
  overruns: 0,
  posteriorBins: zeroBins(),
  noiseBins: zeroBins(),
  wakes: wakes.map((label) => ({
    atMs: 1,
    label: labels.indexOf(label),
    posteriorPermille: 900,
    features: new Uint8Array(490),
    noiseDb: -60,
  })),
  ...change,
})
const take = (kind: Take['kind'], expected?: string): Take => ({
  scene: 'office',
  raised: false,
  kind,
  variant: 0,
  ...(expected !== undefined && { expected }),
})
const idle = { config: configSample, update: { phase: 'idle' } } as const
const event = (
  code: 'install-started' | 'install-confirmed' | 'install-failed' | 'download-complete',
): AgentEffect => ({
  type: 'tell-event',
  code,
  error: undefined,
  detail: undefined,
})

describe('the ledger', () => {
  it('adds up what was heard', () => {
    const ledger = new Ledger()
    ledger.heard(heardOf(['go', 'stop']))
    ledger.heard(heardOf([]))
    expect(ledger).toMatchObject({ listeningMs: 20_000, windows: 100, inferences: 40, gateOpenings: 4 })
    // Heard is not woken: see the effects.
    expect(ledger.wakes).toBe(0)
  })

  it('finds a keyword when the take that says it wakes with that word', () => {
    const ledger = new Ledger()
    ledger.take(take('keyword', 'go'), heardOf(['stop', 'go']), labels)
    ledger.take(take('keyword', 'go'), heardOf(['stop']), labels)
    ledger.take(take('keyword', 'go'), heardOf([]), labels)
    expect(ledger).toMatchObject({ keywordsSpoken: 3, keywordsFound: 1, falseWakes: 0 })
  })

  it('calls wakes false when nobody spoke to the device', () => {
    const ledger = new Ledger()
    for (const kind of ['steady', 'burst', 'speech'] as const) ledger.take(take(kind), heardOf(['go']), labels)
    expect(ledger).toMatchObject({ keywordsSpoken: 0, falseWakes: 3 })
  })

  it('does not hold against a device what was said while it slept', () => {
    const ledger = new Ledger()
    ledger.take(take('keyword', 'go'), heardOf([], { listeningMs: 0 }), labels)
    expect(ledger.keywordsSpoken).toBe(0)
  })

  it('counts installs that began and that were confirmed, and nothing else', () => {
    const ledger = new Ledger()
    for (const code of ['install-started', 'install-failed', 'install-started', 'install-confirmed'] as const) {
      ledger.effect(event(code), idle)
    }
    ledger.effect({ type: 'reboot', reason: 'x' }, idle)
    expect(ledger).toMatchObject({ installsStarted: 2, installsConfirmed: 1 })
  })

  it('counts what downloads took on the air, and what they had taken as whole bundles', () => {
    const artifact = { kind: 'patch', sha256: 'ab'.repeat(32), bytes: 5_000 } as const
    const release = { ...wantedRelease, bytes: 50_000 }
    const checking = { phase: 'checking', release, artifact, slot: 1, deadlineMs: 0 } as const
    const ledger = new Ledger()
    const base = { sha256: new Uint8Array(32), bytes: 1 }
    for (const offset of [0, 4_096]) {
      const data = new Uint8Array(Math.min(4_096, 5_000 - offset))
      const block = { release, artifact, slot: 1, base, offset, data, last: offset > 0 } as const
      ledger.effect({ type: 'apply-block', ...block }, idle)
    }
    expect(ledger.downloads).toBe(0)
    ledger.effect(event('download-complete'), { config: configSample, update: checking })
    expect(ledger).toMatchObject({ downloads: 1, patchDownloads: 1 })
    expect(ledger.downloadBytes).toBe(downloadAirBytes(configSample, artifact.sha256, 0, 5_000))
    expect(ledger.downloadBytes).toBeGreaterThan(5_000)
    expect(ledger.bundleBytes).toBe(downloadAirBytes(configSample, release.sha256, 0, 50_000))
    ledger.effect(event('download-complete'), { config: configSample, update: { ...checking, artifact: null } })
    expect(ledger).toMatchObject({ downloads: 2, patchDownloads: 1 })
  })
})
