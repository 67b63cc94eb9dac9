import { activeShare } from '../../contract/active-share.ts'
import { sha256Hex } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import { labelsOf } from '../../contract/head.ts'
import type { LadderLevel } from '../../contract/ladder-levels.ts'
import { type LadderStep, labelsOfPipeline } from '../../contract/manifest.ts'
import { present } from '../../contract/present.ts'
import { agentConfig } from '../../device/core/agent/agent-config.ts'
import type { Measures } from '../../device/core/agent/measures.ts'
import { Ears } from '../../device/core/ears.ts'
import { provision } from '../../device/core/flash/provision.ts'
import { AgentHost } from '../../device/core/host.ts'
import type { HeardWake, Reading } from '../../device/core/listen/heard.ts'
import { radioNamed, totalEnergy } from '../../device/core/power/energy.ts'
import { MAINS } from '../../device/ports/battery.ts'
import { VirtualClock } from '../../firmware-sim/clock-virtual.ts'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { SILENT_TRANSPORT } from '../../firmware-sim/transport-silent.ts'
import { type Board, boardNamed, inferenceMs } from '../../model/boards.ts'
import { featureShape } from '../../model/features/feature-definition.ts'
import type { OpenedBundle } from '../../model/opened-bundle.ts'
import { planLevel } from '../../model/pipeline/level-plan.ts'
import { bundleEngine } from '../engines.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleForBoard, readBundleFile } from '../open-bundle-file.ts'
import type { InputPiece } from './device-audio.ts'
import { inputPieces, valuesPerSecond } from './device-input.ts'
import { readingWords } from './device-reading.ts'

export interface LocalRun {
  /** what it hears or feels: a file, a folder or a scene */
  readonly input: string
  readonly bundle: string
  readonly board: string
  readonly radio: string
  readonly level: LadderLevel
  readonly json: boolean
}

/** Silence before and after each piece of sound: the detector looks at whole seconds, and a word may begin at a file's first sample. */
const PAD_BEFORE_MS = 800
const PAD_AFTER_MS = 600

/** A device on a table: no radio, no battery, time as the audio goes. */
interface LocalDevice {
  readonly host: AgentHost
  readonly bundle: OpenedBundle
  readonly step: LadderStep
  readonly board: Board
  readonly imageSha256: string
  readonly audioTime: VirtualClock
}

/** What all pieces came to. */
interface Totals {
  files: number
  skipped: number
  wakes: number
  /** pieces that should wake or alarm, as they say, and those of them that did */
  expected: number
  found: number
  inputMs: number
}

/** Runs the agent over recorded or made input as fast as the machine can, and prints wakes as they happen. Each piece is heard from a fresh start;
 *  counters and energy add up over all of them. */
export async function runOnInput(run: LocalRun, clock: Clock): Promise<void> {
  const device = await startLocal(run)
  const { host, bundle } = device
  const { input } = bundle.manifest
  const labels = bundle.manifest.pipelines.flatMap(({ head }) => labelsOf(head))
  const silent = bundle.manifest.pipelines.flatMap(({ head }) => (head.kind === 'wake' ? head.policy.ignoreLabels : []))
  const totals: Totals = { files: 0, skipped: 0, wakes: 0, expected: 0, found: 0, inputMs: 0 }
  const skipped = (file: string, reason: string) => {
    totals.skipped++
    console.error(`skipped ${file}: ${reason}`)
  }
  for (const piece of inputPieces(run.input, input, labels, skipped)) {
    for (const note of piece.notes) console.error(`${piece.name}: ${note}`)
    const heard = await hearPiece(piece, device, run, clock)
    totals.files++
    totals.wakes += heard.wakes
    totals.inputMs += Math.round((piece.samples.length * 1000) / valuesPerSecond(input))
    if (piece.expected !== undefined && !silent.includes(piece.expected)) {
      totals.expected++
      if (heard.labels.includes(piece.expected)) totals.found++
    }
  }
  const { measures } = present(host.state, 'the state of a host that has started')
  await host.close()
  if (totals.files === 0) {
    throw new CommandFailure(
      `${run.input}: none of the ${totals.skipped} ${input.kind === 'audio' ? 'WAV ' : ''}files could be read`,
    )
  }
  console.log(
    run.json ? JSON.stringify(summaryOf(device, run, totals, measures)) : sentenceOf(device, totals, measures),
  )
}

