import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { frontEndWasm } from '../../../../model/features/front-end-wasm.ts'

const NO_LAYOUT = {
  windowSamples: 0,
  strideSamples: 0,
  points: 0,
  binEnd: 0,
  melBands: 0,
  coefficients: 0,
  frameValues: 0,
  logOffset: 0,
  seriesMax: 0,
  samples: 0,
  maxima: 0,
  energies: 0,
  frames: 0,
  out: 0,
  hann: 0,
  twiddles: 0,
  untangling: 0,
  bands: 0,
  weights: 0,
  basis: 0,
  ping: 0,
  pong: 0,
  magnitudes: 0,
  logs: 0,
  inverses: 0,
}

const logarithms = (values: readonly number[]): Float64Array => {
  const front = frontEndWasm(8 * values.length, NO_LAYOUT)
  const memory = new Float64Array(front.memory, 0, values.length)
  memory.set(values)
  front.logarithms(8 * values.length)
  return memory
}

afterEach(() => {
  vi.unstubAllGlobals()
  vi.resetModules()
})

describe('front end in WebAssembly', () => {
  it('takes logarithms within four float64 steps of Math.log, over all magnitudes', () => {
    const values: number[] = []
    // Every power of two at 64 places each, and densely about 1, where the result is small, and about the seams of the mantissa.
    for (let exponent = -1_000; exponent < 1_000; exponent += 1) {
      for (let n = 0; n < 64; n += 1) values.push(2 ** exponent * (1 + n / 64 + n * 1e-7))
    }
    for (const seam of [1, Math.SQRT1_2, Math.SQRT2]) {
      for (let n = -5_000; n < 5_000; n += 1) values.push(seam * (1 + n * 1e-9), seam * (1 + n * 1e-5))
    }
    const found = logarithms(values)
    let worst = 0
    for (const [i, value] of values.entries()) {
      const expected = Math.log(value)
      if (expected === 0) expect(found[i]).toBe(0)
      else worst = Math.max(worst, Math.abs(found[i]! - expected) / Math.abs(expected))
    }
    expect(worst).toBeLessThan(4 * Number.EPSILON)
  })

  it('makes NaN of what is not finite, so that broken audio cannot look like a result', () => {
    expect([...logarithms([Number.NaN, Number.POSITIVE_INFINITY])]).toEqual([Number.NaN, Number.NaN])
  })

  it.each([
    ['no WebAssembly', undefined, 'needs WebAssembly'],
    [
      'WebAssembly without SIMD',
      {
        Module: class {
          constructor() {
            throw new Error('invalid value type')
          }
        },
      },
      '128-bit SIMD',
    ],
  ])('says what is missing on a platform with %s', async (_, platform, message) => {
    vi.stubGlobal('WebAssembly', platform)
    vi.resetModules()
    const fresh = await import('../../../../model/features/front-end-wasm.ts')
    expect(() => fresh.frontEndWasm(1, NO_LAYOUT)).toThrow(message)
  })

  it('is what its source compiles to', async () => {
    const build = new URL('../../../../build-wasm.mjs', import.meta.url)
    await expect(promisify(execFile)(process.execPath, [build.pathname, '--check'])).resolves.toBeDefined()
  })
})
