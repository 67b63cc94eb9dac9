import { existsSync, rmSync } from 'node:fs'
import { type ClaimFile, claimFileSchema } from '../../contract/enrolment.ts'
import type { ContractError, ErrorCode } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import type { Result } from '../../contract/result.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import { readIdentity } from '../../device/core/flash/identity.ts'
import { IdentityClient } from '../../device/node/identity-client.ts'
import { boardNamed } from '../../model/boards.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { CommandFailure } from '../failure.ts'
import { readJsonFile } from '../json-file.ts'
import { chance, secureRandom } from '../random-secure.ts'
import { keepSecret, keepToOwner } from '../secret-file.ts'
import { openExistingFlash, openFlash } from './device-flash.ts'

function readClaimFile(path: string): ClaimFile {
  const parsed = claimFileSchema.safeParse(readJsonFile(path))
  if (parsed.success) {
    keepToOwner(path)
    return parsed.data
  }
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
  readonly family?: string
  readonly ttlHours: number
  readonly replace?: boolean
  readonly out: string
}

/** Has the cloud make a claim, and keeps it in a new file. */
export async function claim(flags: CloudFlags & ClaimFlags): Promise<void> {
  const { site, board, device: name, model, family, ttlHours, replace } = flags
  const wish = { ...{ site, board, device: name, model, family, replace }, ttlSeconds: ttlHours * 3_600 }
  const claim = await keepSecret(
    flags.out,
    () => apiOf(flags).post<ClaimFile>('/v1/claims', wish),
    (made) => `${JSON.stringify(made, null, 2)}\n`,
  )
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
  const client = new IdentityClient(httpUrl(flags.cloud), chance)
  const board = boardNamed(claim.board)
  if (board === undefined) throw new CommandFailure(`no board "${claim.board}"`)
  const isNew = !existsSync(flags.flash)
  const flash = await openFlash(flags.flash, board, flags.bundle)
  let enrolled: Result<string, ContractError> | undefined
  try {
    const layout = settled(layoutOf(flash))
    enrolled = await client.enrol(flash, layout, claim, secureRandom)
    const keyId = settled(enrolled, enrolled.ok ? undefined : enrolHint(enrolled.error.code))
    console.log(`${claim.device} at ${claim.site} is enrolled with key ${keyId.slice(0, 16)}`)
  } finally {
    flash.close()
    // A flash of nobody: the cloud has refused its key.
    if (isNew && enrolled?.ok === false && isFinal(enrolled.error.code)) rmSync(flags.flash, { force: true })
  }
}

/** Whether the claim is refused for good. */
const isFinal = (code: ErrorCode): boolean =>
  code === 'claim-used' || code === 'claim-invalid' || code === 'claim-expired'

/** What may be done about an enrolment that failed. */
function enrolHint(code: ErrorCode): string {
  if (isFinal(code)) {
    return 'this claim enrols nobody any more: the operator makes another with "kinglet device claim", with --replace if the device has a key'
  }
  if (code === 'conflict')
    return 'the key in this flash file is known already, of a device that was revoked perhaps: take a new flash file'
  return 'the same command may be given again: the key stays in the flash file'
}

/** What may be done about a rotation that failed. */
function rotationHint(code: ErrorCode): string {
  if (code === 'not-found') return 'enrol it first: "kinglet device enroll"'
  if (code === 'device-revoked' || code === 'unknown-key') {
    return 'its key counts no longer: a claim of "kinglet device claim --replace" brings the device back'
  }
  return 'the same command may be given again: both keys stay in the flash file until one counts'
}

/** Replaces the device’s key. */
export async function rotateKey(flags: { flash: string; cloud: string }): Promise<void> {
  const client = new IdentityClient(httpUrl(flags.cloud), chance)
  const flash = openExistingFlash(flags.flash)
  try {
    const layout = settled(layoutOf(flash))
    const rotated = await client.rotate(flash, layout, secureRandom)
    const keyId = settled(rotated, rotated.ok ? undefined : rotationHint(rotated.error.code))
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

/** Has a device follow another family. */
export async function moveFamily(id: string, flags: CloudFlags & { family: string; reason: string }): Promise<void> {
  const path = `/v1/devices/${encodeURIComponent(id)}/family`
  const { family, reason } = flags
  const { target } = await apiOf(flags).post<{ target: { name: string; version: number } | null }>(path, {
    family,
    reason,
  })
  console.log(`${id} follows ${family}: ${target === null ? 'no model yet' : `${target.name} ${target.version}`}`)
}

/** Gives a device a model by hand. */
export async function retarget(
  id: string,
  flags: CloudFlags & { readonly model?: string; readonly production?: boolean; readonly reason: string },
): Promise<void> {
  const { model = null, production = false, reason } = flags
  if ((model === null) !== production) {
    throw new CommandFailure('say either --model NAME or --production', { exitCode: 2 })
  }
  const path = `/v1/devices/${encodeURIComponent(id)}/target`
  const device = await apiOf(flags).post<{ target: { name: string; version: number } | null; pinned: boolean }>(path, {
    model,
    reason,
  })
  const { target, pinned } = device
  const held = pinned ? 'no rollout moves it' : 'it follows production'
  console.log(`${id}: ${target === null ? 'no model' : `${target.name} ${target.version}`}; ${held}`)
}
