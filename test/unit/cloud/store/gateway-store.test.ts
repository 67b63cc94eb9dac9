import { describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { T0 } from '../../../fixtures/synthetic-fleet.ts'

const KEY = { keyId: 'a'.repeat(64), publicKey: 'b'.repeat(64) }

describe('gateways', () => {
  it('are enrolled for their sites; what they send adds up; a list goes on after a name', () => {
    const { gateways } = new Store(':memory:', T0)
    gateways.enrol('gw-b', ['lab', 'hall', 'lab'], KEY, T0)
    gateways.enrol('gw-a', ['yard'], null, T0)
    gateways.heard('gw-b', [], 3, 0, T0)
    gateways.heard('gw-b', [], 4, 2, T0 + 5)
    // A clock that was set back does not make a gateway silent.
    gateways.heard('gw-b', [], 1, 0, T0 + 2)
    // Who is not enrolled is not made known by speaking.
    gateways.heard('gw-c', [], 1, 0, T0)
    const b = {
      ...{ name: 'gw-b', state: 'active', sites: ['hall', 'lab'], ...KEY, enrolledMs: T0, tokensSinceMs: T0 },
      ...{ quarantinedMs: null, revokedMs: null, reason: null, firstMs: T0, lastMs: T0 + 5, rows: 8, refused: 2 },
    }
    expect(gateways.byName('gw-b')).toEqual(b)
    expect(gateways.list(10).map(({ name }) => name)).toEqual(['gw-a', 'gw-b'])
    expect(gateways.list(1, 'gw-a')).toEqual([b])
    expect(gateways.byName('gw-c')).toBeUndefined()
    expect(gateways.hasKey(KEY.keyId)).toBe(true)
  })

  it('enrolled anew have the sites and the key of then, and a quarantine stays', () => {
    const { gateways } = new Store(':memory:', T0)
    gateways.enrol('gw', ['lab'], KEY, T0)
    expect(gateways.quarantine('gw', 'lies', T0 + 1)).toBe(true)
    expect(gateways.quarantine('gw', 'lies again', T0 + 2)).toBe(false)
    expect(gateways.revoke('gw', 'gone', T0 + 3)).toBe(true)
    expect(gateways.byName('gw')).toMatchObject({ state: 'revoked', quarantinedMs: T0 + 1, revokedMs: T0 + 3 })
    gateways.enrol('gw', ['yard'], null, T0 + 4)
    expect(gateways.byName('gw')).toMatchObject({
      ...{ state: 'quarantined', sites: ['yard'], keyId: null, tokensSinceMs: T0 + 4, revokedMs: null },
    })
    expect(gateways.release('gw')).toBe(true)
    expect(gateways.release('gw')).toBe(false)
    expect(gateways.byName('gw')?.state).toBe('active')
  })

  it('in quarantine hold out the devices of their sites, and those of which they brought rows before these moved', () => {
    const { gateways, devices } = new Store(':memory:', T0)
    const enrol = (name: string, site: string) => devices.enrol({ name, site, board: 'b', tags: [] }, T0).id
    const [here, there, moved] = [enrol('here', 'lab'), enrol('there', 'yard'), enrol('moved', 'lab')]
    gateways.enrol('gw', ['lab'], KEY, T0)
    gateways.enrol('other', ['yard'], null, T0)
    gateways.heard('gw', ['here', 'moved'], 2, 0, T0)
    gateways.heard('other', ['there'], 1, 0, T0)
    enrol('moved', 'yard')
    expect([here, there, moved].map((id) => gateways.isHeldOut(id))).toEqual([false, false, false])
    gateways.quarantine('gw', 'lies', T0)
    expect([here, there, moved].map((id) => gateways.isHeldOut(id))).toEqual([true, false, true])
    gateways.release('gw')
    expect([here, there, moved].map((id) => gateways.isHeldOut(id))).toEqual([false, false, false])
  })
})
