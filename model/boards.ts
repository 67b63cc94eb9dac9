/** What Kinglet knows of a board: memory, speed and energy. Latency and energy are for the keyword network of MLPerf Tiny and
 *  scale with multiply-accumulates for other networks. */
export interface Board {
  readonly name: string
  readonly core: string
  readonly ramBytes: number
  readonly flashBytes: number
  readonly mhz: number
  /** one inference of the 2 656 768-MAC keyword network */
  readonly kwsMs: number
  readonly kwsMicrojoule: number
  /** microphone and front end running, network idle */
  readonly listenIdleMilliwatt: number
  readonly sleepMicroamp: number
  /** where the figures come from; what is estimated says so */
  readonly source: string
}

/** Multiply-accumulates of the network that kwsMs and kwsMicrojoule were measured on. */
export const KWS_REFERENCE_MACS = 2_656_768

/** xG24 and ESP32-S3 publish no listen-idle power. Chosen: that of the nearest measured core (NUCLEO-U385RG) for the xG24, and
 *  an estimate of 40 mW for the ESP32-S3, whose modem-sleep current at 80 MHz is of that order. */
export const BOARDS: readonly Board[] = [
  {
    name: 'NUCLEO-L4R5ZI',
    core: 'Cortex-M4',
    ramBytes: 655_360,
    flashBytes: 2_097_152,
    mhz: 120,
    kwsMs: 43.4,
    kwsMicrojoule: 1431,
    listenIdleMilliwatt: 16.4,
    sleepMicroamp: 3,
    source: 'MLPerf Tiny v1.3 closed; sleep estimated',
  },
  {
    name: 'NUCLEO-U575ZI',
    core: 'Cortex-M33',
    ramBytes: 786_432,
    flashBytes: 2_097_152,
    mhz: 160,
    kwsMs: 29,
    kwsMicrojoule: 664,
    listenIdleMilliwatt: 4.9,
    sleepMicroamp: 9,
    source: 'MLPerf Tiny v1.3 closed; sleep from data sheet',
  },
  {
    name: 'NUCLEO-U385RG',
    core: 'Cortex-M33',
    ramBytes: 262_144,
    flashBytes: 1_048_576,
    mhz: 96,
    kwsMs: 48.3,
    kwsMicrojoule: 245,
    listenIdleMilliwatt: 2.3,
    sleepMicroamp: 3,
    source: 'MLPerf Tiny v1.3 closed; sleep estimated',
  },
  {
    name: 'NUCLEO-H7A3ZI',
    core: 'Cortex-M7',
    ramBytes: 1_247_805,
    flashBytes: 2_097_152,
    mhz: 280,
    kwsMs: 11.3,
    kwsMicrojoule: 1376,
    listenIdleMilliwatt: 16.5,
    sleepMicroamp: 35,
    source: 'MLPerf Tiny v1.2/v1.3; sleep estimated',
  },
  {
    name: 'xG24',
    core: 'Cortex-M33+MVP',
    ramBytes: 262_144,
    flashBytes: 1_572_864,
    mhz: 78,
    kwsMs: 36.3,
    kwsMicrojoule: 402,
    listenIdleMilliwatt: 2.3,
    sleepMicroamp: 2,
    source: 'MLPerf Tiny v1.0; listen-idle and sleep estimated',
  },
  {
    name: 'NDP9120',
    core: 'neural accelerator',
    ramBytes: 1_363_148,
    flashBytes: 2_097_152,
    mhz: 98.7,
    kwsMs: 1.48,
    kwsMicrojoule: 43.8,
    listenIdleMilliwatt: 0.47,
    sleepMicroamp: 5,
    source: 'MLPerf Tiny v1.3 (0.507 mW streaming at duty .022); flash and sleep estimated',
  },
  {
    name: 'ESP32-S3',
    core: 'Xtensa LX7',
    ramBytes: 524_288,
    flashBytes: 8_388_608,
    mhz: 240,
    kwsMs: 20,
    kwsMicrojoule: 4500,
    listenIdleMilliwatt: 40,
    sleepMicroamp: 240,
    source: 'estimated; light-sleep current from the data sheet',
  },
]

export const boardNamed = (name: string): Board | undefined => BOARDS.find((candidate) => candidate.name === name)

/** Share of RAM that a model may use; the rest is the application's, the stack's and the radio's. Chosen. */
const MODEL_RAM_SHARE = 0.5

/** RAM a model's arena, persistent records and scratch may take on a board, bytes. */
export const modelRamBytes = (target: Board): number => Math.floor(target.ramBytes * MODEL_RAM_SHARE)

/** Milliseconds of one inference of a network with this many multiply-accumulates. */
export const inferenceMs = (target: Board, macs: number): number => (target.kwsMs * macs) / KWS_REFERENCE_MACS

/** Millijoule of one inference of a network with this many multiply-accumulates. */
export const inferenceMillijoule = (target: Board, macs: number): number =>
  (target.kwsMicrojoule * macs) / KWS_REFERENCE_MACS / 1000
