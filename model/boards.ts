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

const board = (
  name: string,
  core: string,
  ramBytes: number,
  flashBytes: number,
  mhz: number,
  kwsMs: number,
  kwsMicrojoule: number,
  listenIdleMilliwatt: number,
  sleepMicroamp: number,
  source: string,
): Board => ({
  name,
  core,
  ramBytes,
  flashBytes,
  mhz,
  kwsMs,
  kwsMicrojoule,
  listenIdleMilliwatt,
  sleepMicroamp,
  source,
})

/** xG24 and ESP32-S3 publish no listen-idle power. Chosen: that of the nearest measured core (NUCLEO-U385RG) for the xG24, and
 *  an estimate of 40 mW for the ESP32-S3, whose modem-sleep current at 80 MHz is of that order. */
export const BOARDS: readonly Board[] = [
  board(
    'NUCLEO-L4R5ZI',
    'Cortex-M4',
    655_360,
    2_097_152,
    120,
    43.4,
    1431,
    16.4,
    3,
    'MLPerf Tiny v1.3 closed; sleep estimated',
  ),
  board(
    'NUCLEO-U575ZI',
    'Cortex-M33',
    786_432,
    2_097_152,
    160,
    29,
    664,
    4.9,
    9,
    'MLPerf Tiny v1.3 closed; sleep from data sheet',
  ),
  board(
    'NUCLEO-U385RG',
    'Cortex-M33',
    262_144,
    1_048_576,
    96,
    48.3,
    245,
    2.3,
    3,
    'MLPerf Tiny v1.3 closed; sleep estimated',
  ),
  board(
    'NUCLEO-H7A3ZI',
    'Cortex-M7',
    1_247_805,
    2_097_152,
    280,
    11.3,
    1376,
    16.5,
    35,
    'MLPerf Tiny v1.2/v1.3; sleep estimated',
  ),
  board(
    'xG24',
    'Cortex-M33+MVP',
    262_144,
    1_572_864,
    78,
    36.3,
    402,
    2.3,
    2,
    'MLPerf Tiny v1.0; listen-idle and sleep estimated',
  ),
  board(
    'NDP9120',
    'neural accelerator',
    1_363_148,
    2_097_152,
    98.7,
    1.48,
    43.8,
    0.47,
    5,
    'MLPerf Tiny v1.3 (0.507 mW streaming at duty .022); flash and sleep estimated',
  ),
  board(
    'ESP32-S3',
    'Xtensa LX7',
    524_288,
    8_388_608,
    240,
    20,
    4500,
    40,
    240,
    'estimated; light-sleep current from the data sheet',
  ),
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
