import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Store } from '../../../../cloud/store/store.ts'
import { compareVerdicts, suspicion, WakeAudit } from '../../../../cloud/telemetry/wake-audit.ts'
import { attestedBy } from '../../../../cloud/trust/attestation.ts'
import { bytesToHex, hexToBytes } from '../../../../contract/bytes.ts'
import type { Wake } from '../../../../contract/messages.ts'
import { type SeededRandom, seededRandom } from '../../../../contract/random.ts'
import { keyIdOf } from '../../../../contract/signed.ts'
import { SITE } from '../../../fixtures/documents.ts'
import { decodedWake, SigningDevice } from '../../../fixtures/signing-device.ts'
import { batchOf, HOUR, T0 } from '../../../fixtures/synthetic-fleet.ts'

/** What the verifier says: two of three wakes are keywords. */
const verifier = ({ features }: Pick<Wake, 'features'>): boolean => (features[0] ?? 0) % 3 !== 0
const GATEWAY = 'gateway-1'

interface Behaviour {
  /** the verdict it says on a wake */
  readonly verdict: (isConfirmed: boolean, random: SeededRandom) => boolean
  /** whether it brings a wake when asked */
  readonly brings?: (isConfirmed: boolean) => boolean
  /** whether it says anything of the wakes of a device */
  readonly says?: (device: number) => boolean
}
const honest: Behaviour = { verdict: (isConfirmed) => isConfirmed }

/** A site of a gateway and its devices, hour by hour, under a cloud that checks. */
class Site {
  readonly dir = mkdtempSync(join(tmpdir(), 'kinglet-audit-'))
  readonly store = new Store(join(this.dir, 'cloud.db'), T0)
  readonly random: SeededRandom
  readonly devices: SigningDevice[]
  readonly audit: WakeAudit
  quarantined: string | undefined
  checked = 0
  readonly #behaviour: Behaviour
  #hours = 0

  constructor(count: number, seed: number, behaviour: Behaviour) {
    this.random = seededRandom(seed)
    this.#behaviour = behaviour
    this.store.gateways.enrol(GATEWAY, [SITE], null, T0)
    this.devices = Array.from({ length: count }, (_, i) => {
      const device = new SigningDevice(`dev-${i}`, 1 + ((seed * count + i) % 250))
      const { id } = this.store.devices.enrol({ name: device.device, site: SITE, board: 'b', tags: [] }, T0)
      const { publicKey } = device.key.public
      this.store.identities.addKey({
        ...{ keyId: keyIdOf(hexToBytes(publicKey)) + i, publicKey, device: id, sinceMs: 0 },
      })
      return device
    })
    this.audit = new WakeAudit({
      store: this.store,
      random: { bytes: (n) => Uint8Array.from({ length: n }, () => Math.floor(256 * this.random.next())) },
      judge: (wake) => Promise.resolve(verifier(wake)),
      quarantine: (gateway, reason) => {
        this.quarantined ??= reason
        this.store.gateways.quarantine(gateway, reason, T0)
      },
    })
  }

