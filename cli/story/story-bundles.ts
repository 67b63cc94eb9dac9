import canonicalize from 'canonicalize'
import { decodeBundle, encodeBundle } from '../../contract/bundle.ts'
import { sha256Hex } from '../../contract/bytes.ts'
import type { ContractError } from '../../contract/errors.ts'
import { type BundleManifest, parseManifest, readManifest, SECTIONS } from '../../contract/manifest.ts'
import type { Result } from '../../contract/result.ts'
import { readBundleFile } from '../open-bundle-file.ts'
import { zooFile } from '../package-root.ts'
import { HARMED_BOARD } from './story-families.ts'

/** The factory's model released once more, under a new version and name: same networks, same policy. What a fleet then measures of it
 *  differs by chance alone. */
export const REISSUED = 'kws-1-again'

/** Bundles that are made of the zoo's: the same networks and policy under a name of another family, or for some boards. */
const MADE: Readonly<Record<string, Make>> = {
  [REISSUED]: { of: 'kws-1', parent: 'kws-1', version: 2 },
  'hall-1': { of: 'kws-1', parent: null, version: 1 },
  'hall-2': { of: 'kws-regressed', parent: 'hall-1', version: 2 },
  'yard-1': { of: 'kws-1', parent: null, version: 1 },
  'yard-2': { of: 'kws-2', parent: 'yard-1', version: 2, boards: (name) => name !== HARMED_BOARD },
  'yard-3': { of: 'kws-regressed', parent: 'yard-1', version: 3, boards: (name) => name === HARMED_BOARD },
}

interface Make {
  /** bundle of the zoo whose networks it has */
  readonly of: string
  /** bundle of the story that it follows */
  readonly parent: string | null
  readonly version: number
  /** which of that bundle's boards it is for; default: all */
  readonly boards?: (name: string) => boolean
}

/** A bundle that the story releases: one of the zoo, or one that is made of it.
 *  @param name of the release */
export function storyBundle(name: string): { readonly bytes: Uint8Array; readonly manifest: BundleManifest } {
  const make = MADE[name]
  const bytes = make === undefined ? readZoo(name) : renamed(readZoo(make.of), name, make)
  return { bytes, manifest: whole(readManifest(bytes)) }
}

const readZoo = (name: string): Uint8Array => readBundleFile(zooFile('bundles', `${name}.kinglet`))

/** The bundle with another name, version, parent and list of boards; every other byte is as it was. */
function renamed(bundle: Uint8Array, name: string, { parent, version, boards = () => true }: Make): Uint8Array {
  const sections = whole(decodeBundle(bundle))
  const manifest = whole(parseManifest(sections))
  const written = JSON.parse(new TextDecoder().decode(sections.get(SECTIONS.manifest))) as object
  const next = {
    ...{ ...written, name, version, boards: manifest.boards.filter(boards) },
    parent: parent === null ? null : sha256Hex(storyBundle(parent).bytes),
  }
  const rewritten = new TextEncoder().encode(canonicalize(next))
  return encodeBundle(
    [...sections].map(([section, data]) => ({ name: section, data: section === SECTIONS.manifest ? rewritten : data })),
  )
}

/** The zoo's bundles are whole, or the package is broken. */
function whole<T>(result: Result<T, ContractError>): T {
  if (result.ok) return result.value
  throw new Error(`${result.error.code}: ${result.error.detail}`)
}
