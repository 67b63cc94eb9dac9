import canonicalize from 'canonicalize'
import { decodeBundle, encodeBundle } from '../../contract/bundle.ts'
import { sha256Hex } from '../../contract/bytes.ts'
import type { ContractError } from '../../contract/errors.ts'
import { type BundleManifest, parseManifest, readManifest, SECTIONS } from '../../contract/manifest.ts'
import type { Result } from '../../contract/result.ts'
import { readBundleFile } from '../open-bundle-file.ts'
import { zooFile } from '../package-root.ts'

/** The factory's model released once more, under a new version and name: same networks, same policy. What a fleet then measures of it
 *  differs by chance alone. */
export const REISSUED = 'kws-1-again'

/** A bundle that the story releases: one of the zoo, or the one that is made of it.
 *  @param name of the release */
export function storyBundle(name: string): { readonly bytes: Uint8Array; readonly manifest: BundleManifest } {
  const bytes = name === REISSUED ? reissued(readZoo('kws-1'), REISSUED) : readZoo(name)
  return { bytes, manifest: whole(readManifest(bytes)) }
}

const readZoo = (name: string): Uint8Array => readBundleFile(zooFile('bundles', `${name}.kinglet`))

/** The bundle with another name, the next version and the old one as its parent; every other byte is as it was. */
function reissued(bundle: Uint8Array, name: string): Uint8Array {
  const sections = whole(decodeBundle(bundle))
  const { version } = whole(parseManifest(sections))
  const written = JSON.parse(new TextDecoder().decode(sections.get(SECTIONS.manifest))) as object
  const next = { ...written, name, version: version + 1, parent: sha256Hex(bundle) }
  const renamed = new TextEncoder().encode(canonicalize(next))
  return encodeBundle(
    [...sections].map(([section, data]) => ({ name: section, data: section === SECTIONS.manifest ? renamed : data })),
  )
}

/** The zoo's bundles are whole, or the package is broken. */
function whole<T>(result: Result<T, ContractError>): T {
  if (result.ok) return result.value
  throw new Error(`${result.error.code}: ${result.error.detail}`)
}
