import { sha256Hex } from '../bytes.ts'
import type { Delegation, Delegations, HashBins, RoleKeys } from './metadata.ts'

const encoder = new TextEncoder()

export interface DelegatedRole extends RoleKeys {
  readonly name: string
  readonly terminating: boolean
}

/** The roles a targets document lets speak for a path, in its order, ending with the first terminating one.
 *  @see TUF 1.0.33, 5.6.7.2
 */
export function rolesFor(delegations: Delegations, path: string): readonly DelegatedRole[] {
  if (delegations.hashBins !== undefined) {
    return [{ ...delegations.hashBins, name: hashBinOf(delegations.hashBins, path), terminating: true }]
  }
  const matching = delegations.roles.filter((role) => speaksFor(role, path))
  const end = matching.findIndex((role) => role.terminating)
  return end === -1 ? matching : matching.slice(0, end + 1)
}

function speaksFor(role: Delegation, path: string): boolean {
  if (role.paths !== undefined) return role.paths.some((pattern) => matchesPattern(path, pattern))
  const hash = sha256Hex(encoder.encode(path))
  return (role.pathHashPrefixes ?? []).some((prefix) => hash.startsWith(prefix))
}

/** Name of the bin that answers for a path: the first bits of the sha256 of the path, as zero-padded hex.
 *  @see TAP 15 "succinct hashed bin delegations"
 */
function hashBinOf(bins: HashBins, path: string): string {
  const first32 = Number.parseInt(sha256Hex(encoder.encode(path)).slice(0, 8), 16)
  const index = Math.floor(first32 / 2 ** (32 - bins.bitLength))
  const digits = (2 ** bins.bitLength - 1).toString(16).length
  return `${bins.namePrefix}-${index.toString(16).padStart(digits, '0')}`
}

/** Shell-style matching of section 4.5: `*` is any run of characters and `?` one character, neither of them a slash; everything
 *  else is itself. (Brackets too: the specification does not name them, and a delegation that means less is the safe reading.)
 *  No regular expression is made of the pattern, so that none takes exponential time.
 */
export function matchesPattern(path: string, pattern: string): boolean {
  const parts = path.split('/')
  const patternParts = pattern.split('/')
  return (
    parts.length === patternParts.length &&
    parts.every((part, i) => matchesPart([...part], [...(patternParts[i] ?? '')]))
  )
}

/** Greedy with one way back, to the last star: at most length × pattern length steps. */
function matchesPart(text: readonly string[], pattern: readonly string[]): boolean {
  let at = 0
  let patternAt = 0
  let star = -1
  let starAt = 0
  while (at < text.length) {
    const mark = pattern[patternAt]
    if (mark === '*') {
      star = patternAt++
      starAt = at
    } else if (mark !== undefined && (mark === '?' || mark === text[at])) {
      patternAt++
      at++
    } else if (star !== -1) {
      patternAt = star + 1
      at = ++starAt
    } else return false
  }
  while (pattern[patternAt] === '*') patternAt++
  return patternAt === pattern.length
}
