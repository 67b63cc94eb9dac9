import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { TUF_LIMITS_CONFORMANCE } from '../../contract/limits.ts'
import { checkTarget, targetAddress } from '../../contract/tuf/file-check.ts'
import { quoteName } from '../../contract/tuf/role-name.ts'
import { beginUpdate, type CycleResult } from '../../contract/tuf/update-cycle.ts'
import { NODE_SCHEMES } from '../../device/node/signature-schemes.ts'
import { TrustFolder } from '../../device/node/trust-folder.ts'
import { httpSource, runCycle, runSearch } from '../../device/node/update-source.ts'

/** chosen: the targets of the suite are a few bytes; a bound because a signed length is still a length that somebody chose. */
const TARGET_BYTES_MAX = 64 * 1024 * 1024

const HELP = `usage: client --metadata-dir DIR init TRUSTED_ROOT
       client --metadata-dir DIR --metadata-url URL refresh
       client --metadata-dir DIR --metadata-url URL --target-name PATH [--target-name PATH ...]
              --target-dir DIR --target-base-url URL download`

class Failure extends Error {}

/** The client of the public tuf-conformance suite (its CLIENT-CLI.md) around the code a device runs.
 *  @param say told why, in one line
 *  @returns 0 when the command succeeded fully, else 1
 */
export async function main(args: readonly string[], say: (reason: unknown) => void = console.error): Promise<number> {
  try {
    await run(args)
    return 0
  } catch (error) {
    say(error instanceof Failure ? error.message : error)
    return 1
  }
}

async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      'metadata-dir': { type: 'string' },
      'metadata-url': { type: 'string' },
      'target-name': { type: 'string', multiple: true },
      'target-dir': { type: 'string' },
      'target-base-url': { type: 'string' },
    },
  })
  const option = (name: Exclude<keyof typeof values, 'target-name'>): string => {
    const value = values[name]
    if (value === undefined) throw new Failure(`--${name} is missing\n${HELP}`)
    return value
  }
  const [command, trustedRoot, ...rest] = positionals
  const folder = new TrustFolder(option('metadata-dir'), TUF_LIMITS_CONFORMANCE)
  if (command === 'init' && trustedRoot !== undefined && rest.length === 0) {
    return folder.provision(await readFile(trustedRoot))
  }
  if (trustedRoot !== undefined) throw new Failure(HELP)
  if (command === 'refresh') {
    await refresh(folder, option('metadata-url'))
    return
  }
  if (command !== 'download') throw new Failure(HELP)
  const names = values['target-name'] ?? []
  if (names.length === 0) throw new Failure(`--target-name is missing\n${HELP}`)
  await download(folder, option('metadata-url'), names, option('target-dir'), option('target-base-url'))
}

async function refresh(folder: TrustFolder, url: string) {
  const trusted = await folder.load()
  if (trusted === undefined) throw new Failure('no trusted root: run init first')
  const begun = beginUpdate(trusted, { nowMs: Date.now(), schemes: NODE_SCHEMES, limits: TUF_LIMITS_CONFORMANCE })
  if (!begun.ok) throw new Failure(`trusted root: ${begun.error.code}: ${begun.error.detail}`)
  const cycle = begun.value
  const source = httpSource(url)
  const keep = ({ trusted: files }: CycleResult) => folder.keep(files)
  const done = await runCycle(cycle, source, keep)
  if (!done.ok) throw new Failure(`${done.error.code}: ${done.error.detail}`)
  return { cycle, source, keep }
}

/** Fetches each target unless the file from last time is still the one that the metadata names. */
async function download(
  folder: TrustFolder,
  url: string,
  names: readonly string[],
  targetDir: string,
  targetUrl: string,
): Promise<void> {
  const { cycle, source, keep } = await refresh(folder, url)
  const targets = httpSource(targetUrl)
  await mkdir(targetDir, { recursive: true })
  for (const name of names) {
    const found = await runSearch(cycle, name, source, keep)
    if (!found.ok) throw new Failure(`${name}: ${found.error.code}: ${found.error.detail}`)
    const target = found.value
    if (target.length > TARGET_BYTES_MAX)
      throw new Failure(`${name}: ${target.length} bytes, limit ${TARGET_BYTES_MAX}`)
    const path = join(targetDir, quoteName(name))
    const cached = await readFile(path).catch(() => undefined)
    if (cached !== undefined && checkTarget(cached, target).ok) continue
    const data = await targets(targetAddress(target, cycle.consistentSnapshot), target.length)
    if (typeof data === 'string') throw new Failure(`${name}: ${data}`)
    const checked = checkTarget(data, target)
    if (!checked.ok) throw new Failure(`${name}: ${checked.error.code}: ${checked.error.detail}`)
    await writeFile(`${path}.tmp`, data)
    await rename(`${path}.tmp`, path)
  }
}
