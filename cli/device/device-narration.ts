import type { Clock } from '../../contract/clock.ts'
import type { ContractError } from '../../contract/errors.ts'
import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { type BundleManifest, labelsOfPipeline } from '../../contract/manifest.ts'
import type { AgentEffect, AgentState } from '../../device/core/agent/agent-state.ts'
import type { Heard } from '../../device/core/listen/heard.ts'
import { totalEnergy } from '../../device/core/power/energy.ts'
import { readingWords } from './device-reading.ts'

/** What `kinglet device run` prints of a connected device: a sentence, or with --json an object a line. */
export class Narration {
  readonly #clock: Clock
  readonly #json: boolean
  readonly #gateway: string
  #linkState: 'connected' | 'disconnected' | undefined
  /** What each pipeline that wakes nobody has said last, by its index. */
  readonly #said = new Map<number, string>()
  /** how long the newest stretch of sound took from its arrival to the decision */
  latencyMs = 0

  constructor(clock: Clock, gateway: string, json: boolean) {
    this.#clock = clock
    this.#gateway = gateway
    this.#json = json
  }

  readonly observe = (effect: AgentEffect, state: AgentState): void => {
    if (effect.type === 'tell-event') {
      const { code, error, detail } = effect
      const boot = state.record.boots
      const why = [error, detail].filter(Boolean).join(': ')
      this.#say({ type: 'event', code, error, detail, boot, slot: state.slot }, `${code}${why && ` (${why})`}`)
    } else if (effect.type === 'tell-wake') {
      const label = labelsOfPipeline(state.manifest, effect.wake.pipeline)[effect.wake.label] ?? '?'
      const posterior = effect.wake.posteriorPermille / 1000
      const level = LADDER_LEVELS[state.governor.level]
      const latencyMs = Number(this.latencyMs.toFixed(3))
      const energyMj = Number(totalEnergy(state.measures.energy).toFixed(3))
      this.#say(
        { type: 'wake', label, posterior, latencyMs, level, energyMj },
        `${label}  ${posterior.toFixed(3)}  latency ${latencyMs} ms  ${level}  about ${energyMj} mJ`,
      )
    }
  }

  /** A label is told when it is another than before; numbers go into reports alone, for they are another each time. */
  read({ readings = [] }: Pick<Heard, 'readings'>, manifest: BundleManifest): void {
    for (const reading of readings) {
      const { fields, sentence, key } = readingWords(reading, manifest)
      if (reading.label === undefined || this.#said.get(reading.pipeline) === key) continue
      this.#said.set(reading.pipeline, key)
      this.#say({ type: 'reading', model: manifest.name, ...fields }, sentence)
    }
  }

  /** Otherwise a device with a wrong address or token would look like one that hears nothing. */
  link(state: 'connected' | 'disconnected'): void {
    // Each attempt of a reconnect ends in a disconnect: once is enough.
    if (state === this.#linkState) return
    this.#linkState = state
    this.#say({ type: 'link', state }, `${state === 'connected' ? 'connected' : 'no connection'} to ${this.#gateway}`)
  }

  noToken(error: ContractError): void {
    this.#say({ type: 'token', ...error }, `no token: ${error.code}: ${error.detail}`)
  }

  #say(event: Record<string, unknown>, sentence: string): void {
    console.log(this.#json ? JSON.stringify({ atMs: Math.round(this.#clock.wallMs()), ...event }) : sentence)
  }
}
