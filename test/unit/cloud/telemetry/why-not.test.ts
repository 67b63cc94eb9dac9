import { describe, expect, it } from 'vitest'
import { type Situation, whyNot } from '../../../../cloud/telemetry/why-not.ts'

const HOUR = 3_600_000
const NOW = 1_000 * HOUR
const event = (code: string, error: string | null = null, model: string | null = 'bb', assignmentSeq = 5) => ({
  ...{ code, error, model, assignmentSeq, atMs: NOW },
})
/** One that was told to go from aa to bb and has said nothing yet. */
const told: Situation = {
  ...{ nowMs: NOW, board: 'board-a', family: 'wake', removed: false, enrolled: true, revoked: false },
  target: { name: 'kws-2', version: 2, prefix: 'bb' },
  ...{
    running: 'aa',
    lastSeenMs: NOW - HOUR,
    signedSeq: 5,
    acceptedSeq: 5,
    rollout: null,
    waits: false,
    kept: null,
    events: [],
  },
}
const canary = { id: 'r-1', state: 'running', arm: 'canary', isExperiment: false } as const
const kept = { rollout: 'r-0', production: 'kws-1 1' }
const failed = [event('reverted', 'golden-mismatch'), event('install-failed', 'x')]

describe('why a device does not run another model', () => {
  it.each<[string | undefined, RegExp, Partial<Situation>]>([
    ['removed', /history/, { removed: true, enrolled: false }],
    ['not-enrolled', /claim it/, { enrolled: false }],
    ['revoked', /new claim/, { revoked: true }],
    ['no-target', /Family wake .* board-a/, { target: null }],
    [undefined, /^$/, { running: 'bb' }],
    [undefined, /^$/, { running: 'bb', rollout: canary }],
    ['control', /kws-2 2 as control of rollout r-1/, { running: 'bb', rollout: { ...canary, arm: 'control' } }],
    ['experiment', /for the time of experiment r-1/, { running: 'bb', rollout: { ...canary, isExperiment: true } }],
    ['kept', /keeps kws-2 2 by rollout r-0, .* family wake is kws-1 1/, { running: 'bb', kept }],
    ['waits-its-turn', /only so many/, { waits: true }],
    ['silent', /./, { kept, lastSeenMs: NOW - 4 * HOUR }],
    ['never-heard', /never/, { running: null, lastSeenMs: 0 }],
    ['silent', /for 4 h/, { lastSeenMs: NOW - 4 * HOUR }],
    ['under-way', /accepted kws-2 2/, { lastSeenMs: NOW - 3 * HOUR }],
    ['being-signed', /not signed yet/, { signedSeq: null }],
    ['not-accepted', /assignment 5; the newest it did is 3/, { acceptedSeq: 3 }],
    ['refused', /wrong-board/, { events: [event('install-refused', 'wrong-board')] }],
    ['refused', /expired/, { acceptedSeq: 3, events: [event('install-refused', 'expired', null)] }],
    ['not-accepted', /5/, { acceptedSeq: 3, events: [event('install-refused', 'expired', null, 4)] }],
    ['failed', /failed 2 times, the last time: golden-mismatch/, { events: failed }],
    ['failed', /once/, { events: failed.slice(1) }],
    ['outside-window', /hours of updates/, { events: [event('install-delayed', 'outside-window')] }],
    ['low-battery', /charge/, { events: [event('install-delayed', 'low-battery')] }],
    ['delayed', /metadata-unavailable/, { events: [event('install-delayed', 'metadata-unavailable')] }],
    ['under-way', /trial-started/, { events: [event('trial-started'), event('install-delayed', 'low-battery')] }],
    // Of another model than the one it is told to run now.
    ['under-way', /accepted/, { events: [event('install-failed', 'x', 'cc'), event('booted', null, 'aa')] }],
    ['paused', /r-1 is paused/, { rollout: { ...canary, state: 'paused' }, acceptedSeq: 3 }],
  ])('%s: %s', (code, words, change) => {
    const why = whyNot({ ...told, ...change })
    expect(why?.code).toBe(code)
    expect(why?.words ?? '').toMatch(words)
  })
})
