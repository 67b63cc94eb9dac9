import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { TufLimits } from '../../contract/limits.ts'
import { maxBytesOf } from '../../contract/tuf/metadata.ts'
import { isTopLevelRole, metadataFile, quoteName } from '../../contract/tuf/role-name.ts'
import type { TrustedFiles } from '../../contract/tuf/trusted-set.ts'
import { makeFolderDurably, writeFileDurablyAsync } from '../../platform/durable-file.ts'

/** Trusted metadata as files of a folder, `ROLE.json` each with the name quoted, so that no role name leaves the folder. The
 *  folder is anybody's to write, so what it holds is never called `verified`. */
export class TrustFolder {
  readonly #dir: string
  readonly #limits: TufLimits
  readonly #kept = new Map<string, Uint8Array>()

  constructor(dir: string, limits: TufLimits) {
    this.#dir = dir
    this.#limits = limits
  }

  /** @returns what is there, or undefined without a root. A file past its limit counts as absent. */
  async load(): Promise<TrustedFiles | undefined> {
    this.#kept.clear()
    for (const file of await readdir(this.#dir)) {
      const role = roleOf(file)
      if (role === undefined) continue
      const kind = isTopLevelRole(role) ? role : 'targets'
      const path = join(this.#dir, file)
      const found = await stat(path)
      if (!found.isFile() || found.size > maxBytesOf(kind, this.#limits)) continue
      this.#kept.set(role, await readFile(path))
    }
    const root = this.#kept.get('root')
    if (root === undefined) return undefined
    const delegated = new Map([...this.#kept].filter(([role]) => !isTopLevelRole(role)))
    const [timestamp, snapshot, targets] = ['timestamp', 'snapshot', 'targets'].map((role) => this.#kept.get(role))
    return { root, timestamp, snapshot, targets, delegated }
  }

  /** Writes what differs from what the folder holds, byte for byte as it was received, and removes what is trusted no more. */
  async keep(trusted: TrustedFiles): Promise<void> {
    const now = new Map<string, Uint8Array>(trusted.delegated)
    for (const role of ['root', 'timestamp', 'snapshot', 'targets'] as const) {
      const bytes = trusted[role]
      if (bytes !== undefined) now.set(role, bytes)
    }
    for (const [role, bytes] of now) {
      if (this.#kept.get(role) === bytes) continue
      await writeFileDurablyAsync(join(this.#dir, metadataFile(role)), bytes)
      this.#kept.set(role, bytes)
    }
    for (const role of this.#kept.keys()) {
      if (now.has(role)) continue
      await rm(join(this.#dir, metadataFile(role)), { force: true })
      this.#kept.delete(role)
    }
  }

  /** The first root, which a person vouches for. Checked by the first cycle. */
  async provision(root: Uint8Array): Promise<void> {
    makeFolderDurably(this.#dir)
    await writeFileDurablyAsync(join(this.#dir, metadataFile('root')), root)
  }
}

/** @returns the role whose file this is, or undefined for a file that this class would not have written */
function roleOf(file: string): string | undefined {
  if (!file.endsWith('.json')) return undefined
  const quoted = file.slice(0, -'.json'.length)
  try {
    const role = decodeURIComponent(quoted)
    return quoteName(role) === quoted ? role : undefined
  } catch {
    return undefined
  }
}
