import { sha256 } from './bytes.ts'
import { LADDER_LEVELS } from './ladder-levels.ts'
import { LIMITS } from './limits.ts'
import { bool, bytes, defineMessage, int, optional, text, uint, uints, uintsUpTo } from './message-codec.ts'

export const SCHEMA_VERSION = 1

/** Counters of a report, in wire order. All are cumulative per boot: a lost, repeated or late report does no harm. */
export const COUNTER_NAMES = [
  /** ms of audio the detector listened to */
  'listeningMs',
  /** windows looked at by the detector (hop ticks), inferred or not */
  'windows',
  /** windows that ran the network */
  'inferences',
  /** openings of the voice-activity gate */
  'gateOpenings',
  /** keyword wakes */
  'wakes',
  /** ms in which the device was awake: inference, wake hold, radio */
  'activeMs',
  /** windows dropped because the inference before them was not finished in time; counted where audio comes from a microphone */
  'overruns',
  /** messages dropped at the bound of the store-and-forward queue */
  'spoolDrops',
  'radioRxBytes',
  'radioTxBytes',
  'installsStarted',
  'installsConfirmed',
  'installsFailed',
  /** moves of the governor between ladder levels */
  'ladderMoves',
] as const
export type CounterName = (typeof COUNTER_NAMES)[number]
export type Counters = Readonly<Record<CounterName, number>>

/** Energy accounts of a report in millijoule, cumulative per boot, in wire order. */
export const ENERGY_NAMES = ['sleep', 'listen', 'inference', 'radio', 'install'] as const
export type EnergyName = (typeof ENERGY_NAMES)[number]

/** Upper edges of the posterior histogram of inferred windows' best keyword (permille); the last bin is open. */
export const POSTERIOR_BIN_EDGES = [50, 100, 200, 400, 600, 750, 900] as const
/** Upper edges of the noise floor histogram of windows (dBFS); the last bin is open. */
export const NOISE_BIN_EDGES = [-80, -70, -60, -50, -40, -30, -20] as const

/** Which run of boot numbers a message belongs to: random, made when the flash is provisioned. A board that was replaced or flashed anew
 *  under the same id begins to count its boots again. Absent: of a device that does not say (0). */
const incarnation = optional(int(1, 0xffff_ffff))

/** Hourly report of a device (QoS 1). At most LIMITS.reportDefaultBytes for the default set. */
export const reportCodec = defineMessage('report', SCHEMA_VERSION, LIMITS.reportBytes, {
  /** persisted boot count; with the device id and the incarnation it names one run of counters */
  boot: [1, uint(0xffff_ffff)],
  /** report number within the boot, from 0 */
  seq: [2, uint(0xffff_ffff)],
  uptimeMs: [3, uint()],
  /** the device's own wall time, Unix ms; 0 when it has none */
  wallMs: [4, uint()],
  /** first 8 bytes of the sha256 of the active bundle */
  model: [5, bytes(8)],
  slot: [6, uint(1)],
  /** index into LADDER_LEVELS at the moment of the report */
  level: [7, uint(LADDER_LEVELS.length - 1)],
  /** COUNTER_NAMES in order */
  counters: [8, uints(COUNTER_NAMES.length)],
  /** ms in each ladder level, cumulative per boot */
  levelMs: [9, uints(LADDER_LEVELS.length)],
  /** ENERGY_NAMES in order, millijoule */
  energyMj: [10, uints(ENERGY_NAMES.length)],
  batteryPermille: [11, uint(1000)],
  /** inferred windows by smoothed posterior of the best keyword, see POSTERIOR_BIN_EDGES; cumulative */
  posteriorBins: [12, uints(LIMITS.histogramBins)],
  /** windows by level of the quietest frame, see NOISE_BIN_EDGES; cumulative */
  noiseBins: [13, uints(LIMITS.histogramBins)],
  /** sequence number of the newest assignment the device accepted; 0 when none */
  assignmentSeq: [14, uint()],
  incarnation: [15, incarnation],
  /** ms that the network took to run, cumulative per boot, as the device measures it; absent where it does not */
  inferenceMs: [16, optional(uint())],
  /** of the newest wake of the boot (attested-report.ts); of a device with a key, as the signature */
  wakeLink: [17, optional(bytes(16))],
  /** Ed25519, by the device's key, over the device's id and this message without its signature (device-proof.ts) */
  signature: [18, optional(bytes(64))],
  /** what the bundle's pipelines count, in its order (signals.ts), cumulative per boot; absent: of a bundle that declares none */
  signals: [19, optional(uintsUpTo(LIMITS.signalNumbers, LIMITS.signalNumber))],
})

