import { existsSync, writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { type ClaimFile, claimFileSchema } from '../../contract/enrolment.ts'
import type { ContractError } from '../../contract/errors.ts'
import { present } from '../../contract/present.ts'
import type { Result } from '../../contract/result.ts'
import { layoutOf } from '../../device/core/flash/flash-layout.ts'
import { readIdentity } from '../../device/core/flash/identity.ts'
import { FlashFile } from '../../device/node/flash-file.ts'
import { IdentityClient } from '../../device/node/identity-client.ts'
import { BOARDS, boardNamed } from '../../model/boards.ts'
import { apiOf, type CloudFlags, withCloud } from '../cloud-option.ts'
import { CommandFailure, fileFailure } from '../failure.ts'
import { readJsonFile } from '../json-file.ts'
import { integerOption } from '../number-option.ts'
import { zooFile } from '../package-root.ts'
import { secureRandom } from '../random-secure.ts'
import { openFlash } from './device-flash.ts'

/** Writes a secret to a new file of mode 0600. */
export function writeSecretFile(path: string, text: string): void {
  try {
    writeFileSync(path, text, { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new CommandFailure(`${path} exists; a secret is never overwritten`, { hint: 'choose another file name' })
    }
    throw fileFailure(path, cause)
  }
}

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

interface DeviceRow {
  readonly name: string
  readonly site: string
  readonly board: string
  readonly attested: boolean
  readonly key: { readonly keyId: string } | null
  readonly revokedMs: number | null
  readonly lastSeenMs: number
  readonly target: { readonly name: string; readonly version: number } | null
}

/** Adds what an operator and a device do about identity to `kinglet device`. */
export function identityCommands(device: Command): void {
  withCloud(device.command('claim'))
    .description('make a one-time claim with which one device enrols itself (operator)')
    .requiredOption('--site <ID>', 'site of the device')
    .addOption(new Option('--board <NAME>', 'its board').choices(BOARDS.map(({ name }) => name)).makeOptionMandatory())
    .option('--device <ID>', 'its name (default: a new one)')
    .option('--model <NAME>', 'release that it comes with (default: the production model)')
    .option('--ttl-hours <H>', 'how long the claim may wait for the device', integerOption(1, 744), 24)
    .option('--replace', 'the device has a key, and this claim is to replace it')
    .requiredOption('-o, --out <FILE>', 'where to write the claim; a secret')
    .action(async (flags: CloudFlags & ClaimFlags) => {
      if (existsSync(flags.out)) {
        throw new CommandFailure(`${flags.out} exists; a secret is never overwritten`, {
          hint: 'choose another file name',
        })
      }
      const { site, board, device: name, model, ttlHours, replace } = flags
      const claim = await apiOf(flags).post<ClaimFile>('/v1/claims', {
        ...{ site, board, device: name, model, replace },
        ttlSeconds: ttlHours * 3_600,
      })
      writeSecretFile(flags.out, `${JSON.stringify(claim, null, 2)}\n`)
      console.log(
        `${flags.out}: claim for ${claim.device} at ${site}, until ${new Date(claim.expiresMs).toISOString()}`,
      )
    })

  device
    .command('enroll')
    .description('make this device’s key in its flash and enrol it with a claim (on the device)')
    .requiredOption('--flash <FILE>', 'flash image; made with the bundle as its image when it is new')
    .requiredOption('--claim-file <FILE>', 'claim from "kinglet device claim"')
    .requiredOption('--cloud <URL>', 'address of the cloud, or http:// and the WebSocket port of a gateway')
    .option('--bundle <FILE>', 'factory image of a new flash', zooFile('bundles', 'kws-2.kinglet'))
    .action(async (flags: { flash: string; claimFile: string; cloud: string; bundle: string }) => {
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
    })

  device
    .command('rotate-key')
    .description(
      'replace this device’s key by a new one that the old one vouches for (on the device, while it is not running)',
    )
    .requiredOption('--flash <FILE>', 'flash image')
    .requiredOption('--cloud <URL>', 'address of the cloud, or http:// and the WebSocket port of a gateway')
    .action(async (flags: { flash: string; cloud: string }) => {
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
    })

  withCloud(device.command('list'))
    .description('devices with their keys and targets')
    .option('--json', 'as JSON lines')
    .action(async (flags: CloudFlags & { json?: boolean }) => {
      const api = apiOf(flags)
      let after: string | null = ''
      while (after !== null) {
        const page: { devices: DeviceRow[]; next: string | null } = await api.get(
          `/v1/devices?after=${encodeURIComponent(after)}`,
        )
        for (const row of page.devices) console.log(flags.json ? JSON.stringify(row) : lineOf(row))
        after = page.next
      }
    })

  withCloud(device.command('revoke'))
    .description('end a device’s keys and tokens; a new claim brings it back')
    .argument('<ID>', 'device')
    .requiredOption('--reason <TEXT>', 'why, for the audit log')
    .action(async (id: string, flags: CloudFlags & { reason: string }) => {
      await apiOf(flags).post(`/v1/devices/${encodeURIComponent(id)}/revoke`, { reason: flags.reason })
      console.log(`${id} is revoked; gateways cut it off within half a minute`)
    })
}

interface ClaimFlags {
  readonly site: string
  readonly board: string
  readonly device?: string
  readonly model?: string
  readonly ttlHours: number
  readonly replace?: boolean
  readonly out: string
}

function lineOf({ name, site, board, key, revokedMs, target }: DeviceRow): string {
  const says = key !== null ? `key ${key.keyId.slice(0, 16)}` : revokedMs !== null ? 'revoked' : 'no key'
  const wants = target === null ? 'no target' : `${target.name} ${target.version}`
  return `${name}  ${site}  ${board}  ${says}  ${wants}`
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
