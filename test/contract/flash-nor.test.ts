import { describe, expect, it } from 'vitest'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { flashSuite } from './flash.suite.ts'

describe('FlashNor', () => {
  flashSuite((sizeBytes) => {
    const flash = new FlashNor({ sizeBytes })
    return { flash, reopen: () => flash, dispose: () => undefined }
  })

  it('is stricter than hardware: a byte is programmed once between erases', () => {
    const flash = new FlashNor({ sizeBytes: 8_192 })
    flash.program(0, new Uint8Array(16).fill(0x0f))
    expect(() => flash.program(0, new Uint8Array(16).fill(0x0e))).toThrow(/not erased/)
    flash.program(0, new Uint8Array(16).fill(0xff))
    expect(flash.read(0, 1)).toEqual(Uint8Array.of(0x0f))
  })

  it('counts its operations and fails after as many as it is told', () => {
    const flash = new FlashNor({ sizeBytes: 8_192, failAfter: { operations: 2, code: 'flash-full' } })
    expect(flash.erase(0).ok && flash.program(0, new Uint8Array(16)).ok).toBe(true)
    expect(flash.erase(0)).toMatchObject({ ok: false, error: { code: 'flash-full' } })
    expect(flash.program(16, new Uint8Array(16))).toMatchObject({ ok: false, error: { code: 'flash-full' } })
    expect(flash.read(0, 32)).toEqual(Uint8Array.of(...new Uint8Array(16), ...new Uint8Array(16).fill(0xff)))
    expect(flash.operations).toBe(4)
  })
})