/** A keyword wake with the quantized feature map, for the gateway's verifier (QoS 1, so that the count is exact). */
export const wakeCodec = defineMessage('wake', SCHEMA_VERSION, LIMITS.wakeBytes, {
  boot: [1, uint(0xffff_ffff)],
  /** number of this wake within the boot, from 1: equals the `wakes` counter after it */
  index: [2, uint(0xffff_ffff)],
  wallMs: [3, uint()],
  model: [4, bytes(8)],
  /** index into the bundle's labels */
  label: [5, uint(LIMITS.labels - 1)],
  posteriorPermille: [6, uint(1000)],
  level: [7, uint(LADDER_LEVELS.length - 1)],
  /** quantized features of the triggering window, int8, frame-major */
  features: [8, bytes(1, LIMITS.featureBytes)],
  /** noise floor of the window, dBFS */
  noiseDb: [9, int(-120, 0)],
  incarnation: [10, incarnation],
  /** absent: of a device that does not say */
  uptimeMs: [11, optional(uint())],
  /** link of the wake before it in the boot (attested-report.ts); of a device with a key */
  previous: [12, optional(bytes(16))],
  /** index of the pipeline that woke; absent: the first */
  pipeline: [13, optional(uint(LIMITS.pipelines - 1))],
})

export const EVENT_CODES = [
  'booted',
  'install-started',
  'install-refused',
  'download-complete',
  'trial-started',
  'install-confirmed',
  'install-failed',
  'reverted',
  'level-changed',
  'battery-low',
  'engine-failed',
  /** an attempt failed for a reason that may pass; the device tries again by itself */
  'install-delayed',
  /** the confirmed image was lost and the other one runs */
  'fell-back',
  /** no slot held the image on record; a whole one of unknown origin runs */
  'image-found',
  /** the image repository said what cannot be believed; what was believed before still is */
  'repository-refused',
  /** the microphone gives what no microphone gives: its converter at the end, one value for ever, digital silence */
  'microphone-clipped',
  'microphone-stuck',
  'microphone-silent',
  /** it works again */
  'microphone-recovered',
  /** the detector wakes more often than anyone speaks; the wakes above the limit are dropped and not counted */
  'wakes-limited',
  /** a new assignment of a rollout names the image that is confirmed already, so that nothing is installed: signed, so that nobody else
   *  can say it */
  'already-installed',
] as const
export type EventCode = (typeof EVENT_CODES)[number]

/** Something that happened on the device (QoS 1). */
export const eventCodec = defineMessage('event', SCHEMA_VERSION, LIMITS.eventBytes, {
  boot: [1, uint(0xffff_ffff)],
  /** event number within the boot, from 0 */
  seq: [2, uint(0xffff_ffff)],
  wallMs: [3, uint()],
  /** index into EVENT_CODES */
  code: [4, uint(EVENT_CODES.length - 1)],
  /** bundle the event is about (first 8 bytes of its sha256) */
  model: [5, optional(bytes(8))],
  /** an ErrorCode when the event is a refusal or a failure */
  error: [6, optional(text(40))],
  detail: [7, optional(text(LIMITS.eventDetailLength))],
  /** of what is signed: the assignment it is about; of an install, a fall-back or a revert the newest accepted when it happened, whenever it
   *  is told, of `booted` the newest accepted by then. Absent: of a device that does not say */
  assignmentSeq: [8, optional(uint())],
  /** lowest security counter the device accepts; said with what is signed */
  securityCounter: [9, optional(uint())],
  /** Ed25519, by the device's key, over the device's id and this message without its signature (device-proof.ts) */
  signature: [10, optional(bytes(64))],
  incarnation: [11, incarnation],
  /** absent: of a device that does not say */
  uptimeMs: [12, optional(uint())],
})

