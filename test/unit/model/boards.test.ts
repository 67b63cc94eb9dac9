import { describe, expect, it } from 'vitest'
import {
  BOARDS,
  boardNamed,
  inferenceMillijoule,
  inferenceMs,
  KWS_REFERENCE_MACS,
  modelRamBytes,
} from '../../../model/boards.ts'

describe('boards', () => {
  it('have one name each, plausible figures and a source', () => {
    expect(new Set(BOARDS.map(({ name }) => name)).size).toBe(BOARDS.length)
    for (const board of BOARDS) {
      expect(boardNamed(board.name)).toBe(board)
      expect(board.ramBytes).toBeGreaterThanOrEqual(256 * 1024)
      expect(board.flashBytes).toBeGreaterThan(board.ramBytes / 2)
      for (const figure of [board.kwsMs, board.kwsMicrojoule, board.listenIdleMilliwatt, board.sleepMicroamp]) {
        expect(figure).toBeGreaterThan(0)
      }
      // Asleep takes less than listening, or the ladder would make no sense.
      expect((board.sleepMicroamp * 3.3) / 1000).toBeLessThan(board.listenIdleMilliwatt)
      expect(board.source).not.toBe('')
    }
    expect(boardNamed('abacus')).toBeUndefined()
  })

  it('time and energy are as measured for the reference network and scale with its work', () => {
    const board = boardNamed('NUCLEO-U575ZI')!
    expect(inferenceMs(board, KWS_REFERENCE_MACS)).toBe(29)
    expect(inferenceMillijoule(board, KWS_REFERENCE_MACS)).toBeCloseTo(0.664)
    expect(inferenceMs(board, KWS_REFERENCE_MACS / 2)).toBeCloseTo(14.5)
    expect(inferenceMillijoule(board, 0)).toBe(0)
  })

  it('a model may use half of the RAM', () => {
    expect(modelRamBytes(boardNamed('NUCLEO-U575ZI')!)).toBe(393_216)
    expect(Number.isInteger(modelRamBytes(boardNamed('NUCLEO-H7A3ZI')!))).toBe(true)
  })
})
