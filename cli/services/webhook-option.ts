import type { WebhookTarget } from '../../cloud/alert-webhook.ts'
import { readBounded } from '../bounded-file.ts'
import { CommandFailure } from '../failure.ts'
import { keepToOwner } from '../secret-file.ts'
import { isLoopback } from './listening.ts'

export interface WebhookFlags {
  readonly alertWebhook?: string
  readonly alertWebhookSecret?: string
  readonly alertHeartbeatMinutes: number
  readonly insecure?: boolean
}

/** Standard Webhooks: 24 to 64 bytes, base64 behind this. */
const PREFIX = 'whsec_'
const SECRET_BYTES = [24, 64] as const
const HINT = 'make one with: (umask 077; echo "whsec_$(openssl rand -base64 32)" > FILE)'

const misuse = (words: string, hint?: string): CommandFailure =>
  new CommandFailure(words, { ...(hint !== undefined && { hint }), exitCode: 2 })

/** Who is told of alerts; undefined: nobody.
 *  @throws CommandFailure with exit code 2 when the address or the secret cannot be used, or alerts would cross a network in the clear */
export function webhookOf(flags: WebhookFlags): WebhookTarget | undefined {
  const { alertWebhook: url, alertWebhookSecret: path, alertHeartbeatMinutes, insecure } = flags
  if (url === undefined && path === undefined) return undefined
  if (url === undefined || path === undefined) {
    throw misuse('--alert-webhook and --alert-webhook-secret go together', path === undefined ? HINT : undefined)
  }
  if (!/^https?:\/\/./.test(url) || !URL.canParse(url)) {
    throw misuse(`"${url}" is no address of a receiver of alerts`, 'for example https://example.org/hooks/kinglet')
  }
  const { protocol, hostname, username, password } = new URL(url)
  if (username !== '' || password !== '') {
    throw misuse('--alert-webhook takes no name and password: requests are signed', 'leave them out of the address')
  }
  if (protocol === 'http:' && insecure !== true && !isLoopback(hostname.replace(/^\[|\]$/g, ''))) {
    throw misuse(
      `alerts for ${hostname} would cross the network in the clear`,
      'give an https:// address, or --insecure',
    )
  }
  return { url, secret: readSecret(path), heartbeatMs: alertHeartbeatMinutes * 60_000 }
}

function readSecret(path: string): Uint8Array {
  const text = new TextDecoder().decode(readBounded(path, 1_024)).trim()
  const base64 = text.startsWith(PREFIX) ? text.slice(PREFIX.length) : ''
  const secret = Buffer.from(base64, 'base64')
  const [least, most] = SECRET_BYTES
  if (
    secret.toString('base64').replace(/=+$/, '') !== base64.replace(/=+$/, '') ||
    secret.length < least ||
    secret.length > most
  ) {
    throw misuse(`${path} holds no secret: "${PREFIX}" and ${least} to ${most} bytes as base64`, HINT)
  }
  keepToOwner(path)
  return secret
}
