import { expect, it } from 'vitest'
import { featuresSha256 } from '../../../../../contract/manifest.ts'
import { PORTABLE_SCHEMES } from '../../../../../contract/tuf/signature-scheme.ts'
import { agentConfig } from '../../../../../device/core/agent/agent-config.ts'
import { radioNamed } from '../../../../../device/core/power/energy.ts'
import { boardNamed } from '../../../../../model/boards.ts'
import { microFeatures } from '../../../../../model/features/feature-definition.ts'
import { manifestSample } from '../../../../fixtures/manifest.ts'

const given = {
  device: 'bird-1',
  site: 'lab',
  board: boardNamed('xG24')!,
  radio: radioNamed('wifi')!,
  level: 'lite',
} as const

it('what is not given is an hour of reports, mains, any hour of updates and no root', () => {
  const { level, ...same } = given
  expect(agentConfig(given)).toEqual({
    ...same,
    fixedLevel: level,
    trustRoot: new Uint8Array(0),
    schemes: PORTABLE_SCHEMES,
    featuresSha256: [
      featuresSha256(manifestSample.features),
      featuresSha256({ ...manifestSample.features, highPassHz: 20 }),
      ...[10, 20].flatMap((stepMs) => [1, 2, 3, 4].map((frames) => featuresSha256(microFeatures(stepMs, frames)))),
      ...['audio', 'vectors', 'image'].map((input) => featuresSha256({ manifest: 2, pipelines: 1, input })),
    ],
    reportIntervalMs: 3_600_000,
    reportPhaseMs: 3_600_000,
    power: null,
    heat: null,
    governed: true,
    updateWindow: null,
  })
  // A device without a key has no `sign` at all.
  expect('sign' in agentConfig({ ...given, sign: undefined })).toBe(false)
})

it('what is given is taken, false and 0 too', () => {
  const change = {
    trustRoot: Uint8Array.of(1),
    schemes: { ...PORTABLE_SCHEMES },
    power: { capacityMj: 5, horizonMs: 6 },
    governed: false,
    updateWindow: { fromHour: 2, toHour: 4, utcOffsetMinutes: 60 },
    reportPhaseMs: 0,
    reportIntervalMs: 60_000,
    sign: (message: Uint8Array) => message,
  }
  const config = agentConfig({ ...given, ...change })
  expect(config).toMatchObject(change)
  expect(config.sign).toBe(change.sign)
})
