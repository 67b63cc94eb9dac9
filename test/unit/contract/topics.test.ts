import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../../contract/limits.ts'
import {
  blockTopic,
  type DeviceId,
  DOWNLINK_KINDS,
  devicePrefix,
  parseDeviceId,
  parseSiteId,
  parseTopic,
  type SiteId,
  topicOf,
  UPLINK_KINDS,
} from '../../../contract/topics.ts'

const site = 'north-1' as SiteId
const device = 'bird-7' as DeviceId
const hash = 'a0'.repeat(32)

describe('topics', () => {
  it('are made and read back', () => {
    for (const kind of [...UPLINK_KINDS, 'assign', 'verdict', 'meta'] as const) {
      expect(topicOf(site, device, kind)).toBe(`kinglet/v1/north-1/bird-7/${kind}`)
      expect(parseTopic(topicOf(site, device, kind))).toEqual({ ok: true, value: { site, device, kind } })
    }
    expect(parseTopic(blockTopic(site, device, hash))).toEqual({
      ok: true,
      value: { site, device, kind: 'block', sha256: hash },
    })
    expect([...DOWNLINK_KINDS]).toEqual(['assign', 'block', 'verdict', 'meta'])
    expect(devicePrefix(site, device).endsWith('/')).toBe(true)
  })

  it('of the longest ids are within the bound', () => {
    const longest = 'z'.repeat(LIMITS.idLength)
    expect(blockTopic(longest as SiteId, longest as DeviceId, hash).length).toBeLessThanOrEqual(LIMITS.topicBytes)
  })

  it('beyond the bound are refused by their length, before they are taken apart or repeated', () => {
    for (const topic of [`${'a/'.repeat(LIMITS.topicBytes)}`, 'x'.repeat(LIMITS.topicBytes + 1)]) {
      const refused = parseTopic(topic)
      expect(refused).toEqual({ ok: false, error: { code: 'bad-topic', detail: `${topic.length} characters` } })
    }
    const longest = 'x'.repeat(LIMITS.topicBytes)
    expect(parseTopic(longest)).toEqual({ ok: false, error: { code: 'bad-topic', detail: longest } })
  })

  it.each([
    '',
    'kinglet',
    'kinglet/v1',
    'kinglet/v1/north/bird',
    'kinglet/v1/north/bird/',
    'kinglet/v2/north/bird/report',
    'Kinglet/v1/north/bird/report',
    '/kinglet/v1/north/bird/report',
    'kinglet/v1/north/bird/report/',
    'kinglet/v1/north/bird/report/x',
    'kinglet/v1/north/bird/reports',
    'kinglet/v1//bird/report',
    'kinglet/v1/north//report',
    'kinglet/v1/+/bird/report',
    'kinglet/v1/north/#',
    'KINGLET/v1/north/bird/report',
    'kinglet/v1/north/bird|1/report',
    'kinglet/v1/north/../report',
    'kinglet/v1/-north/bird/report',
    'kinglet/v1/nörd/bird/report',
    `kinglet/v1/${'n'.repeat(65)}/bird/report`,
    'kinglet/v1/north/bird/block',
    'kinglet/v1/north/bird/block/',
    `kinglet/v1/north/bird/block/${hash.slice(1)}`,
    `kinglet/v1/north/bird/block/${hash.toUpperCase()}`,
    `kinglet/v1/north/bird/block/${hash}/x`,
    '$SYS/broker/clients',
    'x'.repeat(10_000),
  ])('%j is bad-topic', (topic) => {
    expect(parseTopic(topic)).toMatchObject({ ok: false, error: { code: 'bad-topic' } })
  })

  it('ids are one level, in any case', () => {
    for (const id of ['a', '0', 'a-b', 'z'.repeat(64), 'aa:bb:cc:dd:ee:ff', 'a.b_c']) {
      expect(parseDeviceId(id)).toEqual({ ok: true, value: id })
      expect(parseSiteId(id)).toEqual({ ok: true, value: id })
    }
    for (const id of ['', '-a', '.', 'a b', 'ä', 'a/b', 'a+', 'z'.repeat(65), 'a\n']) {
      expect(parseDeviceId(id)).toMatchObject({ ok: false, error: { code: 'malformed' } })
      expect(parseSiteId(id)).toMatchObject({ ok: false, error: { code: 'malformed' } })
    }
    expect(parseDeviceId('AA:BB')).toEqual({ ok: true, value: 'aa:bb' })
    expect(parseTopic('kinglet/v1/North/AA:BB/report')).toEqual({
      ok: true,
      value: { site: 'north', device: 'aa:bb', kind: 'report' },
    })
  })
})