/** Device asks the gateway for a range of an artifact. */
export const getCodec = defineMessage('get', SCHEMA_VERSION, LIMITS.getBytes, {
  sha256: [1, bytes(32)],
  offset: [2, uint(LIMITS.bundleBytes)],
  length: [3, uint(LIMITS.blockBytes)],
})

/** Gateway answers with a range, or with an error code and no data. */
export const blockCodec = defineMessage('block', SCHEMA_VERSION, LIMITS.blockMessageBytes, {
  offset: [1, uint(LIMITS.bundleBytes)],
  totalBytes: [2, uint(LIMITS.bundleBytes)],
  data: [3, optional(bytes(0, LIMITS.blockBytes))],
  error: [4, optional(text(40))],
  /** of `data`, see blockCheck; a block of data without it counts as damaged */
  check: [5, optional(bytes(8))],
})

/** First 8 bytes of the SHA-256 of a block's data: what was damaged on the way or has rotted in a cache costs one block and not the
 *  whole download. It is no seal, since whoever changes the data can change it too: against him stands the signed hash of the whole. */
export const blockCheck = (data: Uint8Array): Uint8Array => sha256(data).slice(0, 8)

/** A block as every gateway answers: the range of `artifact` from `offset`, cut at its end. */
export function encodeBlock(artifact: Uint8Array, offset: number, length: number): Uint8Array {
  const data = artifact.subarray(offset, offset + length)
  return blockCodec.encode({ offset, totalBytes: artifact.length, data, check: blockCheck(data) })
}

/** Device asks the gateway for a metadata file of the image repository, from an offset on. */
export const metaGetCodec = defineMessage('meta-get', SCHEMA_VERSION, LIMITS.metaGetBytes, {
  /** a name of `contract/metadata-file.ts`, `timestamp.json` or `3.targets.json` */
  file: [1, text(LIMITS.metadataFileLength)],
  offset: [2, uint(LIMITS.metadataFileBytes)],
  /** when there is no such file, answer with the timestamp instead: the usual end of the search for a newer root costs no answer */
  orTimestamp: [3, optional(bool)],
})

/** Gateway answers with the next LIMITS.blockBytes of the file, or with an error code and no data. `file` is the one that was asked
 *  for, or the timestamp where that would do. */
export const metaCodec = defineMessage('meta', SCHEMA_VERSION, LIMITS.metaMessageBytes, {
  file: [1, text(LIMITS.metadataFileLength)],
  offset: [2, uint(LIMITS.metadataFileBytes)],
  totalBytes: [3, uint(LIMITS.metadataFileBytes)],
  data: [4, optional(bytes(0, LIMITS.blockBytes))],
  error: [5, optional(text(40))],
})

/** Gateway tells the device what the verifier said of a wake. */
export const verdictCodec = defineMessage('verdict', SCHEMA_VERSION, 64, {
  boot: [1, uint(0xffff_ffff)],
  index: [2, uint(0xffff_ffff)],
  confirmed: [3, bool],
})

type Decoded<C> = C extends { decode(data: Uint8Array): infer R }
  ? Extract<R, { ok: true }> extends { value: infer V }
    ? V
    : never
  : never
export type Report = Decoded<typeof reportCodec>
export type Wake = Decoded<typeof wakeCodec>
export type DeviceEvent = Decoded<typeof eventCodec>
export type Get = Decoded<typeof getCodec>
export type Block = Decoded<typeof blockCodec>
export type MetaGet = Decoded<typeof metaGetCodec>
export type Meta = Decoded<typeof metaCodec>
/** @public */
export type Verdict = Decoded<typeof verdictCodec>
