import { describe, expect, it } from 'vitest'
import { LADDER_LEVELS } from '../../../../../contract/ladder-levels.ts'
import type { AgentConfig } from '../../../../../device/core/agent/agent-state.ts'
import { ofType, PureAgent } from '../../../../fixtures/agent.ts'
import { ISSUED_MS } from '../../../../fixtures/documents.ts'

const LOOK_MS = 10 * 60_000
const heat = { maxCelsius: 60, hysteresisCelsius: 5 }
/** Levels after each look, ten minutes apart. */
function levels(agent: PureAgent, looks: readonly (number | undefined)[]): string[] {
  return looks.map((celsius) => {
    agent.celsius = celsius
    agent.nowMs += LOOK_MS
    agent.send({ type: 'tick' })
    return LADDER_LEVELS[agent.state.governor.level]!
  })
}
const agentOf = (config: Partial<AgentConfig> = {}) => new PureAgent({}, { heat, ...config })
const told = (agent: PureAgent) =>
  ofType(agent.all, 'tell-event')
    .filter(({ code }) => code === 'level-changed')
    .map(({ detail }) => detail)

describe('a device that gets too warm', () => {
  it('on mains steps down from the level that was chosen, hibernates at last, and comes back to it, no higher', () => {
    const agent = agentOf({ fixedLevel: 'gated' })
    expect(levels(agent, [50, 61, 65, 65, 58, 54, 54, 54, 54])).toEqual([
      'gated',
      'lite',
      'sparse',
      'hibernate',
      'hibernate',
      'sparse',
      'lite',
      'gated',
      'gated',
    ])
    expect(told(agent)).toEqual([
      'gated to lite: 61 °C, at most 60',
      'lite to sparse: 65 °C, at most 60',
      'sparse to hibernate: 65 °C, at most 60',
      'hibernate to sparse: 54 °C again',
      'sparse to lite: 54 °C again',
      'lite to gated: 54 °C again',
    ])
    expect(agent.state.measures.counters.ladderMoves).toBe(6)
  })

  it('with a battery that would last is held below the best level, and goes up again as the governor does', () => {
    const power = { capacityMj: 1e9, horizonMs: ISSUED_MS + 48 * 3_600_000 }
    const agent = new PureAgent({ batteryMj: 1e9 }, { heat, power })
    expect(LADDER_LEVELS[agent.state.governor.level]).toBe('full')
    expect(levels(agent, [61, 65])).toEqual(['gated', 'lite'])
    // Cool again: the governor waits two hours before it goes up.
    const cool = levels(agent, new Array<number>(14).fill(50))
    expect(cool.slice(0, 11)).toEqual(new Array(11).fill('lite'))
    expect(cool.at(-1)).toBe('full')
  })

  it('without a limit, or where it is not governed, does nothing, and one that cannot be read changes nothing', () => {
    expect(levels(agentOf({ heat: null }), [90, 90])).toEqual(['full', 'full'])
    expect(levels(agentOf({ governed: false }), [90, 90])).toEqual(['full', 'full'])
    expect(levels(agentOf(), [undefined, 90, undefined, undefined])).toEqual(['full', 'gated', 'gated', 'gated'])
  })
})
