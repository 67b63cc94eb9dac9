import { describe, expect, it } from 'vitest'
import type { LadderLevel } from '../../../../contract/ladder-levels.ts'
import type { AgentEvent } from '../../../../device/core/agent/agent-state.ts'
import { Ears } from '../../../../device/core/ears.ts'
import type { AgentHost } from '../../../../device/core/host.ts'
import type { Heard } from '../../../../device/core/listen/heard.ts'
import { mfccDefinitionV1 } from '../../../../model/features/mfcc-definition.ts'
import type { OpenedBundle } from '../../../../model/opened-bundle.ts'
import { pipelineSample } from '../../../fixtures/manifest.ts'
import { posteriorsOf, SessionFake } from '../../../fixtures/session.ts'

const silence = () => new SessionFake(() => posteriorsOf('silence', 1))
const bundleOf = (sessions: Readonly<Record<string, SessionFake>>): OpenedBundle => ({
  manifest: pipelineSample,
  definition: mfccDefinitionV1,
  definitions: [mfccDefinitionV1],
  sections: new Map(),
  sessions: new Map(Object.entries(sessions)),
  dispose: async () => {
    for (const session of Object.values(sessions)) await session.dispose()
  },
})

/** What ears see of a host: which bundle runs at which level, and whom to tell. */
class HostFake {
  bundle: OpenedBundle | undefined
  level: LadderLevel | undefined = 'full'
  readonly counted: Heard[] = []
  readonly events: AgentEvent[] = []

  constructor(bundle?: OpenedBundle) {
    this.bundle = bundle
  }

  hear(heard: Heard): boolean {
    this.counted.push(heard)
    return true
  }

  dispatch(event: AgentEvent): void {
    this.events.push(event)
  }

  ears(options?: ConstructorParameters<typeof Ears>[1]): Ears {
    return new Ears(this as unknown as AgentHost, options)
  }
}

const audio = (ms: number) => new Float32Array(ms * 16)
const NOTHING = { ok: true, value: undefined }

describe('ears', () => {
  it('have the agent count what was heard, after time has moved on', async () => {
    const host = new HostFake(bundleOf({ full: silence() }))
    const order: string[] = []
    const heard = await host.ears().hear(audio(1_200), ({ elapsedMs }) => {
      order.push(`${elapsedMs} ms, ${host.counted.length} counted`)
    })
    expect(heard).toMatchObject({ ok: true, value: { windows: 2, inferences: 2 } })
    expect(order).toEqual(['1200 ms, 0 counted'])
    expect(host.counted).toHaveLength(1)
    expect(host.counted[0]).toBe(heard.ok && heard.value)
    expect(host.events).toEqual([])
  })

  it('go on listening from stretch to stretch while bundle and level stay', async () => {
    const host = new HostFake(bundleOf({ full: silence() }))
    const ears = host.ears()
    await ears.hear(audio(600))
    await ears.hear(audio(600))
    expect(host.counted.map(({ windows }) => windows)).toEqual([0, 2])
  })

  it('begin anew with another level, on the graph of that level', async () => {
    const [full, lite] = [silence(), silence()]
    const host = new HostFake(bundleOf({ full, lite }))
    const ears = host.ears()
    await ears.hear(audio(900))
    host.level = 'sparse'
    await ears.hear(audio(900))
    expect(host.counted.map(({ windows }) => windows)).toEqual([0, 0])
    // A sound after silence opens the gate of the second sparse window.
    await ears.hear(Float32Array.from([...audio(9_100), ...new Float32Array(16_000).fill(0.1)]))
    expect([full.runs, lite.runs]).toEqual([0, 1])
  })

  it('begin anew with another bundle of the same level', async () => {
    const [before, after] = [silence(), silence()]
    const host = new HostFake(bundleOf({ full: before }))
    const ears = host.ears()
    await ears.hear(audio(900))
    host.bundle = bundleOf({ full: after })
    await ears.hear(audio(1_000))
    expect([before.runs, after.runs]).toEqual([0, 1])
  })

  it.each<[string, (host: HostFake) => void]>([
    [
      'between a reset and the next boot',
      (host) => {
        host.bundle = undefined
      },
    ],
    [
      'at a level of which nothing is known',
      (host) => {
        host.level = undefined
      },
    ],
    [
      'hibernating',
      (host) => {
        host.level = 'hibernate'
      },
    ],
    [
      'at a level without a graph',
      (host) => {
        host.level = 'lite'
      },
    ],
  ])('hear nothing %s, and hear again after it', async (_when, change) => {
    const session = silence()
    const bundle = bundleOf({ full: session })
    const host = new HostFake(bundle)
    const ears = host.ears()
    change(host)
    let called = 0
    const counted = () => {
      called++
    }
    expect(await ears.hear(audio(2_000), counted)).toEqual(NOTHING)
    expect([called, host.counted, host.events, session.runs]).toEqual([0, [], [], 0])
    Object.assign(host, { bundle, level: 'full' })
    expect(await ears.hear(audio(1_000))).toMatchObject({ ok: true, value: { windows: 1 } })
  })

  it('are silent about a bundle that was replaced while they listened to it', async () => {
    const after = silence()
    const before: SessionFake = new SessionFake((run) => {
      if (run > 0) return posteriorsOf('silence', 1)
      void host.bundle?.dispose()
      host.bundle = bundleOf({ full: after })
      return posteriorsOf('silence', 1)
    })
    const host: HostFake = new HostFake(bundleOf({ full: before }))
    const ears = host.ears()
    expect(await ears.hear(audio(3_000))).toEqual(NOTHING)
    expect([before.runs, host.counted, host.events]).toEqual([2, [], []])
    expect(await ears.hear(audio(1_000))).toMatchObject({ ok: true, value: { windows: 1 } })
    expect(after.runs).toBe(1)
  })

  it.each(['engine-run-failed', 'engine-bad-input'] as const)('tell the agent once of %s', async (code) => {
    const host = new HostFake(bundleOf({ full: new SessionFake((run) => (run === 1 ? code : posteriorsOf('go', 0))) }))
    const ears = host.ears()
    const detail = 'graph "full": run 1'
    const error = { code, detail }
    expect(await ears.hear(audio(3_000))).toEqual({ ok: false, error })
    expect(host.events).toEqual([{ type: 'engine-failed', error: { code: 'inference-failed', detail } }])
    expect(host.counted).toEqual([])
    // It goes on as far as it can.
    expect((await ears.hear(audio(1_000))).ok).toBe(true)
    expect(host.counted).toHaveLength(1)
    expect(host.events).toHaveLength(1)
  })

  it('drop what comes due too late where audio does not wait', async () => {
    let nowMs = 0
    const clock = { wallMs: () => nowMs, monotonicMs: () => nowMs, after: () => () => undefined }
    const slow = () =>
      new SessionFake(() => {
        nowMs += 400
        return posteriorsOf('silence', 1)
      })
    const host = new HostFake(bundleOf({ full: slow() }))
    expect(await host.ears({ clock }).hear(audio(1_400))).toMatchObject({ value: { inferences: 2, overruns: 1 } })
    expect(await host.ears().hear(audio(1_400))).toMatchObject({ value: { inferences: 3, overruns: 0 } })
  })
})
