import { err, type Result } from '../../contract/result.ts'
import { catchFault, OnnxFault } from './onnx-fault.ts'
import { ONNX_LIMITS, type OnnxLimits } from './onnx-limits.ts'
import { readTensor } from './onnx-tensor.ts'
import type {
  OnnxAttribute,
  OnnxError,
  OnnxErrorCode,
  OnnxGraph,
  OnnxModel,
  OnnxNode,
  OnnxTensor,
  OnnxValueInfo,
} from './onnx-types.ts'
import { readValueInfo } from './onnx-value-info.ts'
import { WireReader } from './protobuf-wire.ts'

/** How a file is read. */
export interface OnnxReading {
  readonly limits: OnnxLimits
  /** A tensor that is not held as numbers in this file (strings, external data, newer types), and one or a list of attributes with
   *  too many numbers to decode, is left out instead of the file being refused: for who asks where things are, not for who runs them. */
  readonly omits: boolean
}

const FOR_DEVICES: OnnxReading = { limits: ONNX_LIMITS, omits: false }

/** A reading under way, with totals over all subgraphs, so that nesting cannot multiply a bound. */
interface Budget extends OnnxReading {
  nodes: number
  tensors: number
  attributes: number
  /** decoded from lists and varints */
  numbers: number
}

/** Reads an ONNX ModelProto without running or trusting it; tensor data stays a view into `bytes`.
 *
 *  Own code rather than a protobuf library because the patch encoder needs the byte range of every initializer, and because
 *  the bytes are hostile until verified: all bounds (ONNX_LIMITS) hold before anything is allocated, duplicates of singular
 *  fields and non-minimal varints are refused. Unknown fields are skipped, as protobuf demands.
 *  @param bytes the whole file, at most `limits.modelBytes`
 *  @param reading bounds and strictness; as for a device unless said otherwise
 *  @returns the model, or `onnx-malformed` | `onnx-too-large` | `onnx-external-data` | `onnx-unsupported-type`
 *  @see onnx.proto of ONNX 1.16 (IR version 10)
 */
export function readOnnx(bytes: Uint8Array, reading: OnnxReading = FOR_DEVICES): Result<OnnxModel, OnnxError> {
  const { modelBytes } = reading.limits
  if (bytes.length > modelBytes) {
    return err({ code: 'onnx-too-large', detail: `file of ${bytes.length} bytes, at most ${modelBytes}` })
  }
  return catchFault(() => readModel(new WireReader(bytes, 'ModelProto', 0, bytes.length), reading))
}

function readModel(reader: WireReader, reading: OnnxReading): OnnxModel {
  const { limits } = reading
  const budget: Budget = { ...reading, nodes: 0, tensors: 0, attributes: 0, numbers: 0 }
  const opsets = new Map<string, number>()
  let opsetImports = 0
  let irVersion = 0
  let producer = ''
  let graph: OnnxGraph | null = null
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      irVersion = reader.safeInt()
    } else if (reader.field === 2) {
      reader.once()
      producer = reader.string(limits.nameBytes)
    } else if (reader.field === 7) {
      reader.once()
      graph = readGraph(reader.sub('GraphProto'), budget, 1)
    } else if (reader.field === 8) {
      if (opsetImports++ >= limits.opsetImports) reader.tooLarge(`more than ${limits.opsetImports} opset imports`)
      const [domain, version] = readOpset(reader.sub('OperatorSetIdProto'), limits)
      // Of several versions of a domain nodes bind to the highest, as onnx.proto says of ModelProto.opset_import.
      opsets.set(domain, Math.max(version, opsets.get(domain) ?? 0))
    } else reader.skip()
  }
  if (graph === null) throw new OnnxFault('onnx-malformed', 'ModelProto without a graph')
  if (irVersion < 1) throw new OnnxFault('onnx-malformed', `ModelProto with IR version ${irVersion}`)
  return { irVersion, opsets, producer, graph }
}

const standardDomain = (domain: string): string => (domain === 'ai.onnx' ? '' : domain)

function readOpset(reader: WireReader, limits: OnnxLimits): [domain: string, version: number] {
  let domain = ''
  let version = 0
  while (reader.next()) {
    if (reader.field === 1) {
      reader.once()
      domain = standardDomain(reader.string(limits.nameBytes))
    } else if (reader.field === 2) {
      reader.once()
      version = reader.safeInt()
    } else reader.skip()
  }
  return [domain, version]
}

