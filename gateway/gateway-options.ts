import type { JSONWebKeySet } from 'jose'
import type { Clock } from '../contract/clock.ts'
import type { GatewayClaimFile } from '../contract/enrolment.ts'
import type { SecureRandom, SeededRandom } from '../contract/random.ts'
import type { Engine } from '../model/engine/engine.ts'
import type { Logger } from '../platform/logger.ts'
import type { TlsPaths } from '../platform/tls-files.ts'
import type { TlsOptions } from '../platform/tls-options.ts'
import type { TokenRate } from '../platform/token-bucket.ts'
import { BROKER_LIMITS, type BrokerLimits } from './broker/broker.ts'
import type { TotalLimits } from './downloads/allowance.ts'
import { ARTIFACT_CACHE_LIMITS, type ArtifactCacheLimits } from './downloads/artifact-cache.ts'
import { BLOCK_LIMITS, type BlockLimits } from './downloads/block-server.ts'
import { DOWNLOAD_LIMITS } from './downloads/download-limits.ts'
import type { SpoolLimits } from './store/spool.ts'
import type { VerifierModel } from './verifier.ts'

/** Every bound of a gateway; each part's file says what happens there. */
export interface GatewayLimits {
  readonly broker: BrokerLimits
  /** reports, wakes and events of one device by the gateway's clock; what comes faster is taken more slowly */
  readonly messages: TokenRate
  /** of each device, blocks over MQTT and artifacts over HTTP together */
  readonly blocks: BlockLimits
  /** of all devices together */
  readonly downloads: TotalLimits
  readonly artifacts: ArtifactCacheLimits
  readonly spool: SpoolLimits
  /** wakes on disk that wait for the verifier */
  readonly pendingWakes: number
}

export const GATEWAY_LIMITS: GatewayLimits = {
  broker: BROKER_LIMITS,
  // chosen: at once ten times what a device keeps for later, then a thousand times what it sends in an hour
  messages: { perSecond: 20, burst: 1_000 },
  blocks: BLOCK_LIMITS,
  downloads: DOWNLOAD_LIMITS,
  artifacts: ARTIFACT_CACHE_LIMITS,
  // chosen: about 100 MB of reports, a month of 240 devices or seven hours of 14 000
  spool: { reportsMax: 100_000, eventsMax: 100_000, verdictsMax: 500_000 },
  // chosen: 30 MB of feature maps
  pendingWakes: 50_000,
}

export interface GatewayOptions {
  /** store and artifact folder; one process at a time */
  readonly dataDir: string
  /** names this gateway to the cloud; default: what its key was enrolled as, or its token says, else "gateway-1" */
  readonly gatewayId?: string
  /** whose devices' assignments it holds, at most 64; default: those of all sites that it is enrolled for */
  readonly sites?: readonly string[]
  /** of the broker; default 127.0.0.1 */
  readonly host?: string
  /** 0: any free port, the default of all three */
  readonly mqttPort?: number
  readonly wsPort?: number
  readonly httpPort?: number
  /** of both ports that devices come to; default: none, in the clear */
  readonly tls?: TlsOptions | undefined
  /** in place of `tls`: files that are read again when they change */
  readonly tlsFiles?: TlsPaths | undefined
  /** of /healthz, /metrics, metadata and artifacts; default 127.0.0.1 */
  readonly httpHost?: string
  readonly cloudUrl: string
  /** enrols the gateway with a key of its own, which stays in `dataDir`: needed once */
  readonly claim?: GatewayClaimFile | undefined
  /** what the cloud knows a gateway without a key by; from a file it is renewed there, and read again when somebody changes it */
  readonly serviceToken?: string
  readonly serviceTokenFile?: string
  /** public keys of device tokens; default: the cloud's, kept on disk */
  readonly jwks?: JSONWebKeySet
  readonly clock: Clock
  readonly random: SeededRandom
  readonly secureRandom: SecureRandom
  readonly logger: Logger
  /** without both, wakes are counted and not judged */
  readonly engine?: Engine
  readonly verifier?: VerifierModel
  readonly limits?: Partial<GatewayLimits>
  /** how long the first message of a commit waits for company, ms of the clock; default 2 */
  readonly commitWindowMs?: number
  /** between two batches to the cloud, ms of the clock; default 1000 */
  readonly uplinkIntervalMs?: number
  /** rows of a kind in a batch; default 500: with the interval 1.8 million reports an hour, and 10 ms of the store's thread at a time */
  readonly uplinkBatchRows?: number
  /** how long the cloud may hold the assignment feed open, 0 to 25; default 25 */
  readonly assignmentWaitSeconds?: number
  /** between two requests of an idle feed, ms of the clock; default 200 */
  readonly assignmentIdleMs?: number
  /** the store on the broker's thread instead of one of its own, as a program that runs from TypeScript sources needs it
   *  (store-client.ts); default false */
  readonly storeInProcess?: boolean
  /** between two looks at the cloud's revocations, ms of the clock: a revoked device is cut off within this; default 30 s */
  readonly revocationPollMs?: number
}
