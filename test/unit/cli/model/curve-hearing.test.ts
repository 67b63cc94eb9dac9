import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { hearWindows } from '../../../../cli/model/curve-hearing.ts'
import { wakesOf } from '../../../../cli/model/operating-curve.ts'
import { EngineOrtNode } from '../../../../model/engine/engine-ort-node.ts'
import { openBundle } from '../../../../model/opened-bundle.ts'
import { sceneOf, utterances } from '../../../fixtures/audio.ts'

const file = new URL('../../../../zoo/bundles/kws-2.kinglet', import.meta.url)

describe('hearWindows', () => {
  it.each(['full', 'gated'])(
    'at the level %s: the windows replayed wake as the listener did, whatever the pieces',
    async (level) => {
      const opened = await openBundle(readFileSync(file), new EngineOrtNode(), Number.POSITIVE_INFINITY)
      if (!opened.ok) throw new Error(opened.error.detail)
      const bundle = opened.value
      const step = bundle.manifest.ladder.find((candidate) => candidate.level === level)!
      const session = bundle.sessions.get('full')!
      let runs = 0
      const counted = {
        ...{ input: session.input, output: session.output, dispose: () => session.dispose() },
        run: (input: Parameters<typeof session.run>[0]) => {
          runs++
          return session.run(input)
        },
      }
      const [yes, no, stop] = ['yes', 'no', 'stop'].map((label) => utterances(label)[0]!) as [
        Float32Array,
        Float32Array,
        Float32Array,
      ]
      const scene = sceneOf(16, [
        [1, yes],
        [4, no],
        [4.9, stop],
        [8, yes],
        [9.2, yes],
        [14, no],
      ])
      const pieces = [0, 12_345, 12_346, 100_000, 100_640, 256_000].map((from, i, all) =>
        scene.subarray(from, all[i + 1]),
      )
      const heard = await hearWindows({ ...bundle, sessions: new Map([['full', counted]]) }, step, 0, pieces)
      expect(heard.audioMs).toBe(16_000)
      // Once for each window, however many settings are tried afterwards.
      expect(runs).toBe(heard.windows.length)
      expect(heard.windows.some(({ afterGap }, i) => i > 0 && afterGap)).toBe(level === 'gated')
      expect(heard.wakes.length).toBeGreaterThan(2)
      const [pipeline] = bundle.manifest.pipelines
      const { head } = pipeline!
      if (head.kind !== 'wake') throw new Error(head.kind)
      const { policy, labels } = head
      expect(wakesOf(heard, policy, labels)).toEqual(heard.wakes)
      for (const change of [
        { smoothingWindows: 1 },
        { thresholdPermille: 300 },
        { smoothingWindows: 5, thresholdPermille: 400 },
      ]) {
        const pipelines = [{ ...pipeline!, head: { ...head, policy: { ...policy, ...change } } }]
        const changed = { ...bundle, manifest: { ...bundle.manifest, pipelines } }
        const again = await hearWindows(changed, step, 0, [scene])
        expect(wakesOf(heard, { ...policy, ...change }, labels)).toEqual(again.wakes)
      }
      await bundle.dispose()
    },
  )
})
