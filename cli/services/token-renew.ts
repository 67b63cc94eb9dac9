import { realpathSync, statSync } from 'node:fs'
import { writeFileDurably } from '../../platform/durable-file.ts'
import { apiOf, type CloudFlags } from '../cloud-option.ts'
import { fileFailure } from '../failure.ts'

/** `kinglet token renew`: the successor takes the token's place in its file, through a link and with the file's own mode. */
export async function renewToken(flags: CloudFlags): Promise<void> {
  const { token, expiresMs } = await apiOf(flags).postOnce<{ token: string; expiresMs: number }>('/v1/tokens/renew', {})
  try {
    const path = realpathSync(flags.tokenFile)
    writeFileDurably(path, `${token}\n`, { mode: statSync(path).mode & 0o777 })
  } catch (cause) {
    throw fileFailure(flags.tokenFile, cause)
  }
  console.log(`${flags.tokenFile}: renewed, until ${new Date(expiresMs).toISOString()}`)
}
