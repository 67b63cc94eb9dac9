import { existsSync } from 'node:fs'
import { type ClaimFile, claimFileSchema } from '../../contract/enrolment.ts'
import type { ContractError } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import type { Result } from '../../contract/result.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import { readIdentity } from '../../device/core/flash/identity.ts'
import { FlashFile } from '../../device/node/flash-file.ts'
import { IdentityClient } from '../../device/node/identity-client.ts'
import { boardNamed } from '../../model/boards.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { readJsonFile } from '../json-file.ts'
import { secureRandom } from '../random-secure.ts'
import { assertNewSecretFile, writeSecretFile } from '../secret-file.ts'
import { openFlash } from './device-flash.ts'

function readClaimFile(path: string): ClaimFile {
  const parsed = claimFileSchema.safeParse(readJsonFile(path))
  if (parsed.success) return parsed.data
  throw new CommandFailure(`${path} is no claim`, { hint: 'an operator makes one with "kinglet device claim"' })
}

const settled = <T>(result: Result<T, ContractError>, hint?: string): T => {
  if (result.ok) return result.value
  const { code, detail } = result.error
  throw new CommandFailure(`${code}: ${detail}`, hint === undefined ? {} : { hint })
}

export const httpUrl = (url: string): string => {
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return url
  throw new CommandFailure(`"${url}" is no address of a cloud or a gateway`, {
    hint: 'for example http://127.0.0.1:8080, or the WebSocket port of a gateway: http://127.0.0.1:8083',
    exitCode: 2,
  })
}

export interface ClaimFlags {
  readonly site: string
  readonly board: string
  readonly device?: string
  readonly model?: string
  readonly ttlHours: number
  readonly replace?: boolean
  readonly out: string
}

/** Has the cloud make a claim, and keeps it in a new file. */
export async function claim(flags: CloudFlags & ClaimFlags): Promise<void> {
  assertNewSecretFile(flags.out)
  const { site, board, device: name, model, ttlHours, replace } = flags
  const claim = await apiOf(flags).post<ClaimFile>('/v1/claims', {
    ...{ site, board, device: name, model, replace },
    ttlSeconds: ttlHours * 3_600,
  })
  writeSecretFile(flags.out, `${JSON.stringify(claim, null, 2)}\n`)
  console.log(`${flags.out}: claim for ${claim.device} at ${site}, until ${new Date(claim.expiresMs).toISOString()}`)
}

/** Makes the device’s key and has the cloud confirm it. */
export async function enroll(flags: {
  flash: string
  claimFile: string
  cloud: string
  bundle: string
}): Promise<void> {
  const claim = readClaimFile(flags.claimFile)
  const client = new IdentityClient(httpUrl(flags.cloud))
  const board = boardNamed(claim.board)
  if (board === undefined) throw new CommandFailure(`no board "${claim.board}"`)
  const flash = await openFlash(flags.flash, board, flags.bundle)
  try {
    const layout = settled(layoutOf(flash))
    const keyId = settled(
      await client.enrol(flash, layout, claim, secureRandom),
      'the same command may be given again: the key stays in the flash file',
    )
    console.log(`${claim.device} at ${claim.site} is enrolled with key ${keyId.slice(0, 16)}`)
  } finally {
    flash.close()
  }
}

/** Replaces the device’s key. */
export async function rotateKey(flags: { flash: string; cloud: string }): Promise<void> {
  const client = new IdentityClient(httpUrl(flags.cloud))
  const flash = openExistingFlash(flags.flash)
  try {
    const layout = settled(layoutOf(flash))
    const keyId = settled(
      await client.rotate(flash, layout, secureRandom),
      'the same command may be given again: both keys stay in the flash file until one counts',
    )
    console.log(
      `${present(readIdentity(flash, layout), 'the identity just written').device} has key ${keyId.slice(0, 16)} now`,
    )
  } finally {
    flash.close()
  }
}

/** Ends a device’s keys and tokens. */
export async function revoke(id: string, flags: CloudFlags & { reason: string }): Promise<void> {
  await apiOf(flags).post(`/v1/devices/${encodeURIComponent(id)}/revoke`, { reason: flags.reason })
  console.log(`${id} is revoked; gateways cut it off within half a minute`)
}

/** Takes a device out of the fleet. */
export async function remove(id: string, flags: CloudFlags & { reason: string; erase?: boolean }): Promise<void> {
  const query = new URLSearchParams({ reason: flags.reason, ...(flags.erase && { erase: 'true' }) })
  await apiOf(flags).delete(`/v1/devices/${encodeURIComponent(id)}?${query}`)
  const rows = flags.erase ? 'all its rows are erased' : 'its history stays'
  console.log(`${id} is removed, ${rows}; gateways cut it off within half a minute`)
}

/** Sets the hours of updates of a device or a site. */
export async function setWindow(text: string, flags: CloudFlags & { device?: string; site?: string }): Promise<void> {
  const { device, site } = flags
  if ((device === undefined) === (site === undefined)) {
    throw new CommandFailure('whose hours? one of --device and --site is needed', { exitCode: 2 })
  }
  const window = text === 'none' ? null : text
  const path =
    device === undefined ? `/v1/sites/${encodeURIComponent(site ?? '')}` : `/v1/devices/${encodeURIComponent(device)}`
  await apiOf(flags).put(`${path}/window`, { window })
  console.log(`${device ?? site}: ${window === null ? 'no hours of its own' : `updates are downloaded in ${window}`}`)
}

/** A flash file that is there: these commands make none. */
function openExistingFlash(path: string): FlashFile {
  if (!existsSync(path)) throw new CommandFailure(`${path}: there is no such file or folder`)
  try {
    return FlashFile.open(path, 0).flash
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}
