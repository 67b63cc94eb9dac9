import pino from 'pino'
import { startCloud } from '../../cloud/cloud.ts'
import type { RetentionPolicy } from '../../cloud/store/retention-ages.ts'
import type { Clock } from '../../contract/clock.ts'
import { secureRandom } from '../random-secure.ts'
import { serviceClock } from '../service-clock.ts'
import { type ListenFlags, tlsOf } from './listening.ts'
import { serve } from './serve.ts'

export interface CloudFlags extends ListenFlags {
  readonly data: string
  readonly port: number
  readonly publicReads?: boolean
  readonly evaluateEveryMs: number
  readonly driftBaselineHours: number
  readonly gatewaySilentHours: number
  readonly retain?: Partial<RetentionPolicy>
  readonly clock?: string
}

/** Runs the cloud until it is ended. */
export const serveCloud = (flags: CloudFlags, system: Clock): Promise<void> => {
  const tls = tlsOf(flags)
  return serve(() =>
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
      ...(flags.retain !== undefined && { retention: flags.retain }),
      drift: { baselineHours: flags.driftBaselineHours },
    }),
  )
}
