import { describe, expect, it } from 'vitest'
import { FlashOpfs } from '../../../../device/browser/flash-opfs.ts'
import { flashSuite } from '../../../contract/flash.suite.ts'
import { SyncFileInMemory } from '../../../fixtures/sync-file.ts'

describe('FlashOpfs', () => {
  flashSuite((sizeBytes) => {
    const file = new SyncFileInMemory()
    return {
      flash: FlashOpfs.open(file, sizeBytes),
      reopen: () => {
        file.bytes = file.durable.slice()
        return FlashOpfs.open(file, sizeBytes)
      },
      dispose: () => undefined,
    }
  })

  it('goes on with a file whose making was broken off, and leaves what is there', () => {
    const file = new SyncFileInMemory()
    FlashOpfs.open(file, 8_192)
    file.bytes = file.bytes.slice(0, 5_000)
    const flash = FlashOpfs.open(file, 16_384)
    expect(flash.read(0, 16_384).every((byte) => byte === 0xff)).toBe(true)
    flash.program(0, new Uint8Array(16).fill(7))
    expect(FlashOpfs.open(file, 16_384).read(0, 16)).toEqual(new Uint8Array(16).fill(7))
  })

  it('takes no file of a larger board', () => {
    const file = new SyncFileInMemory()
    FlashOpfs.open(file, 16_384)
    expect(() => FlashOpfs.open(file, 8_192)).toThrow('the flash has 16384 bytes, its board 8192')
  })

  it('tells a full disk from a broken one, and a part that was written from the whole', () => {
    const file = new SyncFileInMemory()
    const flash = FlashOpfs.open(file, 8_192)
    const write = () => flash.program(0, new Uint8Array(32))
    file.failure = Object.assign(new Error('no room'), { name: 'QuotaExceededError' })
    expect(write()).toMatchObject({ ok: false, error: { code: 'flash-full' } })
    expect(flash.erase(4_096)).toMatchObject({ ok: false, error: { code: 'flash-full' } })
    file.failure = Object.assign(new Error('gone'), { name: 'InvalidStateError' })
    expect(write()).toMatchObject({ ok: false, error: { code: 'flash-write-failed' } })
    file.failure = undefined
    file.writtenMax = 16
    expect(write()).toMatchObject({ ok: false, error: { code: 'flash-write-failed' } })
  })
})
