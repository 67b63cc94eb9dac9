import type { Sign } from '../../../contract/device-proof.ts'
import type { LadderLevel } from '../../../contract/ladder-levels.ts'
import { featuresSha256, pipelinesRequirement } from '../../../contract/manifest.ts'
import { INPUT_KINDS } from '../../../contract/manifest-v2.ts'
import { PORTABLE_SCHEMES, type SignatureSchemes } from '../../../contract/tuf/signature-scheme.ts'
import type { Board } from '../../../model/boards.ts'
import { IMPLEMENTED_DEFINITIONS } from '../../../model/features/feature-definition.ts'
import type { Radio } from '../power/energy.ts'
import type { PowerBudget } from '../power/governor.ts'
import type { HeatLimit } from '../power/heat.ts'
import type { UpdateWindow } from '../update/update-schedule.ts'
import type { AgentConfig } from './agent-state.ts'

/** Chosen: gateway and cloud aggregate by the hour.
 *  @public */
export const REPORT_INTERVAL_MS = 3_600_000

/** The agent's configuration from what a command line or a simulator knows. Without a root every assignment is refused. */
export function agentConfig(given: {
  readonly device: string
  readonly site: string
  readonly board: Board
  readonly radio: Radio
  readonly level: LadderLevel
  readonly trustRoot?: Uint8Array | undefined
  readonly schemes?: SignatureSchemes
  readonly power?: PowerBudget | null
  readonly heat?: HeatLimit | null
  readonly governed?: boolean
  readonly updateWindow?: UpdateWindow | null
  readonly reportPhaseMs?: number
  readonly reportIntervalMs?: number
  readonly sign?: Sign | undefined
}): Omit<AgentConfig, 'slotBytes' | 'sectorBytes'> {
  return {
    device: given.device,
    site: given.site,
    board: given.board,
    radio: given.radio,
    trustRoot: given.trustRoot ?? new Uint8Array(0),
    schemes: given.schemes ?? PORTABLE_SCHEMES,
    featuresSha256: [...IMPLEMENTED_DEFINITIONS, ...INPUT_KINDS.map(pipelinesRequirement)].map(featuresSha256),
    reportIntervalMs: given.reportIntervalMs ?? REPORT_INTERVAL_MS,
    reportPhaseMs: given.reportPhaseMs ?? REPORT_INTERVAL_MS,
    power: given.power ?? null,
    heat: given.heat ?? null,
    fixedLevel: given.level,
    governed: given.governed ?? true,
    updateWindow: given.updateWindow ?? null,
    ...(given.sign && { sign: given.sign }),
  }
}
