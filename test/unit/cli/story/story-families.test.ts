import { describe, expect, it } from 'vitest'
import { storyBundle } from '../../../../cli/story/story-bundles.ts'
import { FAMILIES, familyOf, HARMED_BOARD, ONE_FAMILY } from '../../../../cli/story/story-families.ts'
import { decodeBundle } from '../../../../contract/bundle.ts'
import { sha256Hex } from '../../../../contract/bytes.ts'
import { seededRandom } from '../../../../contract/random.ts'
import { planFleet } from '../../../../firmware-sim/fleet-plan.ts'

describe('the story of three families', () => {
  it.each([1, 2, 3])(
    'gives each what a control takes, at every site, and all of one board to one (seed %i)',
    (seed) => {
      const specs = planFleet(720, 0, seededRandom(seed).fork('fleet'))
      const of = specs.map((spec, i) => ({ spec, family: familyOf(FAMILIES, spec, i).name }))
      for (const { name } of FAMILIES) {
        const own = of.filter(({ family }) => family === name)
        const counted = own.filter(({ spec }) => name !== 'yard' || spec.board.name !== HARMED_BOARD)
        expect(counted.length).toBeGreaterThanOrEqual(120)
        expect(new Set(own.map(({ spec }) => spec.site)).size).toBe(12)
      }
      const harmed = of.filter(({ spec }) => spec.board.name === HARMED_BOARD)
      expect(new Set(harmed.map(({ family }) => family))).toEqual(new Set(['yard']))
      expect(harmed.length).toBeGreaterThan(60)
      expect(new Set(specs.map((spec, i) => familyOf(ONE_FAMILY, spec, i).name))).toEqual(new Set(['default']))
    },
  )

  it('has bundles of the zoo’s networks under names of their own, for the boards that each is for', () => {
    const [hall1, hall2, yard1, yard2, yard3] = ['hall-1', 'hall-2', 'yard-1', 'yard-2', 'yard-3'].map(storyBundle)
    const graphs = (name: string) => {
      const sections = decodeBundle(storyBundle(name).bytes)
      if (!sections.ok) throw new Error(sections.error.detail)
      return [...sections.value].filter(([section]) => section.startsWith('graph')).map(([, data]) => sha256Hex(data))
    }
    expect(graphs('hall-1')).toEqual(graphs('kws-1'))
    expect([graphs('hall-2'), graphs('yard-3')]).toEqual([graphs('kws-regressed'), graphs('kws-regressed')])
    expect(graphs('yard-2')).toEqual(graphs('kws-2'))
    expect(hall2?.manifest).toMatchObject({ name: 'hall-2', version: 2, parent: sha256Hex(hall1!.bytes) })
    expect([hall1?.manifest.parent, yard1?.manifest.parent]).toEqual([null, null])
    expect(yard2?.manifest.parent).toBe(sha256Hex(yard1!.bytes))
    expect(yard3?.manifest.boards).toEqual([HARMED_BOARD])
    expect([...yard2!.manifest.boards, HARMED_BOARD].sort()).toEqual([...yard1!.manifest.boards].sort())
  })
})
