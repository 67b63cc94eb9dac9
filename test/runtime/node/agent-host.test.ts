import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { decodeBundle, encodeBundle } from '../../../contract/bundle.ts'
import { bytesToHex, sha256Hex } from '../../../contract/bytes.ts'
import { EVENT_CODES } from '../../../contract/messages.ts'
import { present } from '../../../contract/present.ts'
import type { Release } from '../../../contract/release.ts'
import { err } from '../../../contract/result.ts'
import { Ears } from '../../../device/core/ears.ts'
import { layoutOf } from '../../../device/core/flash/flash-layout.ts'
import { provision } from '../../../device/core/flash/provision.ts'
import type { Heard } from '../../../device/core/listen/heard.ts'
import { createListener } from '../../../device/core/listen/listener.ts'
import type { Flash } from '../../../device/ports/flash.ts'
import type { TransportEvent } from '../../../device/ports/transport.ts'
import { FlashNor } from '../../../firmware-sim/flash-nor.ts'
import type { Engine } from '../../../model/engine/engine.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import type { Packed } from '../../../model/pack.ts'
import { heardOf } from '../../fixtures/agent.ts'
import { graphFile, packKws } from '../../fixtures/bundles.ts'
import { BenchDevice, FLASH_BYTES, HOUR, MINUTE, until } from '../../fixtures/device.ts'
import { strangerKey } from '../../fixtures/keys.ts'
import { writtenManifest } from '../../fixtures/manifest.ts'
import {
  anomalyFiles,
  anomalySpec,
  fourFiles,
  fourSpec,
  openPacked,
  packSpec,
  sileroFiles,
  sileroSpec,
  wakeWordFiles,
  wakeWordSpec,
} from '../../fixtures/pipeline-bundles.ts'

let first: Packed
let second: Packed
/** Its manifest as it lies in the bundle. */
const secondWritten = () => writtenManifest(second.bundle)
const devices: BenchDevice[] = []

beforeAll(async () => {
  first = await packKws({ name: 'kws-1', version: 1, model: 'kws-1' })
  second = await packKws({ name: 'kws-2', version: 2, model: 'kws-2' })
})
afterEach(async () => {
  for (const device of devices.splice(0)) await device.off()
})

const factory = async (flash?: Flash, config = {}): Promise<BenchDevice> => {
  const device = await BenchDevice.booted(first.bundle, config, flash)
  devices.push(device)
  device.gateway.store(second.bundle)
  return device
}
const install = async (device: BenchDevice, { release }: Packed = second, seq = 1) => {
  device.assign(release, seq)
  await until('trial', () => device.phase === 'trial' && device.model === release.name)
  await device.live()
  await until('confirmed', () => device.phase === 'idle')
}
/** Nothing of the active image has changed, in the record or in the flash, and the device still runs it and listens. */
const expectUntouched = (device: BenchDevice) => {
  expect(device.model).toBe('kws-1')
  expect(device.slotSha256(0)).toBe(first.release.sha256)
  expect(device.record()).toMatchObject({ active: 0, phase: 'confirmed' })
  expect(bytesToHex(device.record()!.images[0].sha256)).toBe(first.release.sha256)
  const before = device.host.state!.measures.counters.windows
  device.host.hear(heardOf({ windows: 5 }))
  expect(device.host.state!.measures.counters.windows).toBe(before + 5)
}

