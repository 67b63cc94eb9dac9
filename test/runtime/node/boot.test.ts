import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { bootImage } from '../../../device/core/boot.ts'
import { type BootRecord, EMPTY_IMAGE, readRecord, writeRecord } from '../../../device/core/flash/boot-record.ts'
import { layoutOf } from '../../../device/core/flash/flash-layout.ts'
import { programSlot, provision } from '../../../device/core/flash/provision.ts'
import { WatchdogTimer } from '../../../device/core/watchdog-timer.ts'
import { FlashNor, failingAt } from '../../../firmware-sim/flash-nor.ts'
import { RememberedEngine } from '../../../firmware-sim/power-cut/engine-remembered.ts'
import type { Engine } from '../../../model/engine/engine.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import type { Packed } from '../../../model/pack.ts'
import { graphFile, packKws } from '../../fixtures/bundles.ts'
import { BenchDevice, FLASH_BYTES, MINUTE, until } from '../../fixtures/device.ts'

const engine = new RememberedEngine(new EngineOrtNode())
let first: Packed
let second: Packed
beforeAll(async () => {
  first = await packKws({ name: 'kws-1', version: 1, model: 'kws-1' })
  second = await packKws({ name: 'kws-2', version: 2, model: 'kws-2', securityCounter: 1 })
})
afterAll(() => engine.close())

const WALL_MS = 1_700_000_000_000
const imageOf = ({ release }: Packed) => ({ sha256: Buffer.from(release.sha256, 'hex'), bytes: release.bytes })

/** kws-1 in slot 0, kws-2 in slot 1, both recorded. */
const chip = (change: Partial<BootRecord> = {}) => {
  const flash = new FlashNor({ sizeBytes: FLASH_BYTES })
  const layout = layoutOf(flash)
  if (!layout.ok) throw new Error(layout.error.detail)
  provision(flash, first.bundle, 0)
  programSlot(flash, layout.value, 1, 0, second.bundle)
  const record = readRecord(flash, layout.value)!
  writeRecord(flash, layout.value, { ...record, images: [imageOf(first), imageOf(second)], ...change })
  const boot = (using: Engine = engine) =>
    bootImage({ flash, layout: layout.value, engine: using, ramBytes: 400_000, wallMs: WALL_MS })
  return { flash, layout: layout.value, boot, record: () => readRecord(flash, layout.value)! }
}
const refusing = (model: string): Engine => ({
  name: 'refusing',
  load: async (graph, io) =>
    Buffer.compare(graph, graphFile(model)) === 0
      ? { ok: false, error: { code: 'engine-load-failed', detail: 'not today' } }
      : engine.load(graph, io),
})

describe('a boot', () => {
  it('of a confirmed image that no longer loads runs the other one, and keeps its name', async () => {
    const { boot, record } = chip({ active: 1, securityCounter: 0 })
    const booted = await boot(refusing('kws-2'))
    expect(booted).toMatchObject({
      ok: true,
      value: { slot: 0, outcome: 'fell-back', trouble: { code: 'model-load-failed' } },
    })
    expect(record()).toMatchObject({ active: 0, phase: 'confirmed', untold: 'fell-back', boots: 1 })
    expect(record().images[1].bytes).toBe(second.release.bytes)
  })

  it('of one that has rotted too, and then the slot is empty to the next update', async () => {
    const { boot, record, flash, layout } = chip({ active: 1, securityCounter: 0 })
    flash.rot(layout.slots[1], second.release.bytes, 1, seededRandom(4))
    expect(await boot()).toMatchObject({ ok: true, value: { slot: 0, outcome: 'fell-back' } })
    expect(record().images[1]).toEqual(EMPTY_IMAGE)
  })

  it('never falls back below the security counter', async () => {
    const { boot, record } = chip({ active: 1, securityCounter: 1 })
    expect(await boot(refusing('kws-2'))).toMatchObject({ ok: false, error: { code: 'security-counter-too-low' } })
    expect(record()).toMatchObject({ active: 1, securityCounter: 1 })
  })

  it('of a trial whose golden vectors do not come out on this device reverts within the boot', async () => {
    const { boot, record } = chip({ phase: 'pending' })
    const off: Engine = {
      name: 'off',
      load: async (graph, io) => {
        const loaded = await engine.load(graph, io)
        if (!loaded.ok || Buffer.compare(graph, graphFile('kws-2')) !== 0) return loaded
        const run: typeof loaded.value.run = async (window) => {
          const answer = await loaded.value.run(window)
          return answer.ok ? { ok: true, value: answer.value.map((value) => value + 0.2) } : answer
        }
        return { ok: true, value: { ...loaded.value, run } }
      },
    }
    expect(await boot(off)).toMatchObject({
      ok: true,
      value: { slot: 0, outcome: 'reverted', trouble: { code: 'golden-mismatch' } },
    })
    expect(record()).toMatchObject({ phase: 'confirmed', active: 0, failures: 1, boots: 1 })
  })

  it('whose record cannot be written begins no trial and runs what is confirmed', async () => {
    const { boot, record, flash, layout } = chip({ phase: 'pending' })
    const { areas, areaBytes } = layout.boot
    flash.onOperation = failingAt(1, seededRandom(1), { from: areas[0], to: areas[1] + areaBytes })
    expect(await boot()).toMatchObject({
      ok: true,
      value: { slot: 0, outcome: 'abandoned', trouble: { code: 'flash-write-failed' } },
    })
    flash.onOperation = undefined
    expect(record().phase).toBe('pending')
    expect(await boot()).toMatchObject({ ok: true, value: { slot: 1, outcome: 'trial' } })
  })
})

