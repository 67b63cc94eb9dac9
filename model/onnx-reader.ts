import { err, type Result } from '../contract/result.ts'
import { catchFault, OnnxFault } from './onnx-fault.ts'
import { ONNX_LIMITS } from './onnx-limits.ts'
import { readTensor } from './onnx-tensor.ts'
import {
  elementTypeOfCode,
  type OnnxAttribute,
  type OnnxElementType,
  type OnnxError,
  type OnnxGraph,
  type OnnxModel,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValueInfo,
} from './onnx-types.ts'
import { WireReader } from './protobuf-wire.ts'

/** Totals over all subgraphs, so that nesting cannot multiply a bound. */
interface Budget {
  nodes: number
  tensors: number
  attributes: number
}

/** Reads an ONNX ModelProto without running or trusting it; tensor data stays a view into `bytes`.
 *
 *  Own code rather than a protobuf library because the patch encoder needs the byte range of every initializer, and because
 *  the bytes are hostile until verified: all bounds (ONNX_LIMITS) hold before anything is allocated, duplicates of singular
 *  fields and non-minimal varints are refused. Unknown fields are skipped, as protobuf demands.
 *  @param bytes the whole file, at most ONNX_LIMITS.modelBytes
 *  @returns the model, or `onnx-malformed` | `onnx-too-large` | `onnx-external-data` | `onnx-unsupported-type`
 *  @see onnx.proto of ONNX 1.16 (IR version 10)
 */
export function readOnnx(bytes: Uint8Array): Result<OnnxModel, OnnxError> {
  if (bytes.length > ONNX_LIMITS.modelBytes) {
    return err({ code: 'onnx-too-large', detail: `file of ${bytes.length} bytes, at most ${ONNX_LIMITS.modelBytes}` })
  }
  return catchFault(() => readModel(new WireReader(bytes, 'ModelProto', 0, bytes.length)))
}

function readModel(reader: WireReader): OnnxModel {
  const budget: Budget = { nodes: 0, tensors: 0, attributes: 0 }
  const opsets = new Map<string, number>()
  let irVersion = 0
  let producer = ''
  let graph: OnnxGraph | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      irVersion = reader.safeInt()
    } else if (reader.field === 2) {
      reader.once()
      producer = reader.string(ONNX_LIMITS.nameBytes)
    } else if (reader.field === 7) {
      reader.once()
      graph = readGraph(reader.sub('GraphProto'), budget, 1)
    } else if (reader.field === 8) {
      if (opsets.size >= ONNX_LIMITS.opsetImports)
        reader.tooLarge(`more than ${ONNX_LIMITS.opsetImports} opset imports`)
      const [domain, version] = readOpset(reader.sub('OperatorSetIdProto'))
      if (opsets.has(domain)) reader.malformed(`opset of domain "${domain}" twice`)
      opsets.set(domain, version)
    } else reader.skip()
  }
  if (graph === null) throw new OnnxFault('onnx-malformed', 'ModelProto without a graph')
  if (irVersion < 1) throw new OnnxFault('onnx-malformed', `ModelProto with IR version ${irVersion}`)
  return { irVersion, opsets, producer, graph }
}

const standardDomain = (domain: string): string => (domain === 'ai.onnx' ? '' : domain)

function readOpset(reader: WireReader): [domain: string, version: number] {
  let domain = ''
  let version = 0
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      domain = standardDomain(reader.string(ONNX_LIMITS.nameBytes))
    } else if (reader.field === 2) {
      reader.once()
      version = reader.safeInt()
    } else reader.skip()
  }
  return [domain, version]
}

