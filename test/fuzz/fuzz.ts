/** Feeds changed inputs to every decoder of hostile bytes:
 *
 *      npm run fuzz [-- --inputs 1000000 --seed 1 --target NAME]
 *
 *  A worker decodes; this thread watches it, so that a decoder that never returns is found and named too.
 */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { parentPort, Worker, workerData } from 'node:worker_threads'
import { bytesToHex } from '../../contract/bytes.ts'
import { seededRandom } from '../../contract/random.ts'
import { type Failure, fuzzTarget, SHOWN_BYTES, type TargetReport } from './fuzz-run.ts'
import { fuzzTargets } from './fuzz-targets.ts'
import { provisioned } from './provisioned.ts'

/** Chosen: the slowest input takes milliseconds. */
const HANG_MS = 20_000
/** Chosen: bounds what a decoder may hold at once; the largest legitimate input is a bundle of 4 MiB. */
const HEAP_MIB = 768

interface Plan {
  readonly inputs: number
  readonly seed: number
  readonly target?: string
  readonly shared: SharedArrayBuffer
}
type Told =
  | { readonly kind: 'target'; readonly report: TargetReport; readonly failures: readonly Failure[] }
  | { readonly kind: 'begun'; readonly name: string; readonly inputs: number }
  | { readonly kind: 'end' }

// From dist/test/fuzz.
const root = fileURLToPath(new URL('../../..', import.meta.url))

async function work({ inputs, seed, target, shared }: Plan, tell: (told: Told) => void): Promise<void> {
  const bundle = new Uint8Array(readFileSync(join(root, 'zoo/bundles/kws-2.kinglet')))
  const all = await fuzzTargets({
    bundle,
    graph: new Uint8Array(readFileSync(join(root, 'zoo/models/kws-lite.onnx'))),
    clip: new Uint8Array(readFileSync(join(root, 'zoo/bank/keyword/go/go-1.wav'))),
    flash: () => provisioned(bundle),
  })
  const targets = all.filter(({ name }) => target === undefined || name === target)
  if (targets.length === 0)
    throw new Error(`no target "${target}"; there are ${all.map(({ name }) => name).join(', ')}`)
  const weights = targets.reduce((sum, { weight }) => sum + weight, 0)
  const state = new Int32Array(shared, 0, 2)
  const current = new Uint8Array(shared, 8, SHOWN_BYTES)
  for (const one of targets) {
    const share = Math.ceil((inputs * one.weight) / weights)
    tell({ kind: 'begun', name: one.name, inputs: share })
    const random = seededRandom(seed).fork(one.name)
    const result = await fuzzTarget(one, share, random, (_done, input) => {
      const shown = input.subarray(0, SHOWN_BYTES)
      current.set(shown)
      state[1] = shown.length
      Atomics.add(state, 0, 1)
    })
    tell({ kind: 'target', ...result })
  }
  tell({ kind: 'end' })
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      inputs: { type: 'string', default: '1000000' },
      seed: { type: 'string', default: '1' },
      target: { type: 'string' },
    },
  })
  const [inputs, seed] = [Number(values.inputs), Number(values.seed)]
  if (!Number.isSafeInteger(inputs) || inputs < 1 || !Number.isSafeInteger(seed) || seed < 0) {
    console.error('fuzz: --inputs is a number from 1 on, --seed one from 0 on')
    process.exit(2)
  }
  const shared = new SharedArrayBuffer(8 + SHOWN_BYTES)
  const state = new Int32Array(shared, 0, 2)
  const plan: Plan = { inputs, seed, shared, ...(values.target !== undefined && { target: values.target }) }
  const worker = new Worker(new URL(import.meta.url), {
    workerData: plan,
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  })
  let [failed, total, now] = [0, 0, 'nothing']
  const fail = ({ target, why, inputHex }: Failure) => {
    failed++
    console.error(`FAILED ${target}: ${why}\n  input ${inputHex}`)
  }
  const stuck = (why: string) =>
    fail({ target: now, why, inputHex: bytesToHex(new Uint8Array(shared, 8, state[1]).slice()) })
  console.error(`seed ${seed}`)
  const startedMs = performance.now()
  await new Promise<void>((resolve) => {
    let [lastCount, lastMs] = [-1, performance.now()]
    const watch = setInterval(() => {
      const count = Atomics.load(state, 0)
      // Before the first target modules are read, which takes as long as a busy machine lets it.
      if (count !== lastCount || now === 'nothing') [lastCount, lastMs] = [count, performance.now()]
      else if (performance.now() - lastMs > HANG_MS) {
        stuck(`no answer within ${HANG_MS} ms`)
        void worker.terminate()
      }
      if (process.stderr.isTTY === true) process.stderr.write(`\r${count} inputs, ${now}\x1b[K`)
    }, 500)
    worker.on('message', (told: Told) => {
      if (told.kind === 'begun') {
        now = told.name
      } else if (told.kind === 'target') {
        const { name, inputs: fed, accepted, codes, slowestMs, largestAllocationBytes } = told.report
        total += fed
        for (const failure of told.failures) fail(failure)
        const answers = Object.entries(codes)
          .sort(([, a], [, b]) => b - a)
          .map(([code, count]) => `${code} ${count}`)
        console.log(
          `${name}: ${fed} inputs, ${accepted} accepted, slowest ${slowestMs.toFixed(1)} ms, largest allocation ${(largestAllocationBytes / 1024).toFixed(0)} KiB; ${answers.join(', ')}`,
        )
      }
    })
    // A heap beyond its limit ends the worker with an error of its own.
    worker.on('error', (cause) => stuck(cause.message))
    worker.on('exit', () => {
      clearInterval(watch)
      resolve()
    })
  })
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0)
  console.log(`${total} inputs in ${seconds} s, ${failed} failures`)
  process.exitCode = failed === 0 ? 0 : 1
}

if (parentPort === null) await main()
else {
  const port = parentPort
  await work(workerData as Plan, (told) => port.postMessage(told))
}