function readGraph(reader: WireReader, budget: Budget, depth: number): OnnxGraph {
  const { limits } = budget
  if (depth > limits.graphDepth) reader.tooLarge(`graphs nested deeper than ${limits.graphDepth}`)
  const inputs: OnnxValueInfo[] = []
  const outputs: OnnxValueInfo[] = []
  const initializers: OnnxTensor[] = []
  const nodes: OnnxNode[] = []
  let name = ''
  while (reader.next()) {
    if (reader.field === 1) {
      if (++budget.nodes > limits.nodes) reader.tooLarge(`more than ${limits.nodes} nodes`)
      nodes.push(readNode(reader.sub('NodeProto'), budget, depth))
    } else if (reader.field === 2) {
      reader.once()
      name = reader.string(limits.nameBytes)
    } else if (reader.field === 5) {
      const tensor = countedTensor(reader, budget)
      if (tensor !== null) initializers.push(tensor)
    } else if (reader.field === 11 || reader.field === 12) {
      const ports = reader.field === 11 ? inputs : outputs
      if (ports.length >= limits.graphPorts) reader.tooLarge(`more than ${limits.graphPorts} graph values`)
      ports.push(readValueInfo(reader.sub('ValueInfoProto'), limits))
    } else if (reader.field === 15 && !budget.omits) {
      throw new OnnxFault('onnx-unsupported-type', `sparse initializer at byte ${reader.fieldOffset}`)
    } else reader.skip()
  }
  return { name, inputs, outputs, initializers, nodes }
}

/** @returns null for a tensor that this reading leaves out */
function countedTensor(reader: WireReader, budget: Budget): OnnxTensor | null {
  const { limits } = budget
  if (++budget.tensors > limits.tensors) reader.tooLarge(`more than ${limits.tensors} tensors`)
  const sub = reader.sub('TensorProto')
  const bytes = sub.end - sub.position
  const varintsMax = Math.min(limits.varintElements, limits.decodedNumbers - budget.numbers)
  const tensor = omissible(budget, () => readTensor(sub, limits, varintsMax))
  // One that was given up may have come as far as its bound.
  if (tensor === null) budget.numbers += Math.min(varintsMax, bytes)
  else if (tensor.range === null) budget.numbers += tensor.elements
  return tensor
}

const OMITTED: ReadonlySet<OnnxErrorCode> = new Set(['onnx-external-data', 'onnx-unsupported-type', 'onnx-too-large'])

/** @returns what was read, or null where it is left out */
function omissible<T>({ omits }: Budget, read: () => T): T | null {
  try {
    return read()
  } catch (fault) {
    if (omits && fault instanceof OnnxFault && OMITTED.has(fault.code)) return null
    throw fault
  }
}

function readNode(reader: WireReader, budget: Budget, depth: number): OnnxNode {
  const { limits } = budget
  const inputs: string[] = []
  const outputs: string[] = []
  const attributes = new Map<string, OnnxAttribute>()
  let name = ''
  let opType = ''
  let domain = ''
  while (reader.next()) {
    if (reader.field === 1 || reader.field === 2) {
      const ports = reader.field === 1 ? inputs : outputs
      if (ports.length >= limits.nodePorts) reader.tooLarge(`more than ${limits.nodePorts} inputs or outputs`)
      ports.push(reader.string(limits.nameBytes))
    } else if (reader.field === 3) {
      reader.once()
      name = reader.string(limits.nameBytes)
    } else if (reader.field === 4) {
      reader.once()
      opType = reader.string(limits.nameBytes)
    } else if (reader.field === 7) {
      reader.once()
      domain = standardDomain(reader.string(limits.nameBytes))
    } else if (reader.field === 5) {
      if (++budget.attributes > limits.attributes) reader.tooLarge(`more than ${limits.attributes} attributes`)
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
  const { limits } = budget
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
  let omitted = false
  const listMax = Math.min(limits.attributeList, limits.decodedNumbers - budget.numbers)
  let graph: OnnxGraph | null = null
  while (reader.next()) {
    const field = reader.field
    if (field <= 5 || field === 20) reader.once()
    if (field === 1) name = reader.string(limits.nameBytes)
    else if (field === 2) float = reader.float32()
    else if (field === 3) int = reader.int64()
    else if (field === 4) string = reader.bytes()
    else if (field === 5) {
      tensor = countedTensor(reader, budget)
      omitted ||= tensor === null
    } else if (field === 6) {
      reader.once()
      graph = readGraph(reader.sub('GraphProto'), budget, depth + 1)
    } else if (field === 7 || field === 8) {
      // Once is enough: unpacked, each further number would be refused by itself.
      if (omitted) reader.skip()
      else {
        const read = omissible(budget, () => {
          if (field === 7) reader.float32s(floats, listMax)
          else reader.int64s(ints, listMax)
          return true
        })
        omitted = read === null
      }
    } else if (field === 9) {
      if (strings.length >= limits.attributeList) reader.tooLarge('too many strings')
      strings.push(reader.bytes())
    } else if (field === 10) {
      const element = countedTensor(reader, budget)
      if (element !== null) tensors.push(element)
    } else if (field === 11) graphs.push(readGraph(reader.sub('GraphProto'), budget, depth + 1))
    else if (field === 20) typeCode = reader.safeInt()
    else reader.skip()
  }
  budget.numbers += floats.length + ints.length
  const attribute = ((): OnnxAttribute => {
    if (omitted) return { kind: 'other' }
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
      case 'other':
      case undefined:
        return { kind: 'other' }
    }
  })()
  return [name, attribute]
}
