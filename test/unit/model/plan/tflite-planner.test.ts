import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { ScratchOf } from '../../../../model/plan/tflite-lowering.ts'
import { planTflite, type TflitePlan } from '../../../../model/plan/tflite-planner.ts'
import { readTflite } from '../../../../model/tflite/tflite-reader.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../../fixtures/reference-data.ts'

function planned(file: Uint8Array, scratchOf?: ScratchOf): TflitePlan {
  const model = readTflite(file)
  if (!model.ok) throw new Error(`${model.error.code}: ${model.error.detail}`)
  const plan = planTflite(model.value, scratchOf)
  if (!plan.ok) throw new Error(`${plan.error.code}: ${plan.error.detail}`)
  return plan.value
}

describe.skipIf(!hasReferenceData)('public models (skipped without ../shared/data)', () => {
  const read = (path: string): Buffer => readFileSync(join(REFERENCE_DATA, path))
  /** Bytes that TensorFlow Lite Micro's own allocator took for activations and scratch. */
  const reserved = (path: string): number =>
    (JSON.parse(read(path).toString().split('\n', 1)[0]!) as { nonPersistent: number }).nonPersistent

  it.each([
    ['models/mlperf-tiny-kws-int8.tflite', [24_376, 2_656_768, 16_000, 16_000]],
    ['models/mlperf-tiny-vww-int8.tflite', [219_072, 7_489_664, 55_296, 64_512]],
  ])('%s has the known figures', (path, figures) => {
    const { constantBytes, macs, lowerBoundBytes, arenaBytes } = planned(read(path))
    expect([constantBytes, macs, lowerBoundBytes, arenaBytes]).toEqual(figures)
  })

  const operators = hasReferenceData ? readdirSync(join(REFERENCE_DATA, 'int8-reference/operators')) : []
  it.each(operators.filter((name) => name.endsWith('.tflite')))('%s needs no more than the reference takes', (name) => {
    const path = `int8-reference/operators/${name}`
    expect(planned(read(path)).arenaBytes).toBeLessThanOrEqual(reserved(path.replace('.tflite', '.jsonl')))
  })

  const models = hasReferenceData ? readdirSync(join(REFERENCE_DATA, 'int8-reference/models')) : []
  it.each(models)('%s needs no more than the reference takes', (name) => {
    const stem = name.split('.')[0]!
    const pair = /^(.*)-(new|old)$/.exec(stem)
    const path = pair ? `model-pairs/${pair[1]}/${pair[2]}.tflite` : `models/${stem}.tflite`
    expect(existsSync(join(REFERENCE_DATA, path))).toBe(true)
    const plan = planned(read(path))
    expect(plan.arenaBytes).toBeLessThanOrEqual(reserved(`int8-reference/models/${name}`))
  })
})
