import { describe, expect, it } from 'vitest'
import { LADDER_LEVELS, type LadderLevel } from '../../../../../contract/ladder-levels.ts'
import { PureAgent } from '../../../../fixtures/agent.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

/** Where an agent starts that is told a level, on a model with some. */
const startsAt = (told: LadderLevel, has: readonly LadderLevel[]): string => {
  const ladder = pipelineSample.ladder.filter(({ level }) => has.includes(level))
  const agent = new PureAgent({ manifest: { ...pipelineSample, ladder } }, { fixedLevel: told })
  return LADDER_LEVELS[agent.state.governor.level]!
}

describe('the level that an agent is told', () => {
  it.each<[LadderLevel, LadderLevel[], string]>([
    ['gated', ['full', 'gated', 'lite'], 'gated'],
    // Without it: the next one below, or the last above, for a device that runs no network is deaf.
    ['gated', ['full', 'lite', 'sparse'], 'lite'],
    ['gated', ['full'], 'full'],
    ['sparse', ['full', 'gated'], 'gated'],
    ['hibernate', ['full'], 'hibernate'],
  ])('%s of %j is %s', (told, has, starts) => {
    expect(startsAt(told, has)).toBe(starts)
  })
})
