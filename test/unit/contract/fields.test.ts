import { describe, expect, it } from 'vitest'
import { boardField, idField, isBoard, isId, isSha256Hex, sha256Field, uintField } from '../../../contract/fields.ts'
import { LIMITS } from '../../../contract/limits.ts'
import { BOARDS } from '../../../model/boards.ts'

describe('fields that documents share', () => {
  it.each([
    ['a', true],
    ['kws-2', true],
    ['0', true],
    ['a'.repeat(LIMITS.idLength), true],
    ['a'.repeat(LIMITS.idLength + 1), false],
    ['', false],
    ['-a', false],
    ['A', false],
    ['a/b', false],
    ['a+', false],
    ['a\n', false],
    ['ä', false],
  ])('id %j: %s', (text, holds) => {
    expect(isId(text)).toBe(holds)
    expect(idField.safeParse(text).success).toBe(holds)
  })

  it.each([
    ['nRF52840-DK', true],
    ['ESP32.S3_v2', true],
    ['b'.repeat(LIMITS.idLength), true],
    ['b'.repeat(LIMITS.idLength + 1), false],
    ['', false],
    ['nRF52840 DK', false],
    ['a/b', false],
    ['a|b', false],
    ['a\n', false],
  ])('board %j: %s', (text, holds) => {
    expect(isBoard(text)).toBe(holds)
    expect(boardField.safeParse(text).success).toBe(holds)
  })

  it('every board that the model knows has a name that the contract takes', () => {
    expect(BOARDS.filter(({ name }) => !isBoard(name))).toEqual([])
  })

  it.each([
    ['0'.repeat(64), true],
    ['0'.repeat(63), false],
    ['0'.repeat(65), false],
    ['A'.repeat(64), false],
    [`${'0'.repeat(64)}\n`, false],
  ])('sha256 %j: %s', (text, holds) => {
    expect(isSha256Hex(text)).toBe(holds)
    expect(sha256Field.safeParse(text).success).toBe(holds)
  })

  it.each([
    [0, true],
    [LIMITS.counter, true],
    [LIMITS.counter + 1, false],
    [-1, false],
    [0.5, false],
    ['1', false],
  ])('count %j: %s', (value, holds) => {
    expect(uintField.safeParse(value).success).toBe(holds)
  })
})
