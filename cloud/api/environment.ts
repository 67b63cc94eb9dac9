import type { HttpBindings } from '@hono/node-server'
import type { OpenAPIHono } from '@hono/zod-openapi'
import type { Context } from 'hono'
import type { Clock } from '../../contract/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Readiness } from '../../platform/readiness.ts'
import type { ArtifactFolder } from '../registry/artifact-folder.ts'
import type { Registry } from '../registry/registry.ts'
import type { RolloutEngine } from '../rollout/engine.ts'
import type { Pasts } from '../rollout/executor.ts'
import type { Slices } from '../slices.ts'
import type { Store } from '../store/store.ts'
import type { FleetNow } from '../telemetry/fleet-now.ts'
import type { CloudMetrics } from '../telemetry/metrics.ts'
import type { WakeAudit } from '../telemetry/wake-audit.ts'
import type { AttemptLimit } from '../trust/attempt-limit.ts'
import type { DeviceIdentities } from '../trust/device-identities.ts'
import type { GatewayContacts } from '../trust/expiry-watch.ts'
import type { GatewayIdentities } from '../trust/gateway-identities.ts'
import type { ImageRepository } from '../trust/image-repository.ts'
import type { Principal, ServiceToken, TokenIssuer } from '../trust/tokens.ts'
import type { EventHub } from './event-hub.ts'
import type { Signal } from './signal.ts'

/** Everything the routes work with. */
export interface CloudServices {
  readonly store: Store
  readonly clock: Clock
  /** real time, where `clock` may be a simulation's */
  readonly machine: Clock
  readonly logger: Logger
  readonly artifacts: ArtifactFolder
  readonly registry: Registry
  readonly repository: ImageRepository
  readonly engine: RolloutEngine
  readonly tokens: TokenIssuer
  /** of service tokens, by address */
  readonly badTokens: AttemptLimit
  readonly identities: DeviceIdentities
  readonly gateways: GatewayIdentities
  readonly metrics: CloudMetrics
  readonly hub: EventHub
  /** raised when assignments changed: wakes the long polls of the feed */
  readonly assignmentsChanged: Signal
  /** the open rollout was changed by hand: it is looked at before the loop's next turn */
  readonly nudge: () => void
  readonly readiness: () => Promise<Readiness>
  readonly contacts: GatewayContacts
  /** devices got something else to run, or another place: their assignments are signed before the loop's next turn */
  readonly signSoon: () => void
  /** what the devices of a large open rollout did before a stage that begins now; of others it is read in place */
  readonly pastsOf: (rollout: string) => Promise<Pasts | undefined>
  /** of a large fleet as of some seconds ago */
  readonly fleetNow: (family: string | undefined) => Promise<FleetNow>
  readonly slices: Slices
  /** undefined: the cloud has no verifier */
  readonly wakeAudit: WakeAudit | undefined
  readonly publicReads: boolean
  /** whether the port speaks TLS: then browsers are told to come by nothing else */
  readonly isEncrypted: boolean
  readonly deviceTokenTtlMs: number
}

export interface CloudEnv {
  Bindings: Partial<HttpBindings>
  /** token: what the principal has shown; undefined: nothing was asked for */
  Variables: { principal: Principal; token: ServiceToken | undefined }
}

export type CloudApp = OpenAPIHono<CloudEnv>

/** Where a request comes from, as far as a socket tells: behind a proxy it is the proxy. */
export const addressOf = (c: Context<CloudEnv>): string => c.env?.incoming?.socket.remoteAddress ?? 'unknown'