describe('an update, end to end', () => {
  it('factory, assignment, blocks, verification, golden vectors, trial, confirmation', async () => {
    const device = await factory()
    expect(device.model).toBe('kws-1')
    await install(device)
    expect(device.gateway.story).toEqual([
      'booted',
      'install-started',
      'download-complete',
      'booted',
      'trial-started',
      'install-confirmed',
    ])
    expect(device.gateway.blocksServed.get(second.release.sha256)).toBe(Math.ceil(second.bundle.length / 4_096))
    expect(device.record()).toMatchObject({ active: 1, phase: 'confirmed', assignmentSeq: 1, failures: 0 })
    expect(device.slotSha256(1)).toBe(second.release.sha256)
    // The last report of the old boot went through the spool; the new boot counts from zero under a new id.
    expect(device.gateway.reports.map(({ boot, seq }) => [boot, seq])).toEqual([
      [1, 0],
      [2, 0],
    ])
    const about = new Map(device.gateway.events.map(({ code, model }) => [EVENT_CODES[code], bytesToHex(model!)]))
    expect(about.get('install-started')).toBe(second.release.sha256.slice(0, 16))
    expect(about.get('install-confirmed')).toBe(second.release.sha256.slice(0, 16))
    await device.off()
    await device.boot()
    expect(device.model).toBe('kws-2')
  })

  it('a trial that nobody confirms reverts by itself, and a second one penalizes the image', async () => {
    const device = await factory()
    for (let attempt = 1; attempt <= 2; attempt++) {
      device.assign(second.release, attempt)
      await until('trial', () => device.phase === 'trial')
      device.gateway.disconnect()
      device.pass(3 * HOUR)
      await until('reverted', () => device.model === 'kws-1')
      expect(device.record()).toMatchObject({ active: 0, phase: 'confirmed', failures: attempt })
      device.gateway.reconnect()
      await until(
        'told',
        () => device.gateway.story.filter((said) => said === 'reverted: trial-failed').length === attempt,
      )
    }
    const blocks = device.gateway.blocksServed.get(second.release.sha256)
    device.assign(second.release, 3)
    await until('refused', () => device.gateway.story.includes('install-refused: penalized'))
    // The second attempt found the image in its slot; the third was not made.
    expect(device.gateway.blocksServed.get(second.release.sha256)).toBe(blocks)
    expect(blocks).toBe(Math.ceil(second.bundle.length / 4_096))
    expectUntouched(device)
  })

  it('power lost during the trial reverts', async () => {
    const device = await factory()
    device.assign(second.release, 1)
    await until('trial', () => device.phase === 'trial')
    await device.off()
    await device.boot()
    expect(device.model).toBe('kws-1')
    expect(device.record()).toMatchObject({ failures: 1, phase: 'confirmed' })
  })

  it('a rollback to the stored image costs no download', async () => {
    const device = await factory()
    await install(device)
    await install(device, first, 2)
    expect(device.model).toBe('kws-1')
    expect(device.gateway.blocksServed.get(first.release.sha256)).toBeUndefined()
    expect(device.record()).toMatchObject({ active: 0, phase: 'confirmed', assignmentSeq: 2 })
  })

  it('from one word to pipelines that remember and back: state, signals and reports are those of what runs', async () => {
    const vad = await packSpec(sileroSpec(), sileroFiles())
    const device = await factory()
    device.gateway.store(vad.bundle)
    expect(device.gateway.reports.every(({ signals }) => signals === undefined)).toBe(true)
    await install(device, vad)
    // A second of sound that its state wakes for, in the trial's boot; another device would say the same.
    const heard = await new Ears(device.host).hear(new Float32Array(16_000).fill(0.11))
    expect(heard.ok && heard.value?.wakes.length).toBe(1)
    device.host.dispatch({ type: 'report-requested' })
    await until('reported', () => device.gateway.reports.at(-1)?.signals !== undefined)
    const { signals = [], model } = device.gateway.reports.at(-1)!
    expect(bytesToHex(model)).toBe(vad.release.sha256.slice(0, 16))
    // wakes, then windows by posterior: one each 32 ms.
    expect([signals[0], signals.slice(1).reduce((a, b) => a + b)]).toEqual([1, 31])
    await device.off()
    await device.boot()
    expect(device.model).toBe('vad')
    expect(device.host.state!.measures.signals).toEqual([0, 0, 0, 0, 0, 0])
    await install(device, first, 2)
    expect(device.host.state!.measures.signals).toEqual([])
  })

  it.each([
    ['an anomaly detector', () => packSpec(anomalySpec, anomalyFiles())],
    ['a word of three graphs in a row', () => packSpec(wakeWordSpec, wakeWordFiles())],
    ['four pipelines on one input', () => packSpec(fourSpec, fourFiles())],
  ])(
    '%s comes over the air, hears as it would alone, begins anew after a boot, and is back from its slot',
    async (_what, pack) => {
      const packed = await pack()
      const device = await factory()
      device.gateway.store(packed.bundle)
      await install(device, packed)
      const sound = new Float32Array(6 * 16_000).fill(20 / 32_768).fill(0.2, 5 * 16_000)
      const alone = await openPacked(packed)
      const step = present(
        alone.manifest.ladder.find(({ level }) => level === 'full'),
        'a level',
      )
      const expected = await createListener({ ...alone, step }).listen(sound)
      if (!expected.ok) throw new Error(expected.error.detail)
      const summary = ({ wakes, signals, windows }: Heard) => ({
        ...{ windows, signals },
        wakes: wakes.map(({ pipeline, label, posteriorPermille, features }) => ({
          pipeline,
          label,
          posteriorPermille,
          features,
        })),
      })
      const hear = async () => {
        const ears = new Ears(device.host)
        const parts: Heard[] = []
        // In pieces that are no hops: what is between them is kept.
        for (let at = 0; at < sound.length; at += 7_001) {
          const heard = await ears.hear(sound.subarray(at, at + 7_001))
          if (!heard.ok || heard.value === undefined) throw new Error('heard nothing')
          parts.push(heard.value)
        }
        return parts.map(summary).reduce((sum, part) => ({
          windows: sum.windows + part.windows,
          signals: sum.signals?.map((value, i) => value + (part.signals?.[i] ?? 0)),
          wakes: [...sum.wakes, ...part.wakes],
        }))
      }
      const whole = summary(expected.value)
      expect(whole.windows).toBeGreaterThan(40)
      expect(whole.wakes.length).toBeGreaterThan(0)
      expect(await hear()).toEqual(whole)
      await device.off()
      await device.boot()
      expect(device.model).toBe(packed.release.name)
      expect(await hear()).toEqual(whole)
      // A trial that the power ends goes back, and the slot is still good.
      await install(device, first, 2)
      const blocks = device.gateway.blocksServed.get(packed.release.sha256)
      device.assign(packed.release, 3)
      await until('trial', () => device.phase === 'trial' && device.model === packed.release.name)
      await device.off()
      await device.boot()
      expect(device.model).toBe('kws-1')
      await install(device, packed, 4)
      expect(device.gateway.blocksServed.get(packed.release.sha256)).toBe(blocks)
      expect(await hear()).toEqual(whole)
      await alone.dispose()
    },
  )

  it('an agent that knows no pipelines refuses them before it downloads', async () => {
    const vad = await packSpec(sileroSpec(), sileroFiles())
    const device = await factory(undefined, { featuresSha256: [first.release.featuresSha256] })
    device.gateway.store(vad.bundle)
    device.assign(vad.release, 1)
    await until('refused', () => device.gateway.story.includes('install-refused: unsupported-features'))
    expect(device.gateway.blocksServed.get(vad.release.sha256)).toBeUndefined()
    expectUntouched(device)
  })

  it('the retained assignment of what runs is silent at every connection', async () => {
    const device = await factory()
    await install(device)
    await until('told', () => device.host.state!.outbox.messages.length === 0)
    const told = device.gateway.story.length
    for (let i = 0; i < 3; i++) {
      device.gateway.disconnect()
      device.gateway.reconnect()
      await until('connected', () => device.host.state!.connected)
    }
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(device.gateway.story).toHaveLength(told)
  })

  it('a download goes on where it was when the link comes back', async () => {
    const device = await factory()
    let lost = false
    device.gateway.spoil = (payload, offset) => {
      if (offset < 5 * 4_096 || lost) return payload
      lost = true
      return undefined
    }
    device.assign(second.release, 1)
    await until('block lost', () => lost)
    device.gateway.disconnect()
    device.pass(5 * HOUR)
    device.gateway.reconnect()
    await until('trial', () => device.phase === 'trial')
    // The lost one, and the three that were under way behind it.
    expect(device.gateway.blocksServed.get(second.release.sha256)).toBe(Math.ceil(second.bundle.length / 4_096) + 4)
  })

  it('a lost block is asked for again after ten minutes', async () => {
    const device = await factory()
    let lost = 0
    device.gateway.spoil = (payload, offset) => (offset === 8_192 && lost++ < 2 ? undefined : payload)
    device.assign(second.release, 1)
    for (const times of [1, 2]) {
      await until('block lost', () => lost === times)
      device.pass(10 * 60_000)
    }
    await until('trial', () => device.phase === 'trial')
  })
})

