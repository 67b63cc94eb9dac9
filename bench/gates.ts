import { CloudWorld } from '../test/fixtures/cloud-world.ts'
import {
  type FleetShape,
  type Scenario,
  simulate,
  simulateGate,
  type WholeScenario,
} from '../test/fixtures/gate-simulation.ts'

/** What the gate promises, by simulation: the tables of its source, fleets of heavy tails, the whole gate with every signal, and fleets
 *  that follow their assignments through the real store and engine. `--runs N` (default 400); hours of core time for thousands.
 */
const SEED = 20_261_129
const at = process.argv.indexOf('--runs')
const runs = at < 0 ? 400 : Number(process.argv[at + 1])
if (!Number.isInteger(runs) || runs < 10) throw new Error('--runs: expected a whole number of at least 10')

const row = (...cells: (string | number | null)[]): void =>
  console.log(
    `| ${cells.map((cell) => (cell === null ? '–' : typeof cell === 'number' ? cell.toFixed(3) : cell)).join(' | ')} |`,
  )
const say = (text: string): void => console.log(`\n${text}\n`)

say(`One signal, looks every hour for 72 h at ratio 1, ${runs} runs, seed ${SEED}: false roll backs`)
row('canary : control', 'shape', 'this test', 'Poisson e-process', 'peeked z')
row('---', '---', '---', '---', '---')
const equal: [number, number, FleetShape][] = [
  [200, 200, 'exponential'],
  [50, 500, 'exponential'],
  [500, 50, 'exponential'],
  [200, 200, 'constant'],
]
for (const [canary, control, shape] of equal) {
  const { gate, poissonE, peekedZ } = simulate({ canary, control, shape }, runs, SEED)
  row(`${canary} : ${control}`, shape, gate, poissonE, peekedZ)
}

say('The same with a week of history, looks every 3 h: false roll backs where rates have heavy tails')
row('canary : control', 'shape', 'events an hour', 'this test')
row('---', '---', '---', '---')
const tails: [number, number, FleetShape, number][] = [
  [30, 30, 'pareto15', 0.2],
  [30, 30, 'tenthAt20', 0.2],
  [30, 30, 'tenthAt20', 5],
  [30, 300, 'lognormal15', 0.2],
  [50, 500, 'pareto15', 0.2],
  [200, 200, 'pareto15', 0.2],
  [200, 200, 'silent70', 0.2],
]
for (const [canary, control, shape, rate] of tails) {
  row(
    `${canary} : ${control}`,
    shape,
    String(rate),
    simulate({ canary, control, shape, rate, preHours: 168, every: 3 }, runs, SEED).gate,
  )
}

say('Power, exponential rates, 72 h, margin 1: without history → with a week of it')
row('an arm', 'ratio', 'without', 'with')
row('---', '---', '---', '---')
for (const [n, ratio] of [
  [50, 1.5],
  [50, 2],
  [200, 1.25],
  [200, 1.5],
] as const) {
  const arms: Scenario = { canary: n, control: n, shape: 'exponential', ratio, every: 2 }
  row(String(n), `×${ratio}`, simulate(arms, runs, SEED).gate, simulate({ ...arms, preHours: 168 }, runs, SEED).gate)
}

say('Non-inferiority, margin 1.25, 200 an arm: without history → with a week of it')
row('ratio', 'without', 'with')
row('---', '---', '---')
for (const ratio of [1, 1.25]) {
  const arms: Scenario = { canary: 200, control: 200, shape: 'exponential', ratio, every: 2 }
  row(`×${ratio}`, simulate(arms, runs, SEED).advance, simulate({ ...arms, preHours: 168 }, runs, SEED).advance)
}