describe('a device flashed by hand', () => {
  it('runs the whole bundle it finds, checks its golden vectors, and says so', async () => {
    const { boot, record, flash, layout } = chip({ images: [imageOf(first), EMPTY_IMAGE], assignmentSeq: 4 })
    programSlot(flash, layout, 0, 0, second.bundle)
    expect(await boot()).toMatchObject({ ok: true, value: { slot: 0, outcome: 'found' } })
    expect(record()).toMatchObject({ active: 0, untold: 'image-found', assignmentSeq: 4 })
    expect(record().images[0]).toEqual({ ...imageOf(second), sha256: Uint8Array.from(imageOf(second).sha256) })
    // And from then on it is what the record says.
    expect(await boot()).toMatchObject({ ok: true, value: { outcome: 'confirmed' } })
  })

  it('prefers an image that came the signed way', async () => {
    const { boot, flash, layout } = chip()
    programSlot(flash, layout, 0, 0, second.bundle)
    expect(await boot()).toMatchObject({ ok: true, value: { slot: 1, outcome: 'fell-back' } })
  })

  it('with garbage, with less than the security counter, or with a download that was never verified, has nothing to run', async () => {
    const garbage = chip({ images: [imageOf(first), EMPTY_IMAGE] })
    programSlot(garbage.flash, garbage.layout, 0, 0, second.bundle.subarray(0, 40_000))
    // The other slot holds all of kws-2, but nobody has vouched for it.
    expect(await garbage.boot()).toMatchObject({ ok: false, error: { code: 'no-fallback-slot' } })
    const low = chip({ images: [imageOf(second), EMPTY_IMAGE], securityCounter: 1 })
    expect(await low.boot()).toMatchObject({ ok: false, error: { code: 'security-counter-too-low' } })
  })

  it('whose boot records are both lost is known by its slots; boot ids do not come twice', async () => {
    const { boot, record, flash, layout } = chip({ active: 1, boots: 77 })
    for (const area of layout.boot.areas) flash.erase(area)
    expect(await boot()).toMatchObject({ ok: true, value: { slot: 0, outcome: 'confirmed' } })
    expect(record()).toMatchObject({ untold: 'image-found', boots: WALL_MS / 1_000 + 1 })
    const blank = new FlashNor({ sizeBytes: FLASH_BYTES })
    const none = await bootImage({ flash: blank, layout, engine, ramBytes: 400_000, wallMs: WALL_MS })
    expect(none).toMatchObject({ ok: false, error: { code: 'no-fallback-slot' } })
  })

  it('tells the gateway what happened', async () => {
    const { flash, layout } = chip({ images: [imageOf(first), EMPTY_IMAGE] })
    programSlot(flash, layout, 0, 0, second.bundle)
    const device = BenchDevice.of(flash, {}, engine)
    await device.boot()
    await until('told', () => device.gateway.story.includes('image-found'))
    await until('struck out', () => device.record()!.untold === 'none')
    await device.off()
  })
})

