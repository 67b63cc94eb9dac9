import { describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

describe('gateways', () => {
  it('are known by what they send: first and last time, rows and sites add up; a list goes on after a name', () => {
    const { gateways } = new Store(':memory:', T0)
    gateways.heard('gw-b', ['lab'], 3, T0)
    gateways.heard('gw-a', [], 0, T0 + 1)
    gateways.heard('gw-b', ['hall', 'lab'], 4, T0 + 5)
    // A clock that was set back does not make a gateway silent.
    gateways.heard('gw-b', [], 1, T0 + 2)
    const b = { name: 'gw-b', firstMs: T0, lastMs: T0 + 5, rows: 8, sites: ['hall', 'lab'] }
    expect(gateways.byName('gw-b')).toEqual(b)
    expect(gateways.list(10).map(({ name }) => name)).toEqual(['gw-a', 'gw-b'])
    expect(gateways.list(1, 'gw-a')).toEqual([b])
    expect(gateways.byName('gw-c')).toBeUndefined()
  })

  it('what names more sites than a gateway has keeps a row of bounded size', () => {
    const { gateways } = new Store(':memory:', T0)
    gateways.heard(
      'gw',
      Array.from({ length: 500 }, (_, i) => `site-${i}`),
      1,
      T0,
    )
    expect(gateways.byName('gw')?.sites).toHaveLength(64)
  })
})