async function startLocal(run: LocalRun): Promise<LocalDevice> {
  const board = present(boardNamed(run.board), 'a board among the choices')
  // Opened once by itself, so that a bad bundle is refused with its file's name.
  await (await openBundleForBoard(run.bundle, board)).dispose()
  const image = readBundleFile(run.bundle)
  const flash = new FlashNor({ sizeBytes: board.flashBytes })
  const provisioned = provision(flash, image, 0)
  if (!provisioned.ok) throw new CommandFailure(`${run.bundle}: ${provisioned.error.code}: ${provisioned.error.detail}`)
  const audioTime = new VirtualClock(0)
  const started = await AgentHost.start({
    config: agentConfig({
      device: 'local',
      site: 'local',
      board,
      radio: present(radioNamed(run.radio), 'a radio among the choices'),
      level: run.level,
    }),
    flash,
    engine: bundleEngine(),
    transport: SILENT_TRANSPORT,
    battery: MAINS,
    clock: audioTime,
  })
  if (!started.ok) throw new CommandFailure(`${started.error.code}: ${started.error.detail}`)
  const host = started.value
  const bundle = present(host.bundle, 'the bundle of a host that has started')
  const step = bundle.manifest.ladder.find(({ level }) => level === run.level)
  if (step === undefined) {
    const known = bundle.manifest.ladder.map(({ level }) => level).join(', ')
    throw new CommandFailure(`${run.bundle} has no ladder level "${run.level}"`, { hint: `its levels are ${known}` })
  }
  return { host, bundle, step, board, imageSha256: sha256Hex(image), audioTime }
}

/** @returns how often it woke, and the labels of its wakes and of what was read last */
async function hearPiece(
  piece: InputPiece,
  device: LocalDevice,
  run: LocalRun,
  clock: Clock,
): Promise<{ readonly wakes: number; readonly labels: readonly string[] }> {
  const { host, bundle, step, audioTime } = device
  const { sampleRateHz, strideSamples } = featureShape(bundle.definition)
  const isSound = bundle.manifest.input.kind === 'audio'
  const samples = isSound ? padded(piece.samples, sampleRateHz) : piece.samples
  const ears = new Ears(host)
  const labels: string[] = []
  const newest = new Map<number, Reading>()
  // Hop by hop, as a microphone delivers it, so that a wake is printed when it is decided and its latency is its own.
  const hop = Math.min(...planLevel(bundle.manifest, step).map(({ hopFrames }) => hopFrames)) * strideSamples
  for (let at = 0; at < samples.length; at += hop) {
    const chunk = samples.subarray(at, Math.min(at + hop, samples.length))
    const fromMs = clock.monotonicMs()
    let latencyMs = 0
    const heard = await ears.hear(chunk, ({ elapsedMs }) => {
      latencyMs = clock.monotonicMs() - fromMs
      audioTime.advanceTo(audioTime.wallMs() + elapsedMs)
    })
    if (!heard.ok) throw new CommandFailure(`${piece.name}: ${heard.error.code}: ${heard.error.detail}`)
    for (const wake of heard.value?.wakes ?? []) {
      labels.push(labelOf(wake, bundle))
      const atMs = Math.round((at * 1000) / sampleRateHz + wake.atMs - (isSound ? PAD_BEFORE_MS : 0))
      tellWake(wake, atMs, latencyMs, piece.name, device, run)
    }
    for (const reading of heard.value?.readings ?? []) newest.set(reading.pipeline, reading)
  }
  const wakes = labels.length
  for (const reading of newest.values()) {
    const { fields, sentence } = readingWords(reading, bundle.manifest)
    if (typeof fields.label === 'string') labels.push(fields.label)
    console.log(
      run.json
        ? JSON.stringify({ type: 'reading', file: piece.name, ...fields, level: run.level })
        : `${sentence}  ${run.level}  ${piece.name}`,
    )
  }
  return { wakes, labels }
}

