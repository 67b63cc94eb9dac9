import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BatteryPage, type PowerSource } from '../../../../device/browser/battery-page.ts'
import type { FromWorker } from '../../../../device/browser/messages.ts'
import { PageAgent } from '../../../../device/browser/page-agent.ts'
import { BANDS } from '../../../../device/browser/spectrogram.ts'
import { agentConfig } from '../../../../device/core/agent/agent-config.ts'
import { provision } from '../../../../device/core/flash/provision.ts'
import { radioNamed } from '../../../../device/core/power/energy.ts'
import { VirtualClock } from '../../../../firmware-sim/clock-virtual.ts'
import { FlashNor } from '../../../../firmware-sim/flash-nor.ts'
import { SILENT_TRANSPORT } from '../../../../firmware-sim/transport-silent.ts'
import { resample } from '../../../../model/audio/resample.ts'
import { encodeWav, parseWav } from '../../../../model/audio/wav.ts'
import { boardNamed } from '../../../../model/boards.ts'
import { EngineTiny } from '../../../../model/engine-tiny/engine-tiny.ts'

const ROOT = join(import.meta.dirname, '../../../..')
const BUNDLE = readFileSync(join(ROOT, 'zoo/bundles/kws-2.kinglet'))
const board = boardNamed('NUCLEO-U575ZI')!

function spoken(): Float32Array {
  const wav = parseWav(readFileSync(join(ROOT, 'zoo/bank/keyword/yes/yes-6.wav')))
  if (!wav.ok) throw new Error(wav.error.detail)
  const samples = new Float32Array(32_000)
  samples.set(wav.value.samples, 8_000)
  return samples
}

class Bench {
  readonly told: FromWorker[] = []
  readonly clock = new VirtualClock(Date.UTC(2026, 0, 1))
  agent!: PageAgent

  async start(power: PowerSource = { kind: 'mains' }, days = 30): Promise<this> {
    const flash = new FlashNor({ sizeBytes: board.flashBytes })
    expect(provision(flash, BUNDLE, 0).ok).toBe(true)
    const budget =
      power.kind === 'mains'
        ? null
        : { capacityMj: power.capacityMj, horizonMs: this.clock.wallMs() + days * 86_400_000 }
    const started = await PageAgent.start({
      config: agentConfig({
        ...{ device: 'page', site: 'here', board, radio: radioNamed('wifi')!, level: 'full', power: budget },
      }),
      ...{ flash, engine: new EngineTiny(), transport: SILENT_TRANSPORT, clock: this.clock },
      ...{ battery: new BatteryPage(power), keyId: null, hasGateway: false },
      tell: (message) => this.told.push(message),
    })
    if (!started.ok) throw new Error(started.error.detail)
    this.agent = started.value
    return this
  }

  of<T extends FromWorker['type']>(type: T): Extract<FromWorker, { type: T }>[] {
    return this.told.filter((message): message is Extract<FromWorker, { type: T }> => message.type === type)
  }

  /** Until a file was heard to its end; time goes on for its pauses. */
  async played(): Promise<Extract<FromWorker, { type: 'played' }>> {
    for (let i = 0; i < 2_000 && this.of('played').length === 0; i++) {
      await new Promise((resolve) => setImmediate(resolve))
      this.clock.advanceTo(this.clock.wallMs() + 10)
    }
    return this.of('played').at(-1)!
  }
}

