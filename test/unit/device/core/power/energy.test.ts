import { describe, expect, it } from 'vitest'
import type { LadderStep } from '../../../../../contract/manifest.ts'
import {
  addEnergy,
  awakeMilliwatt,
  flashMillijoule,
  listeningEnergy,
  NO_ENERGY,
  RADIOS,
  radioNamed,
  sleepMilliwatt,
  totalEnergy,
} from '../../../../../device/core/power/energy.ts'
import { levelMilliwatt } from '../../../../../device/core/power/governor.ts'
import { boardNamed, KWS_REFERENCE_MACS } from '../../../../../model/boards.ts'
import { pipelineSample } from '../../../../fixtures/manifest.ts'

const board = boardNamed('NUCLEO-U575ZI')!
const HOUR = 3_600_000
const full = pipelineSample.ladder[0] as LadderStep
const power = (step: LadderStep) => levelMilliwatt(pipelineSample, board, step, 0.1)

describe('energy', () => {
  it('adds up by account', () => {
    const sum = addEnergy(addEnergy(NO_ENERGY, { radio: 1, sleep: 2 }), {
      radio: 3,
      listen: 4,
      inference: 5,
      install: 6,
    })
    expect(sum).toEqual({ sleep: 2, listen: 4, inference: 5, radio: 4, install: 6 })
    expect(totalEnergy(sum)).toBe(21)
    expect(totalEnergy(NO_ENERGY)).toBe(0)
  })

  it('of an hour at full level is what the board takes: listening, and five inferences a second', () => {
    const energy = listeningEnergy(board, 18_000 * KWS_REFERENCE_MACS, { elapsedMs: HOUR, listeningMs: HOUR })
    expect(energy.sleep).toBe(0)
    expect(energy.listen).toBeCloseTo(4.9 * 3600)
    expect(energy.inference).toBeCloseTo(18_000 * 0.664)
    // The governor's forecast for the level is the mean power of the same hour.
    expect(power(full)).toBeCloseTo((energy.listen + energy.inference) / 3600)
  })

  it('of a sparse hour is mostly sleep', () => {
    const energy = listeningEnergy(board, 0, { elapsedMs: HOUR, listeningMs: HOUR / 10 })
    expect(energy.sleep).toBeCloseTo(sleepMilliwatt(board) * 3240)
    expect(energy.listen).toBeCloseTo(4.9 * 360)
  })

  it('of writing flash is proportional, and awake is what the core takes while it infers', () => {
    expect(flashMillijoule(8_192)).toBeCloseTo(2 * flashMillijoule(4_096))
    expect(flashMillijoule(4_096)).toBeCloseTo(25 * 3.3 * 0.0562, 3)
    // 664 µJ in 29 ms
    expect(awakeMilliwatt(board)).toBeCloseTo(22.9, 1)
  })

  it('radios have names', () => {
    for (const radio of RADIOS) expect(radioNamed(radio.name)).toBe(radio)
    expect(radioNamed('smoke')).toBeUndefined()
  })

  it('asleep is the current of the board at 3.3 V', () => {
    // 9 µA
    expect(sleepMilliwatt(board)).toBeCloseTo(0.0297, 12)
  })

  it('of no time is nothing', () => {
    expect(listeningEnergy(board, 0, { elapsedMs: 0, listeningMs: 0 })).toEqual({ sleep: 0, listen: 0, inference: 0 })
    expect(flashMillijoule(0)).toBe(0)
  })

  it('on the slow radios one block is under way at a time', () => {
    const inFlight = RADIOS.map(({ name, blocksInFlight }) => [name.startsWith('lora'), blocksInFlight])
    expect(new Set(inFlight.map(String))).toEqual(new Set(['true,1', 'false,4']))
  })
})