function readGraph(reader: WireReader, budget: Budget, depth: number): OnnxGraph {
  if (depth > ONNX_LIMITS.graphDepth) reader.tooLarge(`graphs nested deeper than ${ONNX_LIMITS.graphDepth}`)
  const inputs: OnnxValueInfo[] = []
  const outputs: OnnxValueInfo[] = []
  const initializers: OnnxTensor[] = []
  const nodes: OnnxNode[] = []
  let name = ''
  while (reader.next()) {
    if (reader.field === 1) {
      if (++budget.nodes > ONNX_LIMITS.nodes) reader.tooLarge(`more than ${ONNX_LIMITS.nodes} nodes`)
      nodes.push(readNode(reader.sub('NodeProto'), budget, depth))
    } else if (reader.field === 2) {
      reader.once()
      name = reader.string(ONNX_LIMITS.nameBytes)
    } else if (reader.field === 5) initializers.push(countedTensor(reader, budget))
    else if (reader.field === 11 || reader.field === 12) {
      const ports = reader.field === 11 ? inputs : outputs
      if (ports.length >= ONNX_LIMITS.graphPorts) reader.tooLarge(`more than ${ONNX_LIMITS.graphPorts} graph values`)
      ports.push(readValueInfo(reader.sub('ValueInfoProto')))
    } else if (reader.field === 15) {
      throw new OnnxFault('onnx-unsupported-type', `sparse initializer at byte ${reader.fieldOffset}`)
    } else reader.skip()
  }
  return { name, inputs, outputs, initializers, nodes }
}

function countedTensor(reader: WireReader, budget: Budget): OnnxTensor {
  if (++budget.tensors > ONNX_LIMITS.tensors) reader.tooLarge(`more than ${ONNX_LIMITS.tensors} tensors`)
  return readTensor(reader.sub('TensorProto'))
}

function readNode(reader: WireReader, budget: Budget, depth: number): OnnxNode {
  const inputs: string[] = []
  const outputs: string[] = []
  const attributes = new Map<string, OnnxAttribute>()
  let name = ''
  let opType = ''
  let domain = ''
  while (reader.next()) {
    if (reader.field === 1 || reader.field === 2) {
      const ports = reader.field === 1 ? inputs : outputs
      if (ports.length >= ONNX_LIMITS.nodePorts) reader.tooLarge(`more than ${ONNX_LIMITS.nodePorts} inputs or outputs`)
      ports.push(reader.string(ONNX_LIMITS.nameBytes))
    } else if (reader.field === 3) {
      reader.once()
      name = reader.string(ONNX_LIMITS.nameBytes)
    } else if (reader.field === 4) {
      reader.once()
      opType = reader.string(ONNX_LIMITS.nameBytes)
    } else if (reader.field === 7) {
      reader.once()
      domain = standardDomain(reader.string(ONNX_LIMITS.nameBytes))
    } else if (reader.field === 5) {
      if (++budget.attributes > ONNX_LIMITS.attributes)
        reader.tooLarge(`more than ${ONNX_LIMITS.attributes} attributes`)
      const [key, attribute] = readAttribute(reader.sub('AttributeProto'), budget, depth)
      if (attributes.has(key)) reader.malformed(`attribute "${key}" twice`)
      attributes.set(key, attribute)
    } else reader.skip()
  }
  if (opType === '') reader.malformed(`node "${name}" without op_type`)
  return { opType, domain, name, inputs, outputs, attributes }
}

/** AttributeProto.AttributeType codes; the discriminator decides, since proto2 writers omit zero values. */
const ATTRIBUTE_KINDS: ReadonlyMap<number, OnnxAttribute['kind']> = new Map([
  [1, 'float'],
  [2, 'int'],
  [3, 'string'],
  [4, 'tensor'],
  [5, 'graph'],
  [6, 'floats'],
  [7, 'ints'],
  [8, 'strings'],
  [9, 'tensors'],
  [10, 'graphs'],
])

