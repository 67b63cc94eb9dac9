/** Patches against the peers, pair of models by pair of models, both ways; old → new is what counts.
 *
 *      npm run build && node dist/bench/patch.js [--pairs DIR]... [--only TEXT] [--json]
 *
 *  The pairs: the zoo's own, ../shared/data/model-pairs where it is there, and every folder given with --pairs (subfolders with an old.* and a
 *  new.*). Peers are programs of Debian (apt install bsdiff xdelta3 zstd xz-utils) and the package bsdiff-node; one that is missing is left out and named. Each patch is
 *  applied in a process of its own that does nothing else, once for time and once for memory, and what it makes is compared by hash.
 *  Exit code 1 when a round trip fails. Times are this machine's; our bytes are the
 *  same everywhere, those of the peers with the same versions.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import { decodePatch } from '../cli/patch/patch-decode.ts'
import { sha256, sha256Hex } from '../contract/bytes.ts'
import { seededRandom } from '../contract/random.ts'
import { makePatch } from '../release/patch/make-patch.ts'
import { folderPairs, kindByRatio, type ModelPair, zooPairs } from './patch-corpus.ts'
import { numbersOf, residualLimit } from './patch-limit.ts'
import { best, PEERS, peerBytes } from './patch-peers.ts'
import { goalLines, goalsOf, type MeasuredPair, type MeasuredPatch, reportLines } from './patch-report.ts'

const { values } = parseArgs({
  options: {
    pairs: { type: 'string', multiple: true, default: [] },
    only: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
  },
})
// From dist/bench and from bench alike.
const root = fileURLToPath(new URL(import.meta.url.includes('/dist/') ? '../..' : '..', import.meta.url))
const decodingScript = fileURLToPath(import.meta.url).replace(/patch\.(js|ts)$/, 'patch-decoding.$1')
const say = (line: string): void => console.error(line)

function corpus(): ModelPair[] {
  const pairs = zooPairs(root)
  for (const folder of [join(root, '../shared/data/model-pairs'), ...values.pairs]) {
    const found = folderPairs(folder)
    if (found === undefined) say(`no folder ${folder}: its pairs are left out`)
    else pairs.push(...found)
  }
  return pairs.filter(({ name }) => name.includes(values.only))
}

/** Applies a patch in a process that only decodes. */
async function decodeApart<T>(mode: 'time' | 'memory', oldPath: string, patchPath: string, bytes: number): Promise<T> {
  const args = [decodingScript, mode, oldPath, patchPath, String(bytes)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as T
}

async function measure(oldPath: string, newPath: string, work: string): Promise<MeasuredPatch & { patch: Uint8Array }> {
  const [base, result] = [oldPath, newPath].map((path) => new Uint8Array(readFileSync(path))) as [
    Uint8Array,
    Uint8Array,
  ]
  const from = performance.now()
  const patch = makePatch(base, result)
  const encodeMs = performance.now() - from
  const patchPath = join(work, 'patch')
  writeFileSync(patchPath, patch)
  const time = await decodeApart<MeasuredPatch['time']>('time', oldPath, patchPath, result.length)
  const memory = await decodeApart<MeasuredPatch['memory']>('memory', oldPath, patchPath, result.length)
  const wanted = sha256Hex(result)
  return {
    patch,
    baseBytes: base.length,
    resultBytes: result.length,
    patchBytes: patch.length,
    peers: await peerBytes(base, result),
    encodeMs,
    time,
    memory,
    isRoundTrip: time.sha256 === wanted && memory.sha256 === wanted,
  }
}

async function measurePair({ name, oldPath, newPath, kind }: ModelPair, work: string): Promise<MeasuredPair> {
  say(name)
  const { patch, ...forth } = await measure(oldPath, newPath, work)
  const { patch: _, ...back } = await measure(newPath, oldPath, work)
  const [oldFile, newFile] = [oldPath, newPath].map((path) => new Uint8Array(readFileSync(path))) as [
    Uint8Array,
    Uint8Array,
  ]
  const generic = best(forth.peers, ({ isPatch }) => isPatch)
  const full = best(forth.peers, ({ isPatch }) => !isPatch)
  const known = kind ?? (generic && full ? kindByRatio(generic.bytes, full.bytes) : 'fine-tuned')
  const numbers = numbersOf(newFile)
  return {
    name,
    kind: known,
    isKindGuessed: kind === undefined,
    numbers,
    forth,
    back,
    fullBytes: makePatch(null, newFile).length,
    limit: known === 'fine-tuned' && numbers === 'int8' ? residualLimit(oldFile, newFile, patch) : null,
  }
}

interface EdgeCase {
  readonly name: string
  readonly patchBytes: number
  readonly isRoundTrip: boolean
}

/** Files that are no models, and nothing at all. */
function edgeCases(): EdgeCase[] {
  const model = new Uint8Array(readFileSync(join(root, 'zoo/models/kws-1.onnx')))
  const random = seededRandom(1)
  const noise = Uint8Array.from({ length: 50_000 }, () => Math.floor(random.next() * 256))
  const empty = new Uint8Array(0)
  const cases: readonly (readonly [string, Uint8Array | null, Uint8Array])[] = [
    ['empty file → network', empty, model],
    ['network → empty file', model, empty],
    ['empty file → empty file', empty, empty],
    ['network → random bytes', model, noise],
    ['random bytes → network', noise, model],
    ['random bytes, no base', null, noise],
    ['the same network', model, model],
    ['the same random bytes', noise, noise],
  ]
  return cases.map(([name, base, result]) => {
    const patch = makePatch(base, result)
    const known = base && { image: base, sha256: sha256(base) }
    const made = new Uint8Array(result.length)
    const decoded = decodePatch(patch, known, made, sha256, { pageBytes: 4_096, blockBytes: 4_096 })
    const isRoundTrip = decoded.ok && sha256Hex(made) === sha256Hex(result)
    return { name, patchBytes: patch.length, isRoundTrip }
  })
}

async function main(): Promise<void> {
  const pairs = corpus()
  if (pairs.length === 0) throw new Error('no pair has such a name')
  const work = mkdtempSync(join(tmpdir(), 'kinglet-bench-patch-'))
  const measured: MeasuredPair[] = []
  let edges: EdgeCase[]
  try {
    // The encoder's first run is a compiler's: it is made before the clock starts.
    edges = edgeCases()
    for (const pair of pairs) measured.push(await measurePair(pair, work))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  const missing = PEERS.filter(({ name }) => measured[0]!.forth.peers[name] === undefined)
  for (const { name, install } of missing) say(`${name} is missing and left out: ${install}`)
  const goals = goalsOf(measured)
  const failed = [
    ...edges.filter(({ isRoundTrip }) => !isRoundTrip).map(({ name }) => name),
    ...measured.filter(({ forth }) => !forth.isRoundTrip).map(({ name }) => name),
    ...measured.filter(({ back }) => !back.isRoundTrip).map(({ name }) => `${name}, back`),
  ]
  if (values.json) console.log(JSON.stringify({ pairs: measured, edges, goals, failed }))
  else {
    for (const line of reportLines(measured)) console.log(line)
    console.log(
      `\nRound trips of other files: ${edges.map((edge) => `${edge.name} ${edge.patchBytes}`).join(', ')} bytes.\n`,
    )
    for (const line of goalLines(goals)) console.log(line)
    const trips = 2 * measured.length + edges.length
    console.log(`\n${trips - failed.length} of ${trips} round trips hold`)
  }
  for (const name of failed) say(`round trip FAILED: ${name}`)
  if (failed.length > 0) process.exitCode = 1
}

await main()