  async hour(): Promise<void> {
    const slot = this.#hours++
    const nowMs = T0 + this.#hours * HOUR
    const reports = []
    const verdicts = []
    for (const [i, device] of this.devices.entries()) {
      const before = { wakes: device.wakes.length, reports: device.reports.length }
      device.hour(Math.floor(4 * this.random.next()), () => Uint8Array.of(Math.floor(250 * this.random.next()), 1))
      reports.push(...device.reports.slice(before.reports))
      const said = device.wakes
        .slice(before.wakes)
        .map((wake) => this.#behaviour.verdict(verifier(decodedWake(wake)), this.random))
      const confirmed = said.filter(Boolean).length
      if (said.length === 0 || this.#behaviour.says?.(i) === false) continue
      verdicts.push({ ...device.verdicts(slot, confirmed, said.length - confirmed), revision: 1 })
    }
    const names = this.devices.map(({ device }) => device)
    this.store.gateways.heard(GATEWAY, names, reports.length, 0, nowMs)
    this.store.telemetry.ingest({ ...batchOf({ reports, verdicts }), gateway: GATEWAY }, attestedBy, nowMs)
    this.audit.look(nowMs)
    const { brings = () => true } = this.#behaviour
    for (const { id, device: name, first, last } of this.audit.asked(GATEWAY).checks) {
      const device = this.devices.find(({ device }) => device === name)!
      const wakes = device.wakes.slice(first - 1, last).filter((wake) => brings(verifier(decodedWake(wake))))
      await this.audit.answer(GATEWAY, id, wakes.map(bytesToHex))
      if (this.quarantined === undefined) this.checked++
    }
  }

  /** @returns hours until it was quarantined */
  async until(hours: number): Promise<number | undefined> {
    for (let hour = 1; hour <= hours; hour++) {
      await this.hour()
      if (this.quarantined !== undefined) return hour
    }
    return undefined
  }

  close(): void {
    this.store.close()
    rmSync(this.dir, { recursive: true })
  }
}

describe('wakes that are judged twice', () => {
  const sites: Site[] = []
  afterEach(() => {
    for (const site of sites.splice(0)) site.close()
  })
  const site = (...args: ConstructorParameters<typeof Site>): Site => {
    sites.push(new Site(...args))
    return sites.at(-1)!
  }

  it('a gateway that turns verdicts round is found at the third wake', async () => {
    expect(suspicion({ wakes: 2, differ: 2, devices: [] })).toBeUndefined()
    expect(suspicion({ wakes: 3, differ: 3, devices: [] })).toContain('3 of 3 verdicts')
    const lying = site(8, 1, { verdict: (isConfirmed) => !isConfirmed })
    expect(await lying.until(12)).toBeLessThanOrEqual(8)
    expect(lying.quarantined).toMatch(/^(\d+) of \d+ verdicts differ/)
    expect(lying.store.gateways.byName(GATEWAY)).toMatchObject({ state: 'quarantined' })
    expect(lying.store.gateways.isHeldOut(lying.store.devices.byName('dev-0')!.id)).toBe(true)
  })

  it('so is one that only says that all are false wakes, and one that turns a third round', async () => {
    expect(await site(8, 2, { verdict: () => false }).until(12)).toBeLessThanOrEqual(10)
    const some = site(8, 3, { verdict: (isConfirmed, random) => (random.next() < 0.34 ? !isConfirmed : isConfirmed) })
    expect(await some.until(24)).toBeDefined()
  })

  it('one that does not bring what speaks against it, or does not judge, is found by what is wanting', async () => {
    const hiding = site(8, 4, { verdict: () => false, brings: (isConfirmed) => !isConfirmed })
    expect(await hiding.until(16)).toBeDefined()
    expect(hiding.quarantined).toMatch(/devices have signed were not to be had/)
    // One device alone accuses nobody.
    const one = { checks: 50, wanting: 50 }
    const others = Array.from({ length: 7 }, () => ({ checks: 50, wanting: 1 }))
    expect(suspicion({ wakes: 0, differ: 0, devices: [one, ...others] })).toBeUndefined()
    expect(suspicion({ wakes: 0, differ: 0, devices: [one, one, one, ...others] })).toContain('10 devices')
    const silent = site(8, 5, { ...honest, says: (device) => device < 3 })
    expect(await silent.until(16)).toBeDefined()
    expect(silent.quarantined).toMatch(/not judged$/)
  })

  it('one that brings other wakes in their place brings none', async () => {
    const made = site(4, 6, honest)
    for (let hour = 0; hour < 4; hour++) await made.hour()
    for (const device of made.devices) device.wakes.reverse()
    expect(await made.until(12)).toBeDefined()
  })

  it('an honest one is not, over many seeds; nor one whose engine rounds otherwise at the threshold', async () => {
    for (let seed = 10; seed < 18; seed++) {
      const one = site(
        6,
        seed,
        seed % 2 === 0
          ? honest
          : {
              verdict: (isConfirmed, random) => (random.next() < 0.03 ? !isConfirmed : isConfirmed),
            },
      )
      expect([seed, await one.until(14), one.quarantined]).toEqual([seed, undefined, undefined])
      expect(one.checked).toBeGreaterThan(3)
    }
  })

  it('no honest gateway is in danger by looking often: at most one of two hundred, at the chance that is allowed', () => {
    let found = 0
    for (let seed = 0; seed < 2_000; seed++) {
      const random = seededRandom(seed)
      let differ = 0
      for (let wakes = 1; wakes <= 500; wakes++) {
        if (random.next() < 0.05) differ++
        if (suspicion({ wakes, differ, devices: [] }) === undefined) continue
        found++
        break
      }
    }
    expect(found / 2_000).toBeLessThanOrEqual(0.005)
  })

  it('counts compare by the least in which they can differ', () => {
    const of = (confirmed: number, rejected: number) => ({ confirmed, rejected })
    expect(compareVerdicts(of(3, 2), of(3, 2), true)).toEqual({ wakes: 5, differ: 0, wanting: false })
    expect(compareVerdicts(of(0, 5), of(3, 2), true)).toEqual({ wakes: 5, differ: 3, wanting: false })
    expect(compareVerdicts(of(0, 2), of(3, 2), true)).toEqual({ wakes: 2, differ: 0, wanting: true })
    expect(compareVerdicts(of(0, 5), of(0, 2), false)).toEqual({ wakes: 2, differ: 0, wanting: true })
    expect(compareVerdicts(of(0, 5), of(2, 2), false)).toEqual({ wakes: 4, differ: 2, wanting: true })
  })

  it('an answer that nobody asked for, or that comes twice, counts nothing', async () => {
    const one = site(4, 7, honest)
    expect(await one.audit.answer(GATEWAY, 1, [])).toMatchObject({ ok: false, error: { code: 'not-found' } })
    for (let hour = 0; hour < 6; hour++) await one.hour()
    const before = one.store.wakeChecks.sums(GATEWAY)
    expect(await one.audit.answer('gateway-2', 1, [])).toMatchObject({ ok: false })
    expect(await one.audit.answer(GATEWAY, 1, [])).toMatchObject({ ok: false })
    expect(one.store.wakeChecks.sums(GATEWAY)).toEqual(before)
  })
})
