import type { AgentEffect } from '../device/core/agent-state.ts'
import type { Heard } from '../device/core/heard.ts'
import type { Take } from './scene.ts'

/** What really happened, kept apart from the agents' own counters, so that the two can be compared at the end of a run. */
export class Ledger {
  listeningMs = 0
  windows = 0
  inferences = 0
  gateOpenings = 0
  wakes = 0
  installsStarted = 0
  installsConfirmed = 0
  /** keywords spoken to listening devices, and how many of those takes woke with that word */
  keywordsSpoken = 0
  keywordsFound = 0
  /** takes without a keyword that woke the device */
  falseWakes = 0

  heard(heard: Heard): void {
    this.listeningMs += heard.listeningMs
    this.windows += heard.windows
    this.inferences += heard.inferences
    this.gateOpenings += heard.gateOpenings
    this.wakes += heard.wakes.length
  }

  take(take: Take, heard: Heard, labels: readonly string[]): void {
    if (heard.listeningMs === 0) return
    if (take.kind !== 'keyword') {
      this.falseWakes += heard.wakes.length
      return
    }
    this.keywordsSpoken++
    if (heard.wakes.some(({ label }) => labels[label] === take.keyword)) this.keywordsFound++
  }

  effect(effect: AgentEffect): void {
    if (effect.type !== 'tell-event') return
    if (effect.code === 'install-started') this.installsStarted++
    if (effect.code === 'install-confirmed') this.installsConfirmed++
  }
}
