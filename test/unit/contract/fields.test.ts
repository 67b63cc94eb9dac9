import { describe, expect, it } from 'vitest'
import {
  boardField,
  idField,
  isBoard,
  isName,
  isSha256Hex,
  nameField,
  sha256Field,
  uintField,
} from '../../../contract/fields.ts'
import { canonicalId, isId } from '../../../contract/id.ts'
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
    ['5f0e8a4c-8b1d-4a57-9a55-0c1d2e3f4a5b', true],
    ['aa:bb:cc:dd:ee:ff', true],
    ['sn_0042.rev-b', true],
    ['.', false],
    ['..', false],
    [':a', false],
    ['a/b', false],
    ['a|b', false],
    ['a#', false],
    ['a b', false],
    ['a~1', false],
    ['a+', false],
    ['a\n', false],
    ['ä', false],
    // The Kelvin sign: its lower case is k.
    ['a\u212a', false],
  ])('id %j: %s', (text, holds) => {
    expect(isId(text)).toBe(holds)
    expect(idField.safeParse(text).success).toBe(holds)
  })

  it.each([
    ['AA:BB:CC:DD:EE:FF', 'aa:bb:cc:dd:ee:ff'],
    ['5F0E8A4C-8B1D-4A57-9A55-0C1D2E3F4A5B', '5f0e8a4c-8b1d-4a57-9a55-0c1d2e3f4a5b'],
    ['kws-2', 'kws-2'],
    ['Ä', undefined],
    ['A B', undefined],
    ['\u212a', undefined],
  ])('id %j is canonically %j', (given, canonical) => {
    expect(canonicalId(given)).toBe(canonical)
    expect(idField.safeParse(given).data).toBe(canonical)
  })

  it('names of files and folders stay what they were', () => {
    expect(['kws-2', 'n'.repeat(LIMITS.nameLength)].filter((name) => !isName(name))).toEqual([])
    expect(['A', 'a.b', 'a:b', 'a_b', '', 'n'.repeat(LIMITS.nameLength + 1)].filter(isName)).toEqual([])
    expect(nameField.safeParse('a.b').success).toBe(false)
  })

  it.each([
    ['nRF52840-DK', true],
    ['ESP32.S3_v2', true],
    ['b'.repeat(LIMITS.nameLength), true],
    ['b'.repeat(LIMITS.nameLength + 1), false],
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
