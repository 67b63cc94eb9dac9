import type { AgentEffect, AgentState } from '../device/core/agent/agent-state.ts'
import type { Heard } from '../device/core/listen/heard.ts'
import { blockAirBytes, downloadAirBytes } from '../device/core/update/air-bytes.ts'
import type { SensedTake } from './take.ts'

/** What really happened, kept apart from the agents' own counters, so that the two can be compared at the end of a run. */
export class Ledger {
  listeningMs = 0
  windows = 0
  inferences = 0
  gateOpenings = 0
  wakes = 0
  installsStarted = 0
  installsConfirmed = 0
  /** downloads that were whole, and how many of them were patches */
  downloads = 0
  patchDownloads = 0
  /** bytes on the air of the blocks that were written, with their requests; and what the same downloads had taken as whole bundles */
  downloadBytes = 0
  bundleBytes = 0
  /** takes that should wake listening devices, as a keyword that is spoken, and how many of them woke with that label */
  keywordsSpoken = 0
  keywordsFound = 0
  /** wakes and alarms in takes that should wake nobody */
  falseWakes = 0

  heard(heard: Heard): void {
    this.listeningMs += heard.listeningMs
    this.windows += heard.windows
    this.inferences += heard.inferences
    this.gateOpenings += heard.gateOpenings
  }

  take({ expected }: SensedTake, heard: Heard, labels: readonly string[]): void {
    if (heard.listeningMs === 0) return
    if (expected === undefined) {
      this.falseWakes += heard.wakes.length
      return
    }
    this.keywordsSpoken++
    if (heard.wakes.some(({ label }) => labels[label] === expected)) this.keywordsFound++
  }

  /** @param state after the step that led to the effect */
  effect(effect: AgentEffect, { config, update }: Pick<AgentState, 'config' | 'update'>): void {
    if (effect.type === 'apply-block') {
      const { sha256, bytes } = effect.artifact
      this.downloadBytes += blockAirBytes(config, sha256, effect.offset, bytes)
    }
    // Those that the application was woken by: a detector that is stuck is cut short.
    if (effect.type === 'tell-wake') this.wakes++
    if (effect.type !== 'tell-event') return
    if (effect.code === 'download-complete' && update.phase === 'checking') {
      const { release, artifact } = update
      this.downloads++
      if (artifact?.kind === 'patch') this.patchDownloads++
      this.bundleBytes += downloadAirBytes(config, release.sha256, 0, release.bytes)
    }
    if (effect.code === 'install-started') this.installsStarted++
    if (effect.code === 'install-confirmed') this.installsConfirmed++
  }
}
