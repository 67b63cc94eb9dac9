import { describe, expect, it } from 'vitest'
import { deviceCondition } from '../../../../cloud/store/device-conditions.ts'
import { Store } from '../../../../cloud/store/store.ts'
import { parseDeviceQuery } from '../../../../contract/device-query.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

const store = new Store(':memory:', T0)
const names = Array.from({ length: 25 }, (_, i) => `d-${String(i).padStart(2, '0')}`)
store.atomically(() => {
  for (const [i, name] of names.entries()) {
    store.devices.enrol({ name, site: i % 10 === 9 ? 'rare' : 'common', board: 'b', tags: [], family: 'default' }, T0)
  }
})
function conditionOf(text: string) {
  const terms = parseDeviceQuery(text)
  if (!terms.ok) throw new Error(terms.error.detail)
  return deviceCondition(terms.value, new Map(), T0)
}
/** All pages. */
function pages(limit: number, text: string, scan: number): string[][] {
  const found: string[][] = []
  for (let after: string | null = ''; after !== null; ) {
    const page = store.devices.page(limit, after, conditionOf(text), scan)
    found.push(page.devices.map(({ name }) => name))
    after = page.next
  }
  return found
}

describe('pages of devices', () => {
  it('look at a bounded number of rows each, and leave none out', () => {
    expect(pages(100, 'site:rare', 10)).toEqual([['d-09'], ['d-19'], []])
    expect(pages(100, 'site:nowhere', 10)).toEqual([[], [], []])
    expect(pages(4, 'site:common', 10).flat()).toEqual(names.filter((_, i) => i % 10 !== 9))
    expect(pages(5, '', 5).flat()).toEqual(names)
    // The last row is the last of a scan, and of a page.
    expect(pages(25, '', 25)).toEqual([names, []])
  })

  it('ask every field by one statement that the store takes', () => {
    const all =
      'device:d-* site:* board:b family:default -tag:x -model:x -target:x rollout:* arm:none -level:full key:no pinned:no -battery<50 silent>1m'
    expect(store.devices.page(100, '', conditionOf(all)).devices).toHaveLength(names.length)
  })
})