function padded(piece: Float32Array, sampleRateHz: number): Float32Array {
  const before = Math.round((PAD_BEFORE_MS * sampleRateHz) / 1000)
  const samples = new Float32Array(before + piece.length + Math.round((PAD_AFTER_MS * sampleRateHz) / 1000))
  samples.set(piece, before)
  return samples
}

const labelOf = ({ label, pipeline }: HeardWake, { manifest }: OpenedBundle): string =>
  present(labelsOfPipeline(manifest, pipeline)[label], 'the label of a wake')

function tellWake(
  wake: HeardWake,
  atMs: number,
  latencyMs: number,
  file: string,
  { host, bundle, step, board }: LocalDevice,
  run: LocalRun,
): void {
  const { pipeline = 0 } = wake
  const branches = planLevel(bundle.manifest, step).flatMap((group) => group.branches)
  const macs = branches.find(({ pipelines }) => pipelines.includes(pipeline))?.macs ?? 0
  const line = {
    type: 'wake',
    file,
    label: labelOf(wake, bundle),
    posterior: wake.posteriorPermille / 1000,
    atMs,
    latencyMs: Number(latencyMs.toFixed(3)),
    boardLatencyMs: Number(inferenceMs(board, macs).toFixed(1)),
    level: run.level,
    energyMj: Number(
      totalEnergy(present(host.state, 'the state of a host that has started').measures.energy).toFixed(3),
    ),
  }
  if (run.json) {
    console.log(JSON.stringify(line))
    return
  }
  const seconds = `${(atMs / 1000).toFixed(2)} s`
  console.log(
    `${line.label.padEnd(8)} ${line.posterior.toFixed(3)}  at ${seconds.padStart(8)}  latency ${latencyMs.toFixed(2)} ms ` +
      `(${line.boardLatencyMs} ms on ${board.name})  ${run.level}  ${line.energyMj} mJ  ${file}`,
  )
}

const summaryOf = (
  { bundle, board, imageSha256 }: LocalDevice,
  { level }: LocalRun,
  totals: Totals,
  { counters, energy }: Measures,
) => ({
  type: 'summary',
  bundle: bundle.manifest.name,
  sha256: imageSha256,
  level,
  ...totals,
  ...(bundle.manifest.input.kind === 'audio' && { audioMs: totals.inputMs }),
  rate: totals.expected === 0 ? null : totals.found / totals.expected,
  windows: counters.windows,
  inferences: counters.inferences,
  activeFraction: activeShare(counters.activeMs, counters.listeningMs) ?? 0,
  energyMj: Object.fromEntries(Object.entries(energy).map(([name, mj]) => [name, Number(mj.toFixed(3))])),
  estimates: estimatesOf(board),
})

/** Figures that were computed and not measured here, and of what. */
const estimatesOf = ({ name, source }: Board) => {
  const words = `computed from figures of the ${name}: ${source}`
  return { boardLatencyMs: words, activeFraction: words, energyMj: words }
}

function sentenceOf({ board, bundle }: LocalDevice, totals: Totals, { counters, energy }: Measures): string {
  const { input, pipelines } = bundle.manifest
  const { kind } = input
  const [what, wakes] = kind === 'audio' ? ['keyword ', 'wakes'] : ['', 'alarms']
  const reads = pipelines.every(({ head }) => head.kind === 'classification')
  const share = `${totals.found} of ${totals.expected}`
  const found = totals.expected === 0 ? '' : reads ? `, the label is right in ${share}` : `, ${what}found in ${share}`
  return (
    `${totals.files} pieces, ${(totals.inputMs / 1000).toFixed(1)} s of ${kind}: ${totals.wakes} ${wakes}${found}; ` +
    `${counters.inferences} inferences in ${counters.windows} windows, ${totalEnergy(energy).toFixed(1)} mJ on ${board.name} ` +
    `(an estimate; ${board.source})`
  )
}
