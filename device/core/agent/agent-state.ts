import type { Sign } from '../../../contract/device-proof.ts'
import type { ContractError, ErrorCode } from '../../../contract/errors.ts'
import type { LadderLevel } from '../../../contract/ladder-levels.ts'
import type { BundleManifest } from '../../../contract/manifest.ts'
import type { EventCode } from '../../../contract/messages.ts'
import type { Release } from '../../../contract/release.ts'
import type { Result } from '../../../contract/result.ts'
import type { UplinkKind } from '../../../contract/topics.ts'
import type { SignatureSchemes } from '../../../contract/tuf/signature-scheme.ts'
import type { Board } from '../../../model/boards.ts'
import type { TransportEvent } from '../../ports/transport.ts'
import type { BootOutcome, BootRecord } from '../flash/boot-record.ts'
import type { SlotIndex } from '../flash/flash-layout.ts'
import type { Progress } from '../flash/progress-record.ts'
import type { TrustRecord } from '../flash/trust-record.ts'
import type { Heard, HeardWake } from '../listen/heard.ts'
import type { MicrophoneFault, MicrophoneHealth } from '../listen/microphone.ts'
import type { WakeLimit } from '../listen/wake-limit.ts'
import type { Outbox } from '../outbox.ts'
import type { Radio } from '../power/energy.ts'
import type { GovernorState, PowerBudget } from '../power/governor.ts'
import type { HeatLimit, HeatState } from '../power/heat.ts'
import type { BlockApplied, BlockOrder } from '../update/download-writer.ts'
import type { UpdateState } from '../update/update.ts'
import type { UpdateWindow } from '../update/update-schedule.ts'
import type { Attempt } from './attempt.ts'
import type { EngineHealth } from './engine-health.ts'
import type { Measures } from './measures.ts'
import type { Reporting } from './reporting.ts'
import type { RepositoryView } from './repository-view.ts'

/** The two times of one step, and how warm it is, read once by the host. */
export interface Now {
  readonly monotonicMs: number
  /** Unix ms; 0 when the device has no wall clock */
  readonly wallMs: number
  /** °C; absent: nobody can tell, or nobody asks at this step */
  readonly celsius?: number | undefined
}

/** What does not change while a device runs. */
export interface AgentConfig {
  readonly device: string
  readonly site: string
  readonly board: Board
  readonly radio: Radio
  /** the first root of the image repository, as the factory put it there; empty: no update is ever accepted */
  readonly trustRoot: Uint8Array
  readonly schemes: SignatureSchemes
  readonly slotBytes: number
  /** erase unit of the flash */
  readonly sectorBytes: number
  /** the feature definitions it implements */
  readonly featuresSha256: readonly string[]
  readonly reportIntervalMs: number
  /** delay of the first report within the interval, so that a fleet does not report at once */
  readonly reportPhaseMs: number
  /** null: mains, no governor */
  readonly power: PowerBudget | null
  /** ladder level without a governor */
  readonly fixedLevel: LadderLevel
  /** hours in which downloads may go on; null: any */
  readonly updateWindow: UpdateWindow | null
  /** null: no limit */
  readonly heat: HeatLimit | null
  /** false: keep `fixedLevel` whatever battery and thermometer say (for comparison) */
  readonly governed: boolean
  /** the device's key; undefined: it has none and its events are not signed */
  readonly sign?: Sign | undefined
}

export interface AgentState {
  readonly config: AgentConfig
  readonly record: BootRecord
  /** the slot that runs */
  readonly slot: SlotIndex
  readonly manifest: BundleManifest
  /** first 8 bytes of the running bundle's sha256 */
  readonly model: Uint8Array
  readonly bootedAtMs: number
  /** energy in the battery when this boot began, mJ; Infinity on mains */
  readonly batteryAtBootMj: number
  readonly measures: Measures
  readonly governor: GovernorState
  readonly heat: HeatState
  readonly engine: EngineHealth
  readonly nextGovernMs: number
  readonly connected: boolean
  /** last radio use, for the cost of a session */
  readonly radioAtMs: number
  /** and the fault that was told of, until it is told that it has passed */
  readonly microphone: { readonly health: MicrophoneHealth; readonly told: MicrophoneFault | null }
  /** how many wakes may follow now */
  readonly wakeLimit: WakeLimit
  readonly outbox: Outbox
  readonly reporting: Reporting
  readonly repository: RepositoryView
  readonly update: UpdateState
  readonly attempt: Attempt
}

