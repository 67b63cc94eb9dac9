import { beforeAll, describe, expect, it } from 'vitest'
import { sha256Hex } from '../../../../../contract/bytes.ts'
import type { Release } from '../../../../../contract/release.ts'
import { err, ok } from '../../../../../contract/result.ts'
import { checkImage } from '../../../../../device/core/update/image-check.ts'
import type { Engine, EngineErrorCode } from '../../../../../model/engine/engine.ts'
import { type Packed, packBundle } from '../../../../../model/pack.ts'
import { packInput } from '../../../../fixtures/bundles.ts'
import { posteriorsOf, SessionFake } from '../../../../fixtures/session.ts'

/** An engine that gives every window the same posteriors, and says what became of its sessions. */
class EngineOfOne implements Engine {
  readonly name = 'one answer'
  readonly sessions: SessionFake[] = []
  readonly #answer: Float32Array | EngineErrorCode
  readonly #loads: boolean

  constructor(answer: Float32Array | EngineErrorCode = posteriorsOf('go', 0.5), loads = true) {
    this.#answer = answer
    this.#loads = loads
  }

  async load(): ReturnType<Engine['load']> {
    if (!this.#loads) return err({ code: 'engine-load-failed', detail: 'asked to' })
    const session = new SessionFake(() => this.#answer)
    this.sessions.push(session)
    return ok(session)
  }

  get open(): number {
    return this.sessions.filter(({ disposed }) => disposed === 0).length
  }
}

let packed: Packed
beforeAll(async () => {
  const made = await packBundle(packInput({ name: 'kws-2', version: 2, securityCounter: 3 }), new EngineOfOne())
  if (!made.ok) throw new Error(made.error.detail)
  packed = made.value
})

const AMPLE = 10_000_000
const judge = async (
  change: Partial<Release> = {},
  { engine = new EngineOfOne(), ramBytes = AMPLE, data = packed.bundle } = {},
) => {
  const result = await checkImage(data, { ...packed.release, ...change }, engine, ramBytes)
  // Whatever is said of an image, nothing of it stays loaded.
  expect(engine.open).toBe(0)
  return result.ok ? 'good' : result.error.code
}

describe('an image that was written', () => {
  it('is good when everything agrees', async () => {
    const engine = new EngineOfOne()
    expect(await judge({}, { engine })).toBe('good')
    // Both graphs were loaded; the golden vectors, four, run on the first.
    expect(engine.sessions.map(({ runs }) => runs)).toEqual([4, 0])
  })

  it('is judged by its bytes first', async () => {
    const engine = new EngineOfOne()
    const rotten = Uint8Array.from(packed.bundle)
    rotten[rotten.length - 1]! ^= 1
    expect(await judge({}, { engine, data: rotten })).toBe('hash-mismatch')
    expect(engine.sessions).toEqual([])
    // What was signed need not be a bundle.
    expect(await judge({ sha256: sha256Hex(rotten) }, { engine, data: rotten })).toBe('bundle-section-hash')
    const other = Uint8Array.of(1, 2, 3)
    expect(await judge({ sha256: sha256Hex(other) }, { engine, data: other })).toMatch(/^bundle-/)
  })

  it.each<[string, Partial<Release>]>([
    ['name', { name: 'kws-3' }],
    ['version', { version: 3 }],
    ['security counter, lower', { securityCounter: 2 }],
    ['security counter, higher', { securityCounter: 4 }],
    ['features', { featuresSha256: 'fe'.repeat(32) }],
  ])('is no image of a release with another %s', async (_what, change) => {
    expect(await judge(change)).toBe('contradicts-release')
  })

  it('fits the RAM of the board to the byte', async () => {
    const needs = Math.max(...packed.manifest.graphs.map(({ ramBytes }) => ramBytes))
    expect(await judge({}, { ramBytes: needs })).toBe('good')
    expect(await judge({}, { ramBytes: needs - 1 })).toBe('arena-over-budget')
  })

  it('reproduces its golden vectors within the tolerance of 0.05', async () => {
    const answering = (p: number) => ({ engine: new EngineOfOne(posteriorsOf('go', p)) })
    expect(await judge({}, answering(0.549))).toBe('good')
    expect(await judge({}, answering(0.451))).toBe('good')
    expect(await judge({}, answering(0.551))).toBe('golden-mismatch')
    expect(await judge({}, answering(0.449))).toBe('golden-mismatch')
    expect(await judge({}, answering(Number.NaN))).toBe('golden-mismatch')
  })

  it('loads and runs', async () => {
    expect(await judge({}, { engine: new EngineOfOne('engine-run-failed') })).toBe('inference-failed')
    expect(await judge({}, { engine: new EngineOfOne(undefined, false) })).toBe('model-load-failed')
  })
})
