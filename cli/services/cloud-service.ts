import pino from 'pino'
import { startCloud } from '../../cloud/cloud.ts'
import type { RetentionPolicy } from '../../cloud/store/retention-ages.ts'
import type { Clock } from '../../contract/clock.ts'
import { secureRandom } from '../random-secure.ts'
import { serviceClock } from '../service-clock.ts'
import { type ListenFlags, tlsOf } from './listening.ts'
import { type OidcFlags, oidcOf } from './oidc-option.ts'
import { serve } from './serve.ts'
import { readVerifier } from './verifier-file.ts'
import { webhookOf } from './webhook-option.ts'

export interface CloudFlags extends ListenFlags, OidcFlags {
  readonly data: string
  readonly port: number
  readonly publicReads?: boolean
  readonly evaluateEveryMs: number
  readonly driftBaselineHours: number
  readonly gatewaySilentHours: number
  readonly retain?: Partial<RetentionPolicy>
  readonly verifier?: string
  readonly alertWebhook?: string
  readonly alertWebhookSecret?: string
  readonly alertHeartbeatMinutes: number
  readonly clock?: string
}

/** The engine is large, and a cloud that judges nothing does not need it. */
async function openVerifier(path: string) {
  const { bundleEngine } = await import('../engines.ts')
  return { model: readVerifier(path), engine: bundleEngine() }
}

/** Runs the cloud until it is ended. */
export const serveCloud = (flags: CloudFlags, system: Clock): Promise<void> => {
  const tls = tlsOf(flags)
  const webhook = webhookOf(flags)
  const oidc = oidcOf(flags)
  return serve(async () =>
    startCloud({
      dataDir: flags.data,
      host: flags.host,
      port: flags.port,
      ...(tls !== undefined && { tlsFiles: tls }),
      clock: serviceClock(system, flags.clock),
      secureRandom,
      logger: pino(),
      publicReads: flags.publicReads === true,
      evaluateEveryMs: flags.evaluateEveryMs,
      gatewaySilentMs: flags.gatewaySilentHours * 3_600_000,
      machine: system,
      ...(webhook !== undefined && { webhook }),
      ...(oidc !== undefined && { oidc }),
      ...(flags.retain !== undefined && { retention: flags.retain }),
      drift: { baselineHours: flags.driftBaselineHours },
      ...(flags.verifier !== undefined && { verifier: await openVerifier(flags.verifier) }),
    }),
  )
}