/** Parts of the state that belong together and change one by one. */
export type AgentPart = 'measures' | 'reporting' | 'repository' | 'attempt'

/** A copy to be changed before anybody sees it. Written out, because V8 before version 12 copies an object by spread ten times more
 *  slowly, and this runs at every hop; the type tells when a part is missing. */
export const copyState = (s: AgentState): { -readonly [Name in keyof AgentState]: AgentState[Name] } => ({
  config: s.config,
  record: s.record,
  slot: s.slot,
  manifest: s.manifest,
  model: s.model,
  bootedAtMs: s.bootedAtMs,
  batteryAtBootMj: s.batteryAtBootMj,
  measures: s.measures,
  governor: s.governor,
  heat: s.heat,
  engine: s.engine,
  nextGovernMs: s.nextGovernMs,
  connected: s.connected,
  radioAtMs: s.radioAtMs,
  microphone: s.microphone,
  wakeLimit: s.wakeLimit,
  outbox: s.outbox,
  reporting: s.reporting,
  repository: s.repository,
  update: s.update,
  attempt: s.attempt,
})

export type AgentEvent =
  | TransportEvent
  | { readonly type: 'heard'; readonly heard: Heard }
  | { readonly type: 'tick' }
  /** @see the effect `check-image`; sha256 is that of the release it was checked against */
  | { readonly type: 'image-checked'; readonly sha256: string; readonly result: Result<void, ContractError> }
  /** @see the effect `apply-block`; sha256 is that of the artifact. Comes before any other event */
  | { readonly type: 'block-applied'; readonly sha256: string; readonly applied: BlockApplied }
  | { readonly type: 'block-refused'; readonly sha256: string; readonly error: ContractError }
  /** a write-record of the last step is in flash */
  | { readonly type: 'record-written' }
  /** a write of the last step failed, and what came after it was not done; `record` is what the flash holds */
  | { readonly type: 'flash-failed'; readonly error: ContractError; readonly record?: BootRecord | undefined }
  | { readonly type: 'engine-failed'; readonly error: ContractError }
  /** publish a report now */
  | { readonly type: 'report-requested' }
  /** the power is about to go, as planned */
  | { readonly type: 'stopping' }

/** What the host is to do. Data, so that the same core runs anywhere and a test can read its mind. */
export type AgentEffect =
  | {
      readonly type: 'publish'
      readonly id: number
      readonly kind: UplinkKind
      readonly payload: Uint8Array
      readonly qos: 0 | 1
    }
  /** decodes and writes a block, then its progress: answered by `block-applied` or `block-refused` before anything else happens */
  | ({ readonly type: 'apply-block' } & BlockOrder)
  /** strikes out the record of a download that has ended, as far as the flash lets itself be written */
  | { readonly type: 'clear-progress' }
  /** hash, container, manifest, resource contract, golden vectors: answered by `image-checked` */
  | { readonly type: 'check-image'; readonly slot: SlotIndex; readonly release: Release }
  /** answered by `record-written` or `flash-failed` */
  | { readonly type: 'write-record'; readonly record: BootRecord }
  | { readonly type: 'write-trust'; readonly trust: TrustRecord }
  | { readonly type: 'save-spool'; readonly outbox: Outbox }
  | { readonly type: 'clear-spool' }
  | { readonly type: 'reboot'; readonly reason: string }
  | { readonly type: 'set-level'; readonly level: LadderLevel }
  /** for the host's log and the application */
  | { readonly type: 'tell-wake'; readonly wake: HeardWake }
  | {
      readonly type: 'tell-event'
      readonly code: EventCode
      readonly error?: ErrorCode | undefined
      readonly detail?: string | undefined
    }

export interface StepResult {
  readonly state: AgentState
  readonly effects: readonly AgentEffect[]
}

/** What a boot hands to the agent. */
export interface BootContext {
  readonly record: BootRecord
  readonly slot: SlotIndex
  readonly outcome: BootOutcome
  readonly manifest: BundleManifest
  readonly outbox: Outbox
  readonly trust: TrustRecord
  readonly batteryMj: number
  readonly progress: Progress | null
  /** @see Booted */
  readonly trouble?: ContractError | undefined
}
