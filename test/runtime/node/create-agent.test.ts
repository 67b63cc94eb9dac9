import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { seededRandom } from '../../../contract/random.ts'
import { layoutOf } from '../../../device/core/flash/flash-layout.ts'
import { writeIdentity } from '../../../device/core/flash/identity.ts'
import { type Agent, type AgentOptions, createAgent } from '../../../device/create-agent.ts'
import { drawMachine, SENSOR, senseBearing } from '../../../firmware-sim/bearing.ts'
import { VirtualClock } from '../../../firmware-sim/clock-virtual.ts'
import { FlashNor } from '../../../firmware-sim/flash-nor.ts'
import { SILENT_TRANSPORT } from '../../../firmware-sim/transport-silent.ts'
import { parseWav } from '../../../model/audio/wav.ts'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { EngineTiny } from '../../../model/engine-tiny/engine-tiny.ts'
import { ROOT } from './cli-process.ts'

const bundle = readFileSync(join(ROOT, 'zoo/bundles/kws-2.kinglet'))
const flash = () => new FlashNor({ sizeBytes: 2 * 1024 * 1024 })
const options = (more: Partial<AgentOptions> = {}): AgentOptions => ({
  ...{ device: 'porch-1', site: 'home', board: 'NUCLEO-U575ZI', level: 'full', flash: flash(), bundle },
  ...{ engine: new EngineOrtNode(), transport: SILENT_TRANSPORT, clock: new VirtualClock(Date.UTC(2026, 0, 1)) },
  ...more,
})
const agents: Agent[] = []
afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop(0)
})
const made = async (more: Partial<AgentOptions> = {}): Promise<Agent> => {
  const agent = await createAgent(options(more))
  if (!agent.ok) throw new Error(`${agent.error.code}: ${agent.error.detail}`)
  agents.push(agent.value)
  return agent.value
}

/** A second of silence, the word, and silence. */
const yes = (): Float32Array => {
  const word = parseWav(readFileSync(join(ROOT, 'zoo/bank/keyword/yes/yes-6.wav')))
  if (!word.ok) throw new Error(word.error.detail)
  const sound = new Float32Array(48_000)
  sound.set(word.value.samples, 16_000)
  return sound
}

describe('an agent as a library', () => {
  it('hears a word, however the sound is cut, tells its name, and says what runs', async () => {
    const told: string[] = []
    const agent = await made({ onWake: ({ label }) => told.push(label) })
    expect(agent.model).toEqual({ name: 'kws-2', version: 2 })
    expect(agent.level).toBe('full')
    const sound = yes()
    const wakes: string[] = []
    for (let at = 0; at < sound.length; at += 777) {
      const heard = await agent.hear(sound.subarray(at, at + 777))
      if (!heard.ok) throw new Error(heard.error.detail)
      for (const { label, posteriorPermille } of heard.value) {
        wakes.push(label)
        expect(posteriorPermille).toBeGreaterThan(600)
      }
    }
    expect(wakes).toEqual(['yes'])
    expect(told).toEqual(wakes)
    expect(agent.state?.measures.counters).toBeDefined()
  })

  it('feels a bearing as it hears a word: vectors go in, however they are cut, and at the default level, which its bundle lacks', async () => {
    const random = seededRandom(2)
    const floor = { turningG: 0, strokesPerSecond: 0, strokeG: 0 }
    const [sound, worn] = [0, 0.9].map((wear) =>
      senseBearing(drawMachine(random), { wear, load: 0.7, shaftHz: 25, floor }, SENSOR.rateHz * 10, random),
    )
    const { level: _none, ...defaults } = options()
    const agent = await createAgent({
      ...{ ...defaults, engine: new EngineTiny() },
      bundle: readFileSync(join(ROOT, 'zoo/bundles/bearing-1.kinglet')),
    })
    if (!agent.ok) throw new Error(agent.error.detail)
    agents.push(agent.value)
    expect(agent.value.level).toBe('lite')
    const alarms: (readonly string[])[] = []
    for (const vectors of [sound!, worn!]) {
      const labels: string[] = []
      for (let at = 0; at < vectors.length; at += 1_000) {
        const felt = await agent.value.hear(vectors.subarray(at, at + 1_000))
        if (!felt.ok) throw new Error(felt.error.detail)
        labels.push(...felt.value.map(({ label }) => label))
      }
      alarms.push(labels)
    }
    expect(alarms).toEqual([[], ['anomaly']])
    // Its steady shake is no fault of a microphone, and gravity no loud background.
    expect(agent.value.state?.microphone.health.fault).toBeNull()
  })

  it('boots what its flash holds, and does not flash it anew', async () => {
    const chip = flash()
    await (await made({ flash: chip })).stop(0)
    const operations = chip.operations
    const again = await made({ flash: chip, bundle: readFileSync(join(ROOT, 'zoo/bundles/kws-1.kinglet')) })
    expect(again.model?.name).toBe('kws-2')
    // A boot writes its record, not 70 kB.
    expect(chip.operations - operations).toBeLessThan(8)
  })

  it('speaks in the name that its key is enrolled under, and in no other', async () => {
    const chip = flash()
    const layout = layoutOf(chip)
    if (!layout.ok) throw new Error(layout.error.detail)
    const active = new Uint8Array(32).fill(7)
    writeIdentity(chip, layout.value, {
      device: 'porch-1',
      site: 'home',
      board: 'NUCLEO-U575ZI',
      active,
      pending: undefined,
    })
    const { device: _, site: __, ...nameless } = options({ flash: chip })
    const agent = await createAgent(nameless)
    if (!agent.ok) throw new Error(agent.error.detail)
    agents.push(agent.value)
    expect(agent.value.state?.config).toMatchObject({ device: 'porch-1', site: 'home' })
    expect(agent.value.state?.config.sign).toBeTypeOf('function')
    await agent.value.stop(0)
    for (const other of [{ device: 'porch-2' }, { site: 'work' }]) {
      expect(await createAgent(options({ flash: chip, ...other }))).toMatchObject({
        error: { code: 'invalid-request', detail: expect.stringContaining('holds the key of porch-1 at home') },
      })
    }
  })

  it('refuses what it cannot be, with the cause', async () => {
    const refusal = async (more: Partial<AgentOptions>) => {
      const agent = await createAgent(options(more))
      return agent.ok ? 'made' : `${agent.error.code}: ${agent.error.detail}`
    }
    expect(await refusal({ board: 'toaster' })).toBe('wrong-board: no board is called "toaster"')
    expect(await refusal({ radio: 'pigeon' })).toBe('invalid-request: no radio is called "pigeon"')
    expect(await refusal({ flash: new FlashNor({ sizeBytes: 8_192 }) })).toMatch(/^flash-over-budget/)
    const { bundle: _, ...empty } = options()
    expect(await createAgent(empty)).toMatchObject({ error: { code: 'no-fallback-slot' } })
    const { device: __, ...nameless } = options()
    expect(await createAgent(nameless)).toMatchObject({ error: { code: 'invalid-request' } })
    expect(await refusal({ bundle: new Uint8Array(100) })).not.toBe('made')
  })
})
