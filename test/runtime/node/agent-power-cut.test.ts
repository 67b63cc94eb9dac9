import { beforeAll, describe, expect, it } from 'vitest'
import type { ContractError } from '../../../contract/errors.ts'
import { ok, type Result } from '../../../contract/result.ts'
import { provision } from '../../../device/core/provision.ts'
import type { Flash } from '../../../device/ports/flash.ts'
import { SharedEngine } from '../../../firmware-sim/engine-shared.ts'
import { FlashNor } from '../../../firmware-sim/flash-nor.ts'
import { EngineOrtNode } from '../../../model/engine-ort-node.ts'
import type { Packed } from '../../../model/pack.ts'
import { packKws } from '../../fixtures/bundles.ts'
import { BenchDevice, FLASH_BYTES, until } from '../../fixtures/device.ts'

/** Power that goes at one flash operation: that one happens in part, none after it until the power is back. */
class CutFlash implements Flash {
  readonly sizeBytes: number
  readonly sectorBytes: number
  readonly programBytes: number
  readonly #nor: FlashNor
  #left = Number.POSITIVE_INFINITY
  #dead = false

  constructor(nor: FlashNor) {
    this.#nor = nor
    this.sizeBytes = nor.sizeBytes
    this.sectorBytes = nor.sectorBytes
    this.programBytes = nor.programBytes
  }

  get operations(): number {
    return this.#nor.operations
  }

  get dead(): boolean {
    return this.#dead
  }

  cutAfter(operations: number): void {
    this.#left = operations
  }

  powerUp(): void {
    this.#left = Number.POSITIVE_INFINITY
    this.#dead = false
  }

  read(offset: number, length: number): Uint8Array {
    return this.#nor.read(offset, length)
  }

  erase(offset: number): Result<void, ContractError> {
    if (!this.#spend()) return ok(undefined)
    return this.#nor.erase(offset)
  }

  program(offset: number, data: Uint8Array): Result<void, ContractError> {
    if (this.#spend()) return this.#nor.program(offset, data)
    if (this.#left === -1) {
      // Torn: about half of the words are there.
      const half = Math.floor(data.length / 2 / this.programBytes) * this.programBytes
      this.#nor.program(offset, data.subarray(0, half))
    }
    return ok(undefined)
  }

  /** The firmware never learns of the cut: what it does after it, it does in its last microseconds, to no effect. */
  #spend(): boolean {
    this.#left--
    this.#dead ||= this.#left < 0
    return !this.#dead
  }
}

let first: Packed
let second: Packed
beforeAll(async () => {
  first = await packKws({ name: 'kws-1', version: 1, model: 'kws-1' })
  second = await packKws({ name: 'kws-2', version: 2, model: 'kws-2' })
})

describe('power cut at every flash operation of an install', () => {
  const engine = new SharedEngine(new EngineOrtNode())
  const fresh = () => {
    const nor = new FlashNor({ sizeBytes: FLASH_BYTES })
    provision(nor, first.bundle, 0)
    return new CutFlash(nor)
  }
  const operate = async (flash: CutFlash): Promise<BenchDevice> => {
    const device = BenchDevice.of(flash, {}, engine)
    device.gateway.store(second.bundle)
    return device
  }
  /** Boot, download, trial, confirmation; ends early when the power goes. */
  const live = async (device: BenchDevice, flash: CutFlash): Promise<void> => {
    await device.tryBoot()
    device.assign(second.release, 1)
    await until('trial or dark', () => flash.dead || device.phase === 'trial')
    if (!flash.dead) {
      await device.live()
      await until('confirmed or dark', () => flash.dead || device.phase === 'idle')
    }
    await device.off()
  }

  it('the device always boots an image whose hash the release key signed, and ends on the new one', {
    timeout: 240_000,
  }, async () => {
    const whole = fresh()
    const begin = whole.operations
    await live(await operate(whole), whole)
    const operations = whole.operations - begin
    expect(operations).toBeGreaterThan(2 * Math.ceil(second.bundle.length / 4_096))
    const ran = new Set<string>()
    for (let cut = 0; cut < operations; cut++) {
      const flash = fresh()
      flash.cutAfter(cut)
      const device = await operate(flash)
      await live(device, flash)
      expect(flash.dead).toBe(true)
      flash.powerUp()

      const again = await operate(flash)
      const booted = await again.tryBoot()
      if (!booted.ok) throw new Error(`cut at operation ${cut}: ${booted.error.code}: ${booted.error.detail}`)
      const { slot, record } = again.host.state!
      expect([first.release.sha256, second.release.sha256]).toContain(again.slotSha256(slot))
      expect(record.images[slot].bytes).toBeGreaterThan(0)
      ran.add(again.model!)
      // And it is none the worse for it: the same assignment is carried out now.
      again.assign(second.release, 1)
      await until(
        `new model after a cut at ${cut}`,
        () => again.phase === 'trial' || (again.model === 'kws-2' && again.phase === 'idle'),
      )
      if (again.phase === 'trial') {
        await again.live()
        await until('confirmed', () => again.phase === 'idle')
      }
      expect(again.record()).toMatchObject({ active: 1, phase: 'confirmed' })
      await again.off()
    }
    expect([...ran].sort()).toEqual(['kws-1', 'kws-2'])
    await engine.close()
  })
})
