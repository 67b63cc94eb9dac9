// Streams held-out speakers, sentences and noises that no model had a say in through the shipping listener, and counts what the bundles
// of zoo/bundles miss and where they wake falsely; --out FILE keeps the counts, beside those of other bundles. With --choose it prints the
// settings of a network's detector that are nowhere worse than another bundle, and --out keeps the counts of all of them.
// Usage: streamed.js --speech DIR --work DIR --zoo DIR [--seed N] [--share test|validation] [--bundle NAME ...] [--level LEVEL] [--out FILE]
//        streamed.js ... --share validation --choose FILE.onnx --against kws-1 [--out FILE]
//        streamed.js ... --levels [--bundle NAME ...] --out FILE: every level of the ladder, with its RAM and energy
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { hearWindows } from '../cli/model/curve-hearing.ts'
import {
  type CurveSetting,
  curvePoint,
  curveSettings,
  type HeardWindows,
  type HeardWord,
} from '../cli/model/operating-curve.ts'
import { wakePipeline } from '../cli/model/wake-pipeline.ts'
import { levelMilliwatt } from '../device/core/power/governor.ts'
import { BOARDS } from '../model/boards.ts'
import type { EngineSession } from '../model/engine/engine.ts'
import { EngineOrtNode } from '../model/engine/engine-ort-node.ts'
import { featureTiming } from '../model/features/feature-definition.ts'
import { type OpenedBundle, openBundle } from '../model/opened-bundle.ts'
import { levelRamBytes } from '../model/pipeline/level-plan.ts'
import {
  CONDITIONS,
  type Material,
  NEGATIVES,
  noiseAlone,
  readMaterial,
  type Share,
  saidNegatives,
  saidWords,
} from './material.ts'
import {
  type Counts,
  falseWakesOf,
  type LevelRow,
  levelsTable,
  nowhereWorse,
  type Streamed,
  streamedTable,
} from './streamed-table.ts'

const BUNDLES = ['kws-1', 'kws-2', 'kws-2-sparse', 'kws-regressed']

/** What a network said of the material, condition by condition; every setting of a detector can be counted over it. */
type Heard = ReadonlyMap<
  string,
  { readonly words: readonly HeardWord[]; readonly others: ReadonlyMap<string, HeardWindows> }
>

const hear = async (
  bundle: OpenedBundle,
  level: string,
  network: EngineSession | undefined,
  material: Material,
  seed: number,
): Promise<Heard> => {
  const step = bundle.manifest.ladder.find((candidate) => candidate.level === level)
  const graph = step?.runs[0]?.graphs[0]
  if (step === undefined || graph === undefined) throw new Error(`${bundle.manifest.name} runs no level ${level}`)
  const sessions = network === undefined ? bundle.sessions : new Map([...bundle.sessions, [graph, network]])
  const listen = (sound: Iterable<Float32Array>) => hearWindows({ ...bundle, sessions }, step, 0, sound)
  const heard = new Map<string, { words: HeardWord[]; others: Map<string, HeardWindows> }>()
  for (const condition of CONDITIONS) {
    const words: HeardWord[] = []
    for (const { label, samples } of saidWords(material, condition, seed))
      words.push({ label, ...(await listen([samples])) })
    const others = new Map<string, HeardWindows>()
    for (const kind of NEGATIVES) others.set(kind, await listen(saidNegatives(material, condition, kind, seed)))
    heard.set(condition.name, { words, others })
    console.error(`${bundle.manifest.name}: ${condition.name}`)
  }
  for (const noise of ['synthesised', 'recorded'] as const) {
    const alone = await listen(noiseAlone(material, noise, seed))
    heard.set(`${noise} noise alone`, { words: [], others: new Map([['noise', alone]]) })
  }
  return heard
}

/** Bundles of the zoo have one pipeline, which hears words. */
const wordsOf = ({ manifest }: OpenedBundle) => wakePipeline(manifest.name, manifest)

/** Counts of one setting in every condition. */
const count = (heard: Heard, bundle: OpenedBundle, setting: CurveSetting): Record<string, Counts> => {
  const { policy, labels } = wordsOf(bundle)
  return Object.fromEntries(
    [...heard].map(([condition, { words, others }]) => {
      const point = (sound: readonly HeardWindows[]) => curvePoint(setting, policy, labels, words, sound)
      const { misses, confused } = point([])
      const falseWakes = Object.fromEntries(
        [...others].map(([kind, sound]) => [
          kind,
          {
            wakes: curvePoint(setting, policy, labels, [], [sound]).falseWakes,
            hours: Number((sound.audioMs / 3_600_000).toFixed(4)),
          },
        ]),
      )
      return [condition, { words: words.length, misses, confused, falseWakes }]
    }),
  )
}

/** Energy is told for these, of which the first is the commonest and the second the most frugal that is measured. */
const LEVEL_BOARDS = ['NUCLEO-U575ZI', 'NUCLEO-U385RG']

