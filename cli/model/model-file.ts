import { basename } from 'node:path'
import { decodeBundle, hasBundleMagic } from '../../contract/bundle.ts'
import { type BundleManifest, graphSection, parseManifest, SECTIONS } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import { type GraphFile, readGraph } from '../../model/graph-file.ts'
import { TFLITE_LIMITS } from '../../model/tflite/tflite-limits.ts'
import { readBounded } from '../bounded-file.ts'
import { CommandFailure } from '../failure.ts'
import { readBundleFile } from '../open-bundle-file.ts'

/** A file that holds graphs: a bundle, or one graph as TFLite or ONNX. */
export interface ModelFile {
  readonly format: 'bundle' | GraphFile['format']
  readonly fileBytes: number
  /** null for a bare graph */
  readonly manifest: BundleManifest | null
  /** the manifest as it was written, of whichever version; null for a bare graph */
  readonly written: unknown
  /** by the id that the bundle gives, or the file's name */
  readonly graphs: readonly { readonly id: string; readonly graph: GraphFile }[]
}

/** Reads a model file by what it is, its size bounded first.
 *  @throws CommandFailure with the cause, and what it looks like when it is no model */
export function readModelFile(path: string): ModelFile {
  const bytes = readBounded(path, TFLITE_LIMITS.modelBytes)
  if (hasBundleMagic(bytes)) return readBundle(path)
  const graph = readGraph(bytes)
  if (!graph.ok) {
    const hint = graph.error.code === 'not-a-model' ? 'a bundle, a .tflite or an .onnx file is expected' : undefined
    throw new CommandFailure(`${path}: ${graph.error.code}: ${graph.error.detail}`, hint === undefined ? {} : { hint })
  }
  const id = basename(path).replace(/\.[^.]*$/, '')
  return {
    format: graph.value.format,
    fileBytes: bytes.length,
    manifest: null,
    written: null,
    graphs: [{ id, graph: graph.value }],
  }
}

function readBundle(path: string): ModelFile {
  const bytes = readBundleFile(path)
  const failure = (code: string, detail: string) => new CommandFailure(`${path}: ${code}: ${detail}`)
  const sections = decodeBundle(bytes)
  if (!sections.ok) throw failure(sections.error.code, sections.error.detail)
  const manifest = parseManifest(sections.value)
  if (!manifest.ok) throw failure(manifest.error.code, manifest.error.detail)
  const graphs = manifest.value.graphs.map(({ id }) => {
    const graph = readGraph(present(sections.value.get(graphSection(id)), 'the section of a graph'))
    if (!graph.ok) throw failure(graph.error.code, `graph "${id}": ${graph.error.detail}`)
    return { id, graph: graph.value }
  })
  const section = present(sections.value.get(SECTIONS.manifest), 'the manifest of a bundle')
  const written: unknown = JSON.parse(new TextDecoder().decode(section))
  return { format: 'bundle', fileBytes: bytes.length, manifest: manifest.value, written, graphs }
}