describe('refused with a code, the active model untouched and running', () => {
  /** Everything of a bundle that a device can find wrong after the release key signed its hash. */
  const releaseOf = (bundle: Uint8Array, change: Partial<Release> = {}): Release => ({
    ...second.release,
    sha256: sha256Hex(bundle),
    bytes: bundle.length,
    ...change,
  })
  const attempt = async (device: BenchDevice, bundle: Uint8Array, release = releaseOf(bundle)) => {
    device.gateway.artifacts.set(release.sha256, bundle)
    device.assign(release, 1)
    await until('refusal', () => device.gateway.story.some((said) => /^install-(failed|refused|delayed)/.test(said)))
    return device.gateway.story.find((said) => /^install-(failed|refused|delayed)/.test(said))
  }
  const resealed = (change: (sections: Map<string, Uint8Array>) => void): Uint8Array => {
    const decoded = decodeBundle(second.bundle)
    if (!decoded.ok) throw new Error(decoded.error.detail)
    const sections = new Map(decoded.value)
    change(sections)
    return encodeBundle([...sections].map(([name, data]) => ({ name, data })))
  }
  const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value))

  it('a bundle tampered with on its way, in any section: hash-mismatch', async () => {
    const decoded = decodeBundle(second.bundle)
    if (!decoded.ok) throw new Error(decoded.error.detail)
    const places = [...decoded.value].map(
      ([name, section]) => [name, section.byteOffset - second.bundle.byteOffset] as const,
    )
    expect(places.map(([name]) => name)).toEqual([
      'manifest.json',
      'graph/full',
      'graph/lite',
      'golden.bin',
      'card.json',
    ])
    for (const [, at] of [...places, ['head', 6], ['table', 40]] as const) {
      const device = await factory()
      const tampered = Uint8Array.from(second.bundle)
      tampered[at]! ^= 1
      expect(await attempt(device, tampered, second.release)).toBe('install-delayed: hash-mismatch')
      expectUntouched(device)
      await device.off()
    }
  })

  it.each<[string, () => Uint8Array]>([
    [
      'bundle-section-hash',
      () => {
        const spoiled = Uint8Array.from(second.bundle)
        spoiled[spoiled.length - 1]! ^= 1
        return spoiled
      },
    ],
    [
      'unknown-schema-version',
      () => {
        const future = Uint8Array.from(second.bundle)
        future[4] = 2
        return future
      },
    ],
    [
      'unknown-schema-version',
      () => resealed((sections) => sections.set('manifest.json', json({ ...secondWritten(), v: 3 }))),
    ],
    [
      'bundle-bad-manifest',
      () => resealed((sections) => sections.set('manifest.json', json({ ...secondWritten(), labels: [] }))),
    ],
    ['bundle-bad-manifest', () => resealed((sections) => sections.delete('golden.bin'))],
    ['bundle-bad-magic', () => json('not a bundle')],
    [
      'contradicts-release',
      () => resealed((sections) => sections.set('manifest.json', json({ ...secondWritten(), version: 7 }))),
    ],
    [
      'contradicts-release',
      () =>
        resealed((sections) =>
          sections.set(
            'manifest.json',
            json({ ...secondWritten(), features: { ...secondWritten().features, logOffset: 1e-5 } }),
          ),
        ),
    ],
    [
      'unsupported-features',
      () =>
        resealed((sections) => sections.set('manifest.json', json({ ...secondWritten(), features: { kind: 'plp' } }))),
    ],
    [
      'arena-over-budget',
      () =>
        resealed((sections) =>
          sections.set(
            'manifest.json',
            json({ ...secondWritten(), graphs: secondWritten().graphs.map((graph) => ({ ...graph, ramBytes: 100 })) }),
          ),
        ),
    ],
    ['unsupported-engine', () => resealed((sections) => sections.set('graph/full', new Uint8Array(1000).fill(7)))],
    [
      'golden-mismatch',
      () =>
        resealed((sections) => {
          const golden = Uint8Array.from(sections.get('golden.bin')!)
          new DataView(golden.buffer).setFloat32(490, 9, true)
          sections.set('golden.bin', golden)
        }),
    ],
    [
      'golden-mismatch',
      () => resealed((sections) => sections.set('graph/full', decodeSection(first.bundle, 'graph/lite'))),
    ],
  ])('a signed bundle that does not hold: %s (%#)', async (code, make) => {
    const device = await factory()
    expect(await attempt(device, make())).toBe(`install-failed: ${code}`)
    expectUntouched(device)
    expect(device.record()).toMatchObject({ failures: 1 })
  })

  it('a stranger as director: unknown-key, and no byte of an image is asked for', async () => {
    const device = await factory()
    device.assign(second.release, 1, { directorSecret: strangerKey.secretKey })
    await until('refusal', () => device.gateway.story.includes('install-refused: unknown-key'))
    expect(device.gateway.blocksServed.size).toBe(0)
    expectUntouched(device)
  })

  it('an unknown version of the assignment: unknown-schema-version', async () => {
    const device = await factory()
    device.assign(second.release, 1, { content: { v: 2 } })
    await until('refusal', () => device.gateway.story.includes('install-refused: unknown-schema-version'))
    expectUntouched(device)
  })

  it('a truncated download: download-truncated, size-mismatch, artifact-not-found', async () => {
    const cut = async (artifact: Uint8Array | undefined) => {
      const device = await factory()
      if (artifact === undefined) device.gateway.artifacts.clear()
      else device.gateway.artifacts.set(second.release.sha256, artifact)
      device.assign(second.release, 1)
      await until('refusal', () => device.gateway.story.some((said) => said.startsWith('install-delayed')))
      expectUntouched(device)
      return device.gateway.story.at(-1)
    }
    expect(await cut(second.bundle.subarray(0, 50_000))).toBe('install-delayed: size-mismatch')
    expect(await cut(undefined)).toBe('install-delayed: artifact-not-found')
    const device = await factory()
    device.gateway.spoil = (payload, offset) => (offset === 8_192 ? shortened(payload) : payload)
    device.assign(second.release, 1)
    await until('refusal', () => device.gateway.story.includes('install-delayed: download-truncated'))
    expectUntouched(device)
  })

  it.each(['flash-full', 'flash-write-failed'] as const)(
    'a medium that fails from some operation on: %s',
    async (code) => {
      const probe = new FlashNor({ sizeBytes: FLASH_BYTES })
      provision(probe, first.bundle, 0)
      const flash = new FlashNor({ sizeBytes: FLASH_BYTES, failAfter: { operations: probe.operations + 12, code } })
      const device = await factory(flash)
      device.assign(second.release, 1)
      await until('failure', () => device.gateway.story.includes(`install-delayed: ${code}`))
      expectUntouched(device)
      // A dead flash must not make the agent spin: hours go by, reports still go out.
      const before = device.gateway.reports.length
      device.pass(5 * HOUR)
      await until('reports', () => device.gateway.reports.length >= before + 5)
    },
  )

  it('nothing provisioned: no-fallback-slot', async () => {
    const blank = BenchDevice.of(new FlashNor({ sizeBytes: FLASH_BYTES }))
    expect(await blank.tryBoot()).toMatchObject({ ok: false, error: { code: 'no-fallback-slot' } })
    const tiny = BenchDevice.of(new FlashNor({ sizeBytes: 65_536 }))
    expect(await tiny.tryBoot()).toMatchObject({ ok: false, error: { code: 'flash-over-budget' } })
  })
})

