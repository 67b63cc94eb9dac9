import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { GatewayClaimFile } from '../../../../contract/enrolment.ts'
import { GatewayIdentity } from '../../../../gateway/cloud-link/gateway-identity.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-identity-'))
afterAll(() => rmSync(dir, { recursive: true }))
const claim: GatewayClaimFile = {
  ...{ v: 1, claim: 'a'.repeat(16), secret: 'b'.repeat(64) },
  ...{ gateway: 'gw-1', sites: ['lab'], expiresMs: 2_000_000_000_000 },
}
let drawn = 0
const random = { bytes: (length: number) => new Uint8Array(length).fill(++drawn) }
const open = (given?: GatewayClaimFile) => GatewayIdentity.open(dir, given, random)

describe('the identity of a gateway', () => {
  it('is none without a claim, and of the claim once there was one', () => {
    expect(open()).toBeUndefined()
    expect(open(claim)?.gateway).toBe('gw-1')
    expect(open()?.gateway).toBe('gw-1')
    // The same claim again makes no second key.
    open(claim)
    expect(drawn).toBe(1)
    expect(() => open({ ...claim, gateway: 'gw-2' })).toThrow(/is the folder of gateway gw-1, the claim is for gw-2/)
  })

  it('is taken from others who can read it, which is told; once it is its owner’s nothing is', () => {
    const identity = open()
    const [file = ''] = readdirSync(dir)
    const path = join(dir, file)
    expect(identity?.path).toBe(path)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(identity?.keepToOwner()).toBeUndefined()
    chmodSync(path, 0o644)
    expect(identity?.keepToOwner()).toMatch(
      /holds a secret, and others could get at it \(mode 0644\): it is mode 0600 now/,
    )
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(identity?.keepToOwner()).toBeUndefined()
    // A folder whose file was taken away has nothing to tell.
    rmSync(path)
    expect(identity?.keepToOwner()).toBeUndefined()
  })
})