function readAttribute(reader: WireReader, budget: Budget, depth: number): [name: string, attribute: OnnxAttribute] {
  const floats: number[] = []
  const ints: number[] = []
  const strings: Uint8Array[] = []
  const tensors: OnnxTensor[] = []
  const graphs: OnnxGraph[] = []
  let name = ''
  let typeCode = 0
  let float = 0
  let int = 0
  let string: Uint8Array = new Uint8Array(0)
  let tensor: OnnxTensor | null = null
  let graph: OnnxGraph | null = null
  while (reader.next()) {
    const field = reader.field
    if (field <= 5 || field === 20) reader.once()
    if (field === 1) name = reader.string(ONNX_LIMITS.nameBytes)
    else if (field === 2) float = reader.float32()
    else if (field === 3) int = reader.int64()
    else if (field === 4) string = reader.bytes()
    else if (field === 5) tensor = countedTensor(reader, budget)
    else if (field === 6) {
      reader.once()
      graph = readGraph(reader.sub('GraphProto'), budget, depth + 1)
    } else if (field === 7) reader.float32s(floats, ONNX_LIMITS.attributeList)
    else if (field === 8) reader.int64s(ints, ONNX_LIMITS.attributeList)
    else if (field === 9) {
      if (strings.length >= ONNX_LIMITS.attributeList) reader.tooLarge('too many strings')
      strings.push(reader.bytes())
    } else if (field === 10) tensors.push(countedTensor(reader, budget))
    else if (field === 11) graphs.push(readGraph(reader.sub('GraphProto'), budget, depth + 1))
    else if (field === 20) typeCode = reader.safeInt()
    else reader.skip()
  }
  const attribute = ((): OnnxAttribute => {
    switch (ATTRIBUTE_KINDS.get(typeCode)) {
      case 'float':
        return { kind: 'float', value: float }
      case 'int':
        return { kind: 'int', value: int }
      case 'string':
        return { kind: 'string', value: string }
      case 'tensor':
        return tensor === null
          ? reader.malformed(`attribute "${name}" without its tensor`)
          : { kind: 'tensor', value: tensor }
      case 'graph':
        return graph === null
          ? reader.malformed(`attribute "${name}" without its graph`)
          : { kind: 'graph', value: graph }
      case 'floats':
        return { kind: 'floats', value: floats }
      case 'ints':
        return { kind: 'ints', value: ints }
      case 'strings':
        return { kind: 'strings', value: strings }
      case 'tensors':
        return { kind: 'tensors', value: tensors }
      case 'graphs':
        return { kind: 'graphs', value: graphs }
      default:
        return { kind: 'other' }
    }
  })()
  return [name, attribute]
}

function readValueInfo(reader: WireReader): OnnxValueInfo {
  let name = ''
  let elementType: OnnxElementType | null = null
  let dims: (number | null)[] | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      name = reader.string(ONNX_LIMITS.nameBytes)
    } else if (reader.field === 2) {
      reader.once()
      const type = reader.sub('TypeProto')
      // Field 1 is tensor_type; sequences, maps and optionals stay null and are refused by whoever needs the value.
      while (type.next()) {
        if (type.field !== 1) type.skip()
        else {
          type.once()
          ;[elementType, dims] = readTensorType(type.sub('TypeProto.Tensor'))
        }
      }
    } else reader.skip()
  }
  return { name, elementType, dims }
}

function readTensorType(reader: WireReader): [OnnxElementType | null, (number | null)[] | null] {
  let elementType: OnnxElementType | null = null
  let dims: (number | null)[] | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      elementType = elementTypeOfCode(reader.safeInt()) ?? null
    } else if (reader.field === 2) {
      reader.once()
      const shape = reader.sub('TensorShapeProto')
      dims = []
      while (shape.next()) {
        if (shape.field !== 1) shape.skip()
        else {
          if (dims.length >= ONNX_LIMITS.dims) shape.tooLarge(`more than ${ONNX_LIMITS.dims} dimensions`)
          dims.push(readDimension(shape.sub('TensorShapeProto.Dimension')))
        }
      }
    } else reader.skip()
  }
  return [elementType, dims]
}

/** @returns null when symbolic, unset, or the -1 and 0 that some converters write for "unknown" */
function readDimension(reader: WireReader): number | null {
  let value: number | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      const dim = reader.safeInt()
      if (dim > ONNX_LIMITS.dimension) reader.malformed(`dimension ${dim}`)
      value = dim > 0 ? dim : null
    } else reader.skip()
  }
  return value
}