describe('the watchdog', () => {
  it('ends a trial that hangs while it loads: the next boot reverts', async () => {
    const { flash } = chip({ phase: 'pending' })
    const hanging: Engine = {
      name: 'hanging',
      load: (graph, io) =>
        Buffer.compare(graph, graphFile('kws-2')) === 0 ? new Promise(() => undefined) : engine.load(graph, io),
    }
    const device = BenchDevice.of(flash, {}, hanging)
    const booting = device.boot(new WatchdogTimer(device.clock))
    await until('the trial is recorded', () => device.record()!.phase === 'running')
    device.pass(4 * MINUTE)
    expect(device.record()!.phase).toBe('running')
    device.pass(MINUTE)
    await booting
    expect(device.model).toBe('kws-1')
    expect(device.record()).toMatchObject({ phase: 'confirmed', active: 0, failures: 1, boots: 2 })
    await device.off()
  })

  /** A boot that waits until it is let go, and is ended by the watchdog meanwhile. @returns the device, booted, and what lets the first go on */
  async function overtaken(change: Partial<BootRecord>, hangs: 'link' | 'load') {
    const { flash } = chip(change)
    const at = { loads: 0, disposed: 0 }
    let goOn: (() => void) | undefined
    const hold = () =>
      new Promise<void>((resolve) => {
        goOn = resolve
      })
    const counted: Engine = {
      name: 'counted',
      async load(graph, io) {
        if (at.loads++ === 0 && hangs === 'load') await hold()
        const loaded = await engine.load(graph, io)
        if (!loaded.ok) return loaded
        const { input, output } = loaded.value
        const dispose = async () => {
          at.disposed++
          await loaded.value.dispose()
        }
        return { ok: true, value: { input, output, run: (window) => loaded.value.run(window), dispose } }
      },
    }
    const device = BenchDevice.of(flash, {}, counted)
    const { gateway } = device
    const close = gateway.close.bind(gateway)
    let closes = 0
    gateway.close = async () => {
      if (closes++ === 0 && hangs === 'link') await hold()
      await close()
    }
    const booting = device.boot(new WatchdogTimer(device.clock))
    await until('it hangs', () => goOn !== undefined)
    device.pass(5 * MINUTE)
    await booting
    return { device, at, content: () => Buffer.from(flash.read(0, FLASH_BYTES)), goOn: () => goOn?.() }
  }
  const settle = async () => {
    for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve))
  }

  it.each([
    ['a trial', { phase: 'pending' as const }, 'kws-1'],
    ['a confirmed image', {}, 'kws-1'],
  ])('lets a boot of %s that it has ended, and that wakes up after all, touch nothing', async (_, change, runs) => {
    const { device, at, content, goOn } = await overtaken(change, 'load')
    expect(device.model).toBe(runs)
    await settle()
    const [flash, state, { disposed }] = [content(), device.host.state, { ...at }]
    goOn()
    await until('what it has loaded is let go', () => at.disposed > disposed)
    await settle()
    expect(content().equals(flash)).toBe(true)
    expect([device.model, device.host.state]).toEqual([runs, state])
    await device.off()
  })

  it('lets a boot that waited for the link load nothing any more', async () => {
    const { device, at, content, goOn } = await overtaken({}, 'link')
    await settle()
    const [flash, { loads }] = [content(), { ...at }]
    goOn()
    await settle()
    expect(at.loads).toBe(loads)
    expect(content().equals(flash)).toBe(true)
    expect(device.model).toBe('kws-1')
    await device.off()
  })

  it('goes on watching a boot that hangs too, when the one before it wakes up', async () => {
    const { flash } = chip()
    const held: (() => void)[] = []
    let loads = 0
    const slow: Engine = {
      name: 'slow',
      async load(graph, io) {
        if (loads++ < 2) await new Promise<void>((resolve) => held.push(resolve))
        return engine.load(graph, io)
      },
    }
    const device = BenchDevice.of(flash, {}, slow)
    const booting = device.boot(new WatchdogTimer(device.clock))
    await until('the first hangs', () => held.length === 1)
    device.pass(5 * MINUTE)
    await until('the second hangs', () => held.length === 2)
    held[0]?.()
    await settle()
    device.pass(5 * MINUTE)
    let third = false
    void booting.then(() => {
      third = true
    })
    await until('the third boots', () => third)
    expect(device.model).toBe('kws-1')
    expect(device.record()!.boots).toBe(1)
    await device.off()
  })

  it('leaves a healthy device alone', async () => {
    const { flash } = chip()
    const device = BenchDevice.of(flash, {}, engine)
    await device.boot(new WatchdogTimer(device.clock))
    device.pass(30 * 60 * MINUTE)
    expect(device.record()!.boots).toBe(1)
    await device.off()
  })
})