describe('the agent of a page', () => {
  it('hears a file: its wakes, the columns and posteriors of all of it', async () => {
    const bench = await new Bench().start()
    expect(bench.agent.file('yes.wav', encodeWav(spoken(), 16_000), true).ok).toBe(true)
    expect(await bench.played()).toMatchObject({ name: 'yes.wav', wakes: ['yes'], seconds: 2 })
    expect(bench.of('wake')).toMatchObject([{ label: 'yes', level: 'full' }])
    const heard = bench.of('heard')
    const columns = heard.reduce((sum, message) => sum + message.columns.length / BANDS, 0)
    // 3.4 s with the silence around it, 20 ms each.
    expect(columns).toBeGreaterThanOrEqual(168)
    expect(columns).toBeLessThanOrEqual(170)
    const posteriors = heard.flatMap((message) => message.posteriors)
    expect(posteriors.length).toBeGreaterThan(8)
    expect(
      Math.max(...posteriors.map((values) => values[bench.of('view')[0]!.view.labels.indexOf('yes')]!)),
    ).toBeGreaterThan(0.9)
    await bench.agent.close()
  })

  it('hears no more of a file that another has replaced', async () => {
    const bench = await new Bench().start()
    bench.agent.file('first.wav', encodeWav(spoken(), 16_000), false)
    await new Promise((resolve) => setImmediate(resolve))
    bench.agent.file('second.wav', encodeWav(new Float32Array(8_000), 16_000), true)
    expect(await bench.played()).toMatchObject({ name: 'second.wav', wakes: [] })
    // Time enough for the first to come to its end.
    for (let i = 0; i < 100; i++) {
      bench.clock.advanceTo(bench.clock.wallMs() + 100)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(bench.of('played')).toHaveLength(1)
    expect(bench.of('wake')).toEqual([])
    await bench.agent.close()
  })

  it('hears no more of a file once the microphone is on', async () => {
    const bench = await new Bench().start()
    bench.agent.file('first.wav', encodeWav(spoken(), 16_000), false)
    await new Promise((resolve) => setImmediate(resolve))
    bench.agent.live(new Float32Array(1_600), 16_000)
    for (let i = 0; i < 100; i++) {
      bench.clock.advanceTo(bench.clock.wallMs() + 100)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(bench.of('played')).toEqual([])
    expect(bench.of('wake')).toEqual([])
    await bench.agent.close()
  })

  it('hears a microphone at its own rate, in stretches of any length', async () => {
    const bench = await new Bench().start()
    const sound = resample(spoken(), 16_000, 48_000)
    for (let at = 0; at < sound.length; at += 4_800) {
      bench.agent.live(sound.slice(at, at + 4_800), 48_000)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    for (let i = 0; i < 200 && bench.of('wake').length === 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 5))
    expect(bench.of('wake')).toMatchObject([{ label: 'yes' }])
    await bench.agent.close()
  })

  it('loses the oldest of what it cannot hear in time, and never more than it must', async () => {
    const bench = await new Bench().start()
    // A minute at once, within one turn: two seconds of it are kept, beside the stretch that is being heard.
    for (let i = 0; i < 60; i++) bench.agent.live(new Float32Array(16_000), 16_000)
    await new Promise((resolve) => setTimeout(resolve, 200))
    const seconds = bench.of('heard').reduce((sum, message) => sum + message.seconds, 0)
    expect(seconds).toBe(3)
    await bench.agent.close()
  })

  it('says which WAV it does not read and why, and names what it was told beside the sound', async () => {
    const bench = await new Bench().start()
    expect(bench.agent.file('x', Buffer.from('fLaC0000'), true)).toMatchObject({ error: { code: 'wav-other-format' } })
    bench.agent.file('torn.wav', encodeWav(spoken(), 16_000).subarray(0, 20_000), true)
    expect((await bench.played()).seconds).toBeLessThan(1)
    await bench.agent.close()
  })

  it('shows slots, counters and energy; a cell that will not last takes it down the ladder', async () => {
    const bench = await new Bench().start()
    const { view } = bench.of('view')[0]!
    expect(view).toMatchObject({
      ...{ model: 'kws-2', level: 'full', link: 'off', phase: 'confirmed', boot: 1, batteryShare: undefined },
      slots: [
        { model: 'kws-2', confirmed: true, running: true, bytes: BUNDLE.length },
        { model: null, confirmed: false, running: false },
      ],
      update: { phase: 'idle' },
    })
    await bench.agent.close()
    // Two AA cells last a month, but not listening all the time; and with a joule nothing does.
    for (const [joule, levels] of [
      [20_000, ['full', 'gated', 'lite']],
      [1, ['hibernate']],
    ] as const) {
      const poor = await new Bench().start({ kind: 'cell', capacityMj: joule * 1_000 })
      expect(levels).toContain(poor.of('view')[0]!.view.level)
      expect(poor.of('view')[0]!.view.batteryShare).toBeCloseTo(1, 2)
      await poor.agent.close()
    }
  })
})