say('The whole gate, default policy (margin 1.25), all signals, first stage, 72 h, looks every 3 h')
row('canary : control', 'history h', 'candidate', 'rolled back', 'advanced', 'hours to roll back')
row('---', '---', '---', '---', '---', '---')
const whole: [string, WholeScenario][] = [
  ['equal', { canary: 48, control: 192, shape: 'exponential', preHours: 168 }],
  ['equal', { canary: 48, control: 192, shape: 'exponential', preHours: 0 }],
  ['equal', { canary: 48, control: 192, shape: 'pareto15', preHours: 168 }],
  ['equal, 5 % fall silent a day', { canary: 48, control: 192, shape: 'exponential', preHours: 168, silent: 0.002 }],
  ['half the false wakes', { canary: 48, control: 192, shape: 'exponential', preHours: 168, falseWakes: 0.5 }],
  ['half the false wakes', { canary: 48, control: 192, shape: 'exponential', preHours: 0, falseWakes: 0.5 }],
  ['false wakes ×1.5', { canary: 100, control: 400, shape: 'exponential', preHours: 168, falseWakes: 1.5 }],
  ['false wakes ×2', { canary: 48, control: 192, shape: 'exponential', preHours: 168, falseWakes: 2 }],
  ['never wakes', { canary: 24, control: 216, shape: 'exponential', preHours: 0, falseWakes: 0, verified: 0 }],
  ['no false wake', { canary: 48, control: 192, shape: 'exponential', preHours: 168, falseWakes: 0 }],
  ['energy ×1.5', { canary: 48, control: 192, shape: 'exponential', preHours: 0, energy: 1.5 }],
]
for (const [name, scenario] of whole) {
  const { rollback, advance, hours } = simulateGate(scenario, Math.min(runs, 200), SEED)
  row(`${scenario.canary} : ${scenario.control}`, String(scenario.preHours), name, rollback, advance, hours)
}
for (const ratio of [1.05, 1.1, 1.5]) {
  const scenario: WholeScenario = { canary: 400, control: 1600, shape: 'exponential', preHours: 168, falseWakes: ratio }
  const { rollback, advance, hours } = simulateGate(scenario, Math.min(runs, 50), SEED)
  row('400 : 1600', '168', `false wakes ×${ratio}`, rollback, advance, hours)
}

say('Fleets of the real store and engine: rolled back, of so many')
row('fleet', 'candidate', 'rolled back', 'runs', 'exposed at the end, at most')
row('---', '---', '---', '---', '---')
const usual = { falseWakes: 0.5, verified: 1 }
function fleets(
  name: string,
  candidate: string,
  devices: number,
  count: number,
  set: (world: CloudWorld) => void,
  dying = 0,
): void {
  let back = 0
  let exposed = 0
  for (let seed = 1; seed <= count; seed++) {
    const world = new CloudWorld(':memory:', seed, { 'kws-1': usual, 'kws-2': { ...usual, dying, diesAfterHours: 12 } })
    world.addRelease('kws-1', 1, 'production')
    world.addRelease('kws-2', 2, 'staging')
    world.enrol(devices)
    set(world)
    world.hours(50)
    const started = world.start('kws-2', [5, 25, 50, 100])
    if (!started.ok) throw new Error(started.error.detail)
    const { id } = started.value
    world.hours(100, () => world.store.rollouts.get(id)?.state !== 'running')
    if (world.store.rollouts.get(id)?.state === 'rolled-back') back++
    exposed = Math.max(exposed, world.store.rollouts.exposed(id) / devices)
    world.store.close()
  }
  row(name, candidate, String(back), String(count), exposed)
}
const few = Math.max(4, Math.round(runs / 20))
fleets('300, a tenth asleep for days at random', 'equal', 300, few, (world) => {
  world.online = (device, now) =>
    device.phaseMs % 10 !== 0 || Math.sin(now / 3_600_000 / (7 + (device.phaseMs % 13)) + device.phaseMs) > 0
})
fleets('300, all report once a day', 'equal', 300, few, (world) => {
  world.online = (device, now) => Math.floor(now / 3_600_000) % 24 === device.phaseMs % 24
})
fleets('2000', 'kills a tenth of its devices', 2000, Math.max(4, Math.round(runs / 40)), () => undefined, 0.1)
