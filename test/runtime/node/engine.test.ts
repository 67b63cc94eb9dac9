import { describe, expect, it } from 'vitest'
import { EngineOrtNode } from '../../../model/engine/engine-ort-node.ts'
import { engineSuite } from '../../contract/engine.suite.ts'

describe('onnxruntime-node', () => {
  engineSuite(() => new EngineOrtNode())

  it('names runtime and version', () => {
    expect(new EngineOrtNode().name).toMatch(/^onnxruntime-node \d+\.\d+\.\d+$/)
  })
})
