import type { EnergyName } from '../../../contract/messages.ts'
import { type Board, inferenceMillijoule } from '../../../model/boards.ts'

/** Energy a radio takes. */
export interface Radio {
  readonly name: string
  readonly millijoulePerKilobyte: number
  /** cost of one session (connect and transfer), whatever its size */
  readonly fixedMillijoule: number
  /** time on the air, in which the device is awake */
  readonly msPerKilobyte: number
  /** blocks of a download asked for at a time: more than one hides the round trip, and on a slow link fills a queue that a newer
   *  message then waits behind */
  readonly blocksInFlight: number
}

/** Chosen: what a gateway serves a device at a time, see gateway/downloads/block-server.ts. */
const BLOCKS_IN_FLIGHT = 4

/** `wifi` keeps its link warm; the others are planned per byte or per session. lora figures are computed from airtime (at 132 mW, 40 mA
 *  from 3.3 V), the rest are estimates: useful rates of about 0.7 Mbit/s for ble-1m, 8 Mbit/s for wifi, 20 kbit/s for nb-iot. */
export const RADIOS: readonly Radio[] = [
  {
    name: 'ble-1m',
    millijoulePerKilobyte: 0.5,
    fixedMillijoule: 0,
    msPerKilobyte: 12,
    blocksInFlight: BLOCKS_IN_FLIGHT,
  },
  {
    name: 'wifi',
    millijoulePerKilobyte: 1.3,
    fixedMillijoule: 600,
    msPerKilobyte: 1,
    blocksInFlight: BLOCKS_IN_FLIGHT,
  },
  { name: 'lora-sf7', millijoulePerKilobyte: 199, fixedMillijoule: 0, msPerKilobyte: 1_500, blocksInFlight: 1 },
  { name: 'lora-sf9', millijoulePerKilobyte: 659, fixedMillijoule: 0, msPerKilobyte: 5_000, blocksInFlight: 1 },
  { name: 'lora-sf12', millijoulePerKilobyte: 4_720, fixedMillijoule: 0, msPerKilobyte: 35_800, blocksInFlight: 1 },
  {
    name: 'nb-iot',
    millijoulePerKilobyte: 0,
    fixedMillijoule: 1_000,
    msPerKilobyte: 400,
    blocksInFlight: BLOCKS_IN_FLIGHT,
  },
]

export const radioNamed = (name: string): Radio | undefined => RADIOS.find((candidate) => candidate.name === name)

export type EnergyAccounts = Readonly<Record<EnergyName, number>>

export const NO_ENERGY: EnergyAccounts = { sleep: 0, listen: 0, inference: 0, radio: 0, install: 0 }

export const addEnergy = (a: EnergyAccounts, b: Partial<EnergyAccounts>): EnergyAccounts => ({
  sleep: a.sleep + (b.sleep ?? 0),
  listen: a.listen + (b.listen ?? 0),
  inference: a.inference + (b.inference ?? 0),
  radio: a.radio + (b.radio ?? 0),
  install: a.install + (b.install ?? 0),
})

export const totalEnergy = (a: EnergyAccounts): number => a.sleep + a.listen + a.inference + a.radio + a.install

/** Supply voltage of the boards in `model/boards.ts`; chosen: all of them run from 3.3 V. */
const SUPPLY_VOLT = 3.3

/** mW asleep: microphone off, RAM kept. */
export const sleepMilliwatt = (board: Board): number => (board.sleepMicroamp * SUPPLY_VOLT) / 1000

/** Erase and program of serial NOR flash, per byte written. Estimate: 25 mA at 3.3 V for 45 ms a 4 KiB sector erase and 0.7 ms a
 *  256-byte page program, the typical figures of W25Q data sheets. */
const FLASH_MILLIJOULE_PER_BYTE = (25e-3 * 3.3 * (45 + 16 * 0.7)) / 4096

export const flashMillijoule = (writtenBytes: number): number => writtenBytes * FLASH_MILLIJOULE_PER_BYTE

/** Energy of a stretch of listening.
 *  @param macs multiply-accumulates of all its inferences
 *  @param elapsedMs whole stretch, listeningMs of which the microphone was on */
export function listeningEnergy(
  board: Board,
  macs: number,
  heard: { readonly elapsedMs: number; readonly listeningMs: number },
): Pick<EnergyAccounts, 'sleep' | 'listen' | 'inference'> {
  return {
    sleep: (sleepMilliwatt(board) * (heard.elapsedMs - heard.listeningMs)) / 1000,
    listen: (board.listenIdleMilliwatt * heard.listeningMs) / 1000,
    inference: inferenceMillijoule(board, macs),
  }
}

/** mW of a board whose core runs, as while a wake holds it awake: that of its inferences, the only running power that is published
 *  of all of them. */
export const awakeMilliwatt = (board: Board): number => board.kwsMicrojoule / board.kwsMs
