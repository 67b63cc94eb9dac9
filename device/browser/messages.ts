import type { LadderLevel } from '../../contract/ladder-levels.ts'
import type { PowerSource } from './battery-page.ts'

/** What the page's server tells the page, at `/page.json`. */
export interface PageConfig {
  /** ws: or wss: address of the gateway; null: the page runs by itself */
  readonly gateway: string | null
  /** whether there is a root of the image repository; without one no update is believed */
  readonly trusted: boolean
  /** names of scenes that `/scene.wav` renders */
  readonly scenes: readonly string[]
}

/** What the user chose; kept by the page from visit to visit, but for the token, which lasts as long as the tab. */
export interface PageSettings {
  readonly board: string
  readonly radio: string
  readonly level: LadderLevel
  /** `onnxruntime`: as on Node, ONNX by ONNX Runtime and TFLite by `tiny`; `tiny`: all by `tiny` */
  readonly engine: 'onnxruntime' | 'tiny'
  readonly power: PowerSource
  /** how long the energy must last, from when the page was opened */
  readonly days: number
  /** of a device that is not enrolled by a key: its names and its long token */
  readonly device: string
  readonly site: string
  readonly token: string
}

/** From the page to its worker. */
export type ToWorker =
  | { readonly type: 'start'; readonly settings: PageSettings; readonly config: PageConfig }
  /** a claim file's JSON: the device makes its key and enrols */
  | { readonly type: 'enrol'; readonly claim: unknown }
  /** sound of the microphone, as it comes */
  | { readonly type: 'live'; readonly samples: Float32Array; readonly rateHz: number }
  | { readonly type: 'file'; readonly name: string; readonly bytes: Uint8Array; readonly fast: boolean }
  /** a file that the browser has decoded */
  | {
      readonly type: 'decoded'
      readonly name: string
      readonly samples: Float32Array
      readonly rateHz: number
      readonly fast: boolean
    }
  /** nothing more is heard: of the microphone, or of the file that plays */
  | { readonly type: 'silence' }
  /** charge of the machine's battery, 0 to 1 */
  | { readonly type: 'gauge'; readonly share: number }
  | { readonly type: 'report' }

/** One of the two model slots. */
export interface SlotView {
  /** name and version of a whole bundle that lies there; null: none */
  readonly model: string | null
  readonly sha256: string
  readonly bytes: number
  readonly confirmed: boolean
  readonly running: boolean
}

/** All of the agent that the page shows, a few times a second. */
export interface AgentView {
  readonly device: string
  readonly site: string
  readonly keyId: string | null
  readonly model: string
  readonly labels: readonly string[]
  /** those that wake, by index */
  readonly waking: readonly number[]
  readonly threshold: number
  readonly engine: string
  readonly level: LadderLevel
  readonly levels: readonly LadderLevel[]
  readonly levelMs: readonly number[]
  /** undefined on mains */
  readonly batteryShare: number | undefined
  readonly energyMj: number
  readonly link: 'off' | 'connected' | 'disconnected'
  readonly boot: number
  readonly uptimeMs: number
  readonly phase: string
  readonly slots: readonly SlotView[]
  /** the update under way: what is done of it, in words, and how much of its bytes is there, 0 to 1 */
  readonly update: { readonly phase: string; readonly target: string; readonly share: number | null }
  readonly counters: Readonly<Record<string, number>>
  readonly queued: number
  readonly playing: string | null
}

/** From the worker to the page. */
export type FromWorker =
  | { readonly type: 'view'; readonly view: AgentView }
  /** columns of the spectrogram (BANDS bytes each) and posteriors of the windows that were inferred meanwhile */
  | {
      readonly type: 'heard'
      readonly columns: Uint8Array
      readonly seconds: number
      readonly posteriors: readonly Float32Array[]
    }
  | {
      readonly type: 'wake'
      readonly wallMs: number
      readonly label: string
      readonly posterior: number
      readonly level: string
    }
  | {
      readonly type: 'event'
      readonly wallMs: number
      readonly code: string
      readonly detail: string
      readonly bad: boolean
    }
  /** a file was heard to its end */
  | { readonly type: 'played'; readonly name: string; readonly wakes: readonly string[]; readonly seconds: number }
  /** no WAV: the browser may know it */
  | {
      readonly type: 'decode'
      readonly name: string
      readonly bytes: Uint8Array
      readonly fast: boolean
      readonly why: string
    }
  | { readonly type: 'enrolled'; readonly keyId: string }
  /** something that was asked for did not come about; `fatal`: the agent does not run */
  | { readonly type: 'refused'; readonly what: string; readonly why: string; readonly fatal: boolean }