/** RAM of a level and what it takes in an hour of nothing and in an hour of sentences, by the open share of its gate in them. */
const costOf = (bundle: OpenedBundle, level: string, sentences: HeardWindows) => {
  const { ladder, pipelines } = bundle.manifest
  const step = ladder.find((candidate) => candidate.level === level)!
  const run = step.runs[0]!
  const { frameMs } = featureTiming(pipelines[0]!.features)
  const openShare = Math.min(1, (sentences.windows.length * run.hopFrames * frameMs) / sentences.audioMs)
  const boards = BOARDS.filter(({ name }) => LEVEL_BOARDS.includes(name))
  const joules = (share: number) =>
    boards.map((board) => ({
      board: board.name,
      joulePerHour: Number((3.6 * levelMilliwatt(bundle.manifest, board, step, share)).toFixed(2)),
    }))
  return { ramBytes: levelRamBytes(bundle.manifest, step), quiet: joules(0), talk: joules(openShare) }
}

const sums = (counts: Record<string, Counts>) => {
  const rows = Object.values(counts)
  return {
    misses: rows.reduce((sum, row) => sum + row.misses, 0),
    falseWakes: rows.reduce((sum, row) => sum + falseWakesOf(row), 0),
  }
}

/** Bundles that a file holds already, measured over the same material. */
const measuredBefore = (path: string | undefined, { bundles: _, ...material }: Streamed): Streamed['bundles'] => {
  if (path === undefined || !existsSync(path)) return {}
  const { bundles, ...before } = JSON.parse(readFileSync(path, 'utf8')) as Streamed
  if (JSON.stringify(before) !== JSON.stringify(material)) throw new Error(`${path} was measured over other material`)
  return bundles
}

const main = async () => {
  const { values } = parseArgs({
    options: {
      speech: { type: 'string' },
      work: { type: 'string' },
      zoo: { type: 'string' },
      seed: { type: 'string', default: '1' },
      share: { type: 'string', default: 'test' },
      bundle: { type: 'string', multiple: true, default: BUNDLES },
      level: { type: 'string', default: 'full' },
      levels: { type: 'boolean', default: false },
      choose: { type: 'string' },
      against: { type: 'string', default: 'kws-1' },
      out: { type: 'string' },
    },
  })
  const { speech, work, zoo, level } = values
  if (speech === undefined || work === undefined || zoo === undefined)
    throw new Error('--speech, --work and --zoo are needed')
  if (values.share !== 'test' && values.share !== 'validation') throw new Error('--share is test or validation')
  const share: Share = values.share
  const seed = Number(values.seed)
  const engine = new EngineOrtNode()
  const open = async (name: string): Promise<OpenedBundle> => {
    const opened = await openBundle(
      readFileSync(join(zoo, 'bundles', `${name}.kinglet`)),
      engine,
      Number.POSITIVE_INFINITY,
    )
    if (!opened.ok) throw new Error(`${name}: ${opened.error.code}: ${opened.error.detail}`)
    return opened.value
  }
  const material = await readMaterial(speech, work, seed, share)
  const own = async (name: string) => {
    const bundle = await open(name)
    const heard = await hear(bundle, level, undefined, material, seed)
    const { smoothingWindows, thresholdPermille } = wordsOf(bundle).policy
    return {
      smoothingWindows,
      thresholdPermille,
      conditions: count(heard, bundle, { smoothingWindows, thresholdPermille }),
    }
  }
  if (values.choose !== undefined) {
    const against = await own(values.against)
    const bundle = await open(values.against)
    const network = await engine.load(readFileSync(values.choose))
    if (!network.ok) throw new Error(`${values.choose}: ${network.error.detail}`)
    const heard = await hear(bundle, level, network.value, material, seed)
    const tried = curveSettings(wordsOf(bundle).policy, false)
      .filter(({ thresholdPermille, smoothingWindows }) => thresholdPermille >= 300 && smoothingWindows <= 5)
      .map((setting) => ({ ...setting, conditions: count(heard, bundle, setting) }))
    if (values.out !== undefined) writeFileSync(values.out, JSON.stringify({ against, tried }))
    console.log(values.against, JSON.stringify(sums(against.conditions)))
    for (const { conditions, ...setting } of tried.filter((t) => nowhereWorse(t.conditions, against.conditions)))
      console.log(JSON.stringify({ ...setting, ...sums(conditions) }))
    return
  }
  if (values.levels) {
    const rows: LevelRow[] = []
    for (const name of values.bundle) {
      const bundle = await open(name)
      for (const step of bundle.manifest.ladder) {
        const heard = await hear(bundle, step.level, undefined, material, seed)
        const conditions = count(heard, bundle, wordsOf(bundle).policy)
        const sentences = heard.get('clean')?.others.get('sentences')
        if (sentences === undefined) throw new Error('no sentences were heard')
        rows.push({ bundle: name, level: step.level, ...costOf(bundle, step.level, sentences), conditions })
      }
    }
    console.log(levelsTable(rows))
    if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(rows, null, 1)}\n`)
    return
  }
  const streamed: Streamed = {
    seed,
    share,
    level,
    speakers: material.speakers,
    recordings: {
      words: material.words.length,
      others: material.negatives['words of people'].length,
      noises: material.noises.recorded.length,
    },
    bundles: {},
  }
  for (const name of values.bundle) streamed.bundles[name] = await own(name)
  const whole = { ...streamed, bundles: { ...measuredBefore(values.out, streamed), ...streamed.bundles } }
  console.log(streamedTable(whole))
  if (values.out !== undefined) writeFileSync(values.out, `${JSON.stringify(whole, null, 1)}\n`)
}

await main()
