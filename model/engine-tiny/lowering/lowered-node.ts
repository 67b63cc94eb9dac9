import type { ShapedNode } from '../../onnx/onnx-graph.ts'
import { OpView } from '../../onnx/onnx-op.ts'
import { TinyFault } from '../tiny-fault.ts'

/** A node with what refusals name. */
export class LoweredNode {
  readonly shaped: ShapedNode
  readonly view: OpView

  constructor(shaped: ShapedNode, opset: number) {
    this.shaped = shaped
    this.view = new OpView(shaped.node, shaped.inputs, opset)
  }

  get opType(): string {
    return this.shaped.node.opType
  }

  get where(): string {
    return `${this.opType} "${this.shaped.node.name || this.outputName}"`
  }

  get outputName(): string {
    return this.shaped.node.outputs[0] ?? ''
  }

  get output(): readonly number[] {
    return this.shaped.outputs[0]?.dims ?? []
  }

  inputName(at: number): string {
    return this.shaped.node.inputs[at] ?? ''
  }

  unsupported(what: string): never {
    throw new TinyFault('tiny-unsupported-operator', `${this.where}: ${what}; it stays with onnxruntime`)
  }

  unsupportedType(what: string): never {
    throw new TinyFault('tiny-unsupported-type', `${this.where}: ${what}; it stays with onnxruntime`)
  }
}
