import type { z } from '@hono/zod-openapi'
import { hexToBytes } from '../../contract/bytes.ts'
import { present } from '../../contract/present.ts'
import { keyIdOf } from '../../contract/signed.ts'
import { familyOfDevice } from '../family.ts'
import type { MintedToken } from '../trust/tokens.ts'
import { admitDevice } from './device-admission.ts'
import type { CloudServices } from './environment.ts'
import { fail, unwrap } from './problem.ts'
import type { enrolRequest } from './schemas.ts'

type ImportRow = z.infer<typeof enrolRequest>[number]

/** Imports devices that an operator vouches for. What contradicts itself, or the fleet, is refused before anything is changed; then the rows
 *  are stored in slices, so that requests are answered in between. A process that dies has stored the first of them: the same import
 *  may be repeated.
 *  @returns a token for each row that gets one */
export async function importDevices(
  services: CloudServices,
  rows: readonly ImportRow[],
  by: string,
): Promise<(MintedToken | undefined)[]> {
  const { store, tokens, clock, slices } = services
  const now = clock.wallMs()
  refuseContradictions(rows)
  await slices.whole(eachOf(rows, (row) => check(services, row)))
  const minted = await Promise.all(
    rows.map(async ({ ttlSeconds, publicKey, ...row }) => {
      if (publicKey !== undefined && ttlSeconds === undefined) return undefined
      const ttlMs = ttlSeconds === undefined ? services.deviceTokenTtlMs : ttlSeconds * 1000
      return tokens.mintDevice(row, ttlMs, publicKey && keyIdOf(hexToBytes(publicKey)))
    }),
  )
  let next = 0
  await slices.whole((enough) =>
    store.atomically(() => {
      for (; next < rows.length; next++) {
        storeRow(services, present(rows[next], 'a row of the import'), minted[next], now)
        // A slice of one row would flush the disk for each.
        if (next % 32 === 31 && enough()) {
          next++
          return next < rows.length
        }
      }
      return false
    }),
  )
  const first = present(rows[0], 'a device of a list that is not empty')
  const detail = { devices: rows.length, first: first.device, ttlMs: services.deviceTokenTtlMs }
  store.audit.append({ atMs: now, actor: by, action: 'devices.enrolled', subject: first.site, detail })
  services.signSoon()
  return minted
}

const eachOf = <T>(rows: readonly T[], act: (row: T) => void) => {
  let next = 0
  return (enough: () => boolean): boolean => {
    for (const row of rows.slice(next)) {
      act(row)
      next++
      if (enough()) return next < rows.length
    }
    return false
  }
}

/** A list that says two things of one device: which of them counts would be chance. */
function refuseContradictions(rows: readonly ImportRow[]): void {
  const seen = new Map<string, number>()
  for (const [i, row] of rows.entries()) {
    const before = seen.get(row.device)
    if (before === undefined) {
      seen.set(row.device, i)
      continue
    }
    const { site, board, publicKey, family } = present(rows[before], 'an earlier row')
    const isAlike = publicKey === row.publicKey && family === row.family
    if (site === row.site && board === row.board && isAlike) continue
    const places = `row ${before + 1} at ${site} on ${board}, row ${i + 1} at ${row.site} on ${row.board}`
    const differs =
      site === row.site && board === row.board
        ? family === row.family
          ? 'with another key'
          : 'with another family'
        : places
    fail('conflict', `${row.device} is named twice: ${differs}, rows ${before + 1} and ${i + 1}; nothing was imported`)
  }
}

/** The key id of a row, when it is to be added. */
function newKeyOf({ store }: CloudServices, row: ImportRow): string | undefined {
  if (row.publicKey === undefined) return undefined
  const device = store.devices.byName(row.device)
  const keyId = keyIdOf(hexToBytes(row.publicKey))
  const active = device && store.identities.activeKey(device.id)
  if (active?.keyId === keyId) return undefined
  if (active !== undefined) fail('conflict', `${row.device} has another key; it changes by a claim`)
  if (store.identities.key(keyId) !== undefined) {
    fail('conflict', `the key of ${row.device} belongs, or belonged, to a device`)
  }
  return keyId
}

function check(services: CloudServices, row: ImportRow): void {
  newKeyOf(services, row)
  unwrap(familyOfDevice(services.store, row))
}

function storeRow(services: CloudServices, row: ImportRow, token: MintedToken | undefined, now: number): void {
  const { store } = services
  const keyId = newKeyOf(services, row)
  const { device: name, site, board, tags = [] } = row
  const family = unwrap(familyOfDevice(store, row))
  const device = store.devices.enrol({ name, site, board, tags, family }, now)
  if (token !== undefined) {
    const { jti, issuedMs, expiresMs } = token
    store.tokens.add({ jti, kind: 'device', subject: row.device, issuedMs, expiresMs })
  }
  if (keyId !== undefined && row.publicKey !== undefined) {
    store.identities.addKey({ keyId, publicKey: row.publicKey, device: device.id, sinceMs: now })
  }
  admitDevice(services, device, row.model ?? null)
}
