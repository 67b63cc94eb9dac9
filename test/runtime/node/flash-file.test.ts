import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { FlashFile } from '../../../device/node/flash-file.ts'
import { flashSuite } from '../../contract/flash.suite.ts'
import { packKws } from '../../fixtures/bundles.ts'
import { BenchDevice, FLASH_BYTES, until } from '../../fixtures/device.ts'

const folder = mkdtempSync(join(tmpdir(), 'kinglet-flash-'))
let files = 0
const fresh = (): string => join(folder, `flash-${files++}`)
const mounts: string[] = []
afterAll(() => {
  for (const path of mounts) execFileSync('umount', [path])
  rmSync(folder, { recursive: true, force: true })
})

/** A file system of a few pages, where this machine lets us mount one. */
function tinyDisk(kilobytes: number): string | undefined {
  const path = join(folder, `disk-${files++}`)
  mkdirSync(path)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kilobytes}k`, 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    return undefined
  }
  mounts.push(path)
  return path
}

describe('FlashFile', () => {
  flashSuite((sizeBytes) => {
    const path = fresh()
    const open = [FlashFile.open(path, sizeBytes).flash]
    return {
      flash: open[0]!,
      reopen: () => {
        open.push(FlashFile.open(path, sizeBytes).flash)
        return open.at(-1)!
      },
      dispose: () => {
        for (const flash of open) flash.close()
      },
    }
  })

  it('says whether it made the file, and takes the size of one that is there', () => {
    const path = fresh()
    const made = FlashFile.open(path, 8_192)
    made.flash.close()
    // A device's key will be in it.
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const found = FlashFile.open(path, 65_536)
    found.flash.close()
    expect([made.created, found.created, found.flash.sizeBytes]).toEqual([true, false, 8_192])
    expect(existsSync(`${path}.new`)).toBe(false)
  })

  it('begins anew where a power cut left a half-made file', () => {
    const path = fresh()
    writeFileSync(`${path}.new`, 'half')
    const { flash, created } = FlashFile.open(path, 8_192)
    expect([created, flash.read(0, 8_192).every((byte) => byte === 0xff)]).toEqual([true, true])
    flash.close()
  })

  it('a folder that is not there is what the file system says', () => {
    expect(() => FlashFile.open(join(folder, 'no', 'such', 'flash'), 8_192)).toThrow(/ENOENT/)
  })

  it('a medium that refuses the write is flash-write-failed', () => {
    const path = fresh()
    const { flash } = FlashFile.open(path, 8_192)
    flash.close()
    expect(flash.program(0, new Uint8Array(16))).toMatchObject({ ok: false, error: { code: 'flash-write-failed' } })
    expect(flash.erase(0)).toMatchObject({ ok: false, error: { code: 'flash-write-failed' } })
  })

  const disk = tinyDisk(512)
  it.skipIf(disk === undefined)('a disk without room for the flash leaves no half-made flash behind', () => {
    const path = join(disk!, 'flash')
    expect(() => FlashFile.open(path, 1_048_576)).toThrow(/ENOSPC/)
    expect([existsSync(path), existsSync(`${path}.new`)]).toEqual([false, false])
  })

  const thin = tinyDisk(1_536)
  it.skipIf(thin === undefined)(
    'a disk that fills up under a sparse flash file: flash-full, the active model untouched and running',
    async () => {
      const [first, second] = [await packKws(), await packKws({ name: 'kws-2', version: 2, model: 'kws-2' })]
      // A flash file copied by tools that keep holes has no blocks behind its erased half.
      const path = join(thin!, 'flash')
      execFileSync('truncate', ['-s', String(FLASH_BYTES), path])
      const { flash } = FlashFile.open(path, FLASH_BYTES)
      const device = await BenchDevice.booted(first.bundle, {}, flash)
      const room = 1_536 * 1024 - statSync(path).blocks * 512
      writeFileSync(join(thin!, 'ballast'), new Uint8Array(room - 40_960))
      device.gateway.store(second.bundle)
      device.assign(second.release, 1)
      await until('failure', () => device.gateway.story.some((said) => said.startsWith('install-delayed')))
      expect(device.gateway.story.at(-1)).toBe('install-delayed: flash-full')
      expect(device.model).toBe('kws-1')
      expect(device.slotSha256(0)).toBe(first.release.sha256)
      await device.off()
      rmSync(join(thin!, 'ballast'))
      await device.boot()
      expect(device.model).toBe('kws-1')
      device.assign(second.release, 2)
      await until('trial', () => device.phase === 'trial')
      await device.live()
      await until('confirmed', () => device.phase === 'idle')
      expect(device.model).toBe('kws-2')
      await device.off()
      flash.close()
    },
  )

  it('carries a device over a restart of its process', async () => {
    const path = fresh()
    const packed = await packKws()
    const first = FlashFile.open(path, FLASH_BYTES).flash
    const device = await BenchDevice.booted(packed.bundle, {}, first)
    await device.off()
    first.close()
    const second = FlashFile.open(path, FLASH_BYTES).flash
    const again = BenchDevice.of(second)
    await again.boot()
    expect(again.model).toBe('kws-1')
    expect(again.record()).toMatchObject({ boots: 2 })
    await again.off()
    second.close()
  })
})
