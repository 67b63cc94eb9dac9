import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import { isDelegatedRoleName, metadataFileName, parseMetadataFile } from '../../../contract/metadata-file.ts'

describe('names of metadata files', () => {
  it('are made and read back', () => {
    for (const [role, version] of [
      ['root', 1],
      ['targets', 12],
      ['snapshot', LIMITS.metadataVersion],
      ['kws', 3],
    ] as const) {
      expect(parseMetadataFile(metadataFileName(role, version))).toEqual({ ok: true, value: { role, version } })
    }
    expect(metadataFileName('timestamp', 7)).toBe('timestamp.json')
    expect(parseMetadataFile('timestamp.json')).toEqual({ ok: true, value: { role: 'timestamp', version: undefined } })
    const longest = metadataFileName('z'.repeat(LIMITS.nameLength), LIMITS.metadataVersion)
    expect(longest.length).toBeLessThanOrEqual(LIMITS.metadataFileLength)
    expect(parseMetadataFile(longest).ok).toBe(true)
  })

  it.each([
    ...[
      '',
      'root.json',
      'snapshot.json',
      '1.timestamp.json',
      '0.root.json',
      '01.root.json',
      '-1.root.json',
      '1.5.root.json',
    ],
    ...[
      '1.root',
      '1.root.json ',
      ' 1.root.json',
      '1.Root.json',
      '1.mirrors.json',
      '1..json',
      '1.-a.json',
      '1.a_b.json',
    ],
    ...[
      '../1.root.json',
      '1.root.json/..',
      '1.a/b.json',
      '1.a\\b.json',
      '1.%2e%2e.json',
      '1.root.json\0',
      '1.rööt.json',
    ],
    ...['99999999999.root.json', '1e3.root.json', `1.${'z'.repeat(33)}.json`, 'x'.repeat(10_000)],
  ])('%j is none', (name) => {
    expect(parseMetadataFile(name)).toMatchObject({ ok: false, error: { code: 'invalid-request' } })
  })

  it('a family may not take the name of a role of TUF', () => {
    expect(
      ['root', 'targets', 'snapshot', 'timestamp', 'mirrors', '', 'A', '../x', 'a.b'].filter(isDelegatedRoleName),
    ).toEqual([])
    expect(isDelegatedRoleName('kws')).toBe(true)
  })
})