describe('a planned stop', () => {
  it('ends when the gateway has the last report', async () => {
    const device = await factory()
    await until('the first words', () => device.gateway.story.includes('booted'))
    device.pass(7 * MINUTE)
    await device.host.stop(5_000)
    expect(device.gateway.reports.at(-1)).toMatchObject({ uptimeMs: 7 * MINUTE })
    expect(device.host.state).toBeUndefined()
  })

  it('does not wait for ever for a gateway that is silent, nor at all without a link: the next boot says it', async () => {
    const device = await factory()
    const { gateway } = device
    await until('the first words', () => gateway.story.includes('booted'))
    gateway.acknowledges = false
    device.pass(7 * MINUTE)
    let stopped = false
    const stopping = device.host.stop(5_000).then(() => {
      stopped = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(stopped).toBe(false)
    device.pass(5_000)
    await stopping
    gateway.acknowledges = true
    await device.boot()
    await until('the report of the boot before', () => gateway.reports.length === 1)
    expect(gateway.reports).toMatchObject([{ boot: 1, uptimeMs: 7 * MINUTE }])
    gateway.disconnect()
    device.pass(3 * MINUTE)
    await device.host.stop(5_000)
    gateway.reconnect()
    await device.boot()
    await until('the report of the second boot', () => gateway.reports.some(({ boot }) => boot === 2))
  })
})

describe('ports at their worst', () => {
  it('a transport that answers within the call changes nothing', async () => {
    const device = await factory()
    const { gateway } = device
    const listeners: ((event: TransportEvent) => void)[] = []
    const [open, publish] = [gateway.open.bind(gateway), gateway.publish.bind(gateway)]
    gateway.open = (listener) => {
      listeners.push(listener)
      open(listener)
    }
    gateway.publish = (id, kind, payload, qos) => {
      publish(id, kind, payload, qos)
      listeners.at(-1)?.({ type: 'published', id })
    }
    await device.off()
    await device.boot()
    await install(device)
    expect(device.record()).toMatchObject({ active: 1, phase: 'confirmed' })
    expect(device.gateway.reports.map(({ boot, seq }) => [boot, seq])).toEqual([
      [2, 0],
      [3, 0],
    ])
  })

  it('a trial image that this runtime cannot load reverts within the boot', async () => {
    const real = new EngineOrtNode()
    let refusing = false
    const newGraph = sha256Hex(graphFile('kws-2'))
    const engine: Engine = {
      name: 'moody',
      load: async (graph, io) =>
        refusing && sha256Hex(graph) === newGraph
          ? err({ code: 'engine-load-failed', detail: 'no memory today' })
          : real.load(graph, io),
    }
    const flash = new FlashNor({ sizeBytes: FLASH_BYTES })
    provision(flash, first.bundle, 0)
    const device = BenchDevice.of(flash, {}, engine)
    devices.push(device)
    device.gateway.store(second.bundle)
    await device.boot()
    const close = device.gateway.close.bind(device.gateway)
    device.gateway.close = async () => {
      // From the reboot into the trial on: the check before it has passed.
      refusing ||= device.record()?.phase === 'pending'
      await close()
    }
    device.assign(second.release, 1)
    await until('reverted', () => device.gateway.story.includes('reverted: trial-failed'))
    expectUntouched(device)
    expect(device.record()!.failures).toBeGreaterThan(0)
  })

  it('a spool that cannot be written costs its messages and nothing else', async () => {
    const nor = new FlashNor({ sizeBytes: FLASH_BYTES })
    const layout = layoutOf(nor)
    if (!layout.ok) throw new Error(layout.error.detail)
    const { spool } = layout.value
    const isSpool = (offset: number) => offset >= spool.areas[0] && offset < spool.areas[1] + spool.areaBytes
    const worn = err({ code: 'flash-write-failed', detail: 'worn' } as const)
    const flash: Flash = {
      sizeBytes: nor.sizeBytes,
      sectorBytes: nor.sectorBytes,
      programBytes: nor.programBytes,
      read: (offset, length) => nor.read(offset, length),
      erase: (offset) => (isSpool(offset) ? worn : nor.erase(offset)),
      program: (offset, data) => (isSpool(offset) ? worn : nor.program(offset, data)),
    }
    const device = await factory(flash)
    await install(device)
    expect(device.model).toBe('kws-2')
    device.gateway.disconnect()
    device.pass(5 * HOUR)
    device.gateway.reconnect()
    await until('reports', () => device.gateway.reports.length >= 6)
  })

  it('a trial whose spool fails at its end still reverts', async () => {
    const nor = new FlashNor({ sizeBytes: FLASH_BYTES })
    let spoolWorn = false
    const worn = err({ code: 'flash-full', detail: 'worn' } as const)
    const flash: Flash = {
      sizeBytes: nor.sizeBytes,
      sectorBytes: nor.sectorBytes,
      programBytes: nor.programBytes,
      read: (offset, length) => nor.read(offset, length),
      erase: (offset) => (spoolWorn && offset === 2 * 4_096 ? worn : nor.erase(offset)),
      program: (offset, data) => nor.program(offset, data),
    }
    const device = await factory(flash)
    device.assign(second.release, 1)
    await until('trial', () => device.phase === 'trial')
    spoolWorn = true
    device.gateway.disconnect()
    device.pass(3 * HOUR)
    await until('reverted', () => device.model === 'kws-1')
    expectUntouched(device)
  })
})

function decodeSection(bundle: Uint8Array, name: string): Uint8Array {
  const decoded = decodeBundle(bundle)
  if (!decoded.ok) throw new Error(decoded.error.detail)
  return decoded.value.get(name)!
}

/** The same block with one byte of data less. */
function shortened(payload: Uint8Array): Uint8Array {
  const at = payload.findIndex((byte, i) => byte === 0x59 && payload[i + 1] === 0x10 && payload[i + 2] === 0x00)
  return Uint8Array.of(...payload.subarray(0, at), 0x59, 0x0f, 0xff, ...payload.subarray(at + 4))
}
