import { spawnSync } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'

/** What the command adds to the start of Node: `npm run build && node dist/bench/start-up.js`. Each round runs every command once after the
 *  other, so that a busy machine slows them alike; medians of the rounds, as ratios to `node -e 0`. */
const ROUNDS = 21
const script = fileURLToPath(new URL('../cli/kinglet.js', import.meta.url))
const commands: readonly (readonly string[])[] = [
  ['-e', '0'],
  [script, '--version'],
  [script, '--help'],
  [script, 'device', 'run', '--help'],
  [script, 'gateway', 'run', '--help'],
]

const times = commands.map((): number[] => [])
for (let round = 0; round < ROUNDS; round++) {
  for (const [i, args] of commands.entries()) {
    const fromMs = performance.now()
    const { status } = spawnSync(process.execPath, args, { stdio: 'ignore' })
    if (status !== 0) throw new Error(`node ${args.join(' ')} ended with ${status}`)
    times[i]!.push(performance.now() - fromMs)
  }
}
const medians = times.map((each) => each.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)]!)
for (const [i, args] of commands.entries()) {
  const name = args[0] === script ? `kinglet ${args.slice(1).join(' ')}` : `node ${args.join(' ')}`
  console.log(`${name.padEnd(26)} ${medians[i]!.toFixed(0).padStart(5)} ms  ${(medians[i]! / medians[0]!).toFixed(2)}`)
}
