import { describe, expect, it } from 'vitest'
import { enrolRequest } from '../../cloud/api/schemas.ts'
import { claimRequest } from '../../cloud/api/schemas-identity.ts'
import { isBoard } from '../../contract/fields.ts'

/** The cloud once enrolled `nRF52840 DK`, whose token every gateway then refused. */
describe('a board that the cloud enrols is one whose token a gateway takes', () => {
  const names = ['nRF52840 DK', 'nRF52840-DK', 'a|b', 'a/b', '', 'x'.repeat(33), 'ESP32-S3', 'nRF52840 DK ']
  it.each(names)('%j', (board) => {
    expect(enrolRequest.safeParse([{ device: 'd', site: 's', board }]).success).toBe(isBoard(board))
    expect(claimRequest.safeParse({ site: 's', board }).success).toBe(isBoard(board))
  })
})
