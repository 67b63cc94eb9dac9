import { type FleetShape, type Scenario, simulate, simulateGate, type WholeScenario } from './gate-simulation.ts'
import { simulateSlices } from './slice-simulation.ts'

/** What the gate promises, by simulation: the tables of its source, fleets of heavy tails, the whole gate with every signal, `--runs N`
 *  (default 400). Fleets that follow their assignments through the real store and engine are in `test/simulation/gate-fleets.test.ts`.
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
  ['equal', { canary: 48, control: 192, shape: 'exponential', preHours: 24 }],
  ['half the false wakes', { canary: 48, control: 192, shape: 'exponential', preHours: 24, falseWakes: 0.5 }],
  ['equal, rates of heavy tails', { canary: 48, control: 192, shape: 'pareto15', preHours: 168 }],
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

say(
  'Slices: equal models, 8 signals x 6 slices of 400 devices, stages 20, 50 and 100 % of 48 h each, looks every hour, equal on the line (margin 1): false roll backs',
)
row('shape', 'whole and slices', 'divided (Holm)', 'whole alone')
row('---', '---', '---', '---')
const sliced: FleetShape[] = [
  ...(['constant', 'exponential', 'gammaCv2', 'lognormal15', 'silent70', 'tenthAt20', 'pareto15'] as const),
]
for (const shape of sliced) {
  const {
    mixture,
    divided,
    whole: alone,
  } = simulateSlices({ devices: 400, shape, signals: 8, marginRatio: 1 }, Math.min(runs, 400), SEED)
  row(shape, mixture, divided, alone)
}

say('Slices: harm in one board of a tenth of the devices, margin 1.25, 8 signals, looks every 3 h: rolled back')
row('devices', 'candidate', 'whole and slices', 'divided (Holm)', 'whole alone', 'board named', 'exposed by then')
row('---', '---', '---', '---', '---', '---', '---')
for (const devices of [300, 600, 1_000]) {
  for (const [name, inside, outside] of [
    ['x4, the others x0.5', 4, 0.5],
    ['x10 there', 10, 1],
    ['x2 there', 2, 1],
    ['x2 everywhere', 2, 2],
  ] as const) {
    const found = simulateSlices(
      {
        ...{ devices, shape: 'exponential', signals: 8, every: 3 },
        harm: ({ board }) => (board === 'b-small' ? inside : outside),
      },
      Math.min(runs, 40),
      SEED,
    )
    row(String(devices), name, found.mixture, found.divided, found.whole, found.named, found.exposed)
  }
}

say('What slices cost the whole: one signal x1.5 in all of 200 devices, margin 1.25, half exposed, 48 h')
row('share of slices', 'rolled back')
row('---', '---')
for (const share of [0, 0.1, 0.2, 0.4, 0.6]) {
  const { mixture } = simulateSlices(
    {
      ...{ devices: 200, shape: 'exponential', signals: 1, every: 2, percents: [50, 100], share },
      harm: () => 1.5,
    },
    runs,
    SEED,
  )
  row(String(share), mixture)
}
