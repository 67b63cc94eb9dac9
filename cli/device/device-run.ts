import { sha256 } from '../../contract/bytes.ts'
import type { Clock } from '../../contract/clock.ts'
import type { LadderLevel } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import { agentConfig } from '../../device/core/agent/agent-config.ts'
import { provision } from '../../device/core/flash/provision.ts'
import { AgentHost } from '../../device/core/host.ts'
import { createListener } from '../../device/core/listen/listener.ts'
import { radioNamed, totalEnergy } from '../../device/core/power/energy.ts'
import { MAINS } from '../../device/ports/battery.ts'
import { VirtualClock } from '../../firmware-sim/clock-virtual.ts'
import { FlashNor } from '../../firmware-sim/flash-nor.ts'
import { SILENT_TRANSPORT } from '../../firmware-sim/transport-silent.ts'
import { boardNamed, inferenceMs, modelRamBytes } from '../../model/boards.ts'
import { EngineOrtNode } from '../../model/engine/engine-ort-node.ts'
import { CommandFailure } from '../failure.ts'
import { openBundleFile, readBundleFile } from '../open-bundle-file.ts'
import { audioPieces } from './device-audio.ts'

export interface AudioRun {
  readonly audio: string
  readonly bundle: string
  readonly board: string
  readonly radio: string
  readonly level: LadderLevel
  readonly json: boolean
}

/** Silence before and after each piece: the detector looks at whole seconds, and a word may begin at a file's first sample. */
const PAD_BEFORE_MS = 800
const PAD_AFTER_MS = 600

/** Runs the agent over audio as fast as the machine can, and prints wakes as they happen. Each piece is heard from a fresh start;
 *  counters and energy add up over all of them. */
export async function runOnAudio(run: AudioRun, clock: Clock): Promise<void> {
  const board = present(boardNamed(run.board), 'a board among the choices')
  const radio = present(radioNamed(run.radio), 'a radio among the choices')
  // Opened once by itself, so that a bad bundle is refused with its file's name.
  await (await openBundleFile(run.bundle, modelRamBytes(board))).dispose()
  const image = readBundleFile(run.bundle)
  const flash = new FlashNor({ sizeBytes: board.flashBytes })
  const provisioned = provision(flash, image, 0)
  if (!provisioned.ok) throw new CommandFailure(`${run.bundle}: ${provisioned.error.code}: ${provisioned.error.detail}`)
  const audioTime = new VirtualClock(0)
  const started = await AgentHost.start({
    config: agentConfig({ device: 'local', site: 'local', board, radio, level: run.level }),
    flash,
    engine: new EngineOrtNode(),
    transport: SILENT_TRANSPORT,
    battery: MAINS,
    clock: audioTime,
  })
  if (!started.ok) throw new CommandFailure(`${started.error.code}: ${started.error.detail}`)
  const host = started.value
  const { manifest, definition, sessions } = present(host.bundle, 'the bundle of a host that has started')
  const step = manifest.ladder.find(({ level }) => level === run.level)
  if (step === undefined) {
    const known = manifest.ladder.map(({ level }) => level).join(', ')
    throw new CommandFailure(`${run.bundle} has no ladder level "${run.level}"`, { hint: `its levels are ${known}` })
  }
  const session = present(sessions.get(step.graph ?? ''), 'the session of the level')
  const macs = manifest.graphs.find(({ id }) => id === step.graph)?.macs ?? 0
  const rate = definition.sampleRateHz
  const hop = step.hopFrames * definition.strideSamples
  const energyMj = () => totalEnergy(present(host.state, 'the state of a host that has started').energy)
  const totals = { files: 0, skipped: 0, wakes: 0, expected: 0, found: 0, audioMs: 0 }

  for (const piece of audioPieces(run.audio, rate, manifest.labels, (file, reason) => {
    totals.skipped++
    console.error(`skipped ${file}: ${reason}`)
  })) {
    for (const note of piece.notes) console.error(`${piece.name}: ${note}`)
    const before = Math.round((PAD_BEFORE_MS * rate) / 1000)
    const samples = new Float32Array(before + piece.samples.length + Math.round((PAD_AFTER_MS * rate) / 1000))
    samples.set(piece.samples, before)
    const listener = createListener({ manifest, definition, step, session })
    const labels: string[] = []
    // Hop by hop, as a microphone delivers it, so that a wake is printed when it is decided and its latency is its own.
    for (let at = 0; at < samples.length; at += hop) {
      const chunk = samples.subarray(at, Math.min(at + hop, samples.length))
      const from = clock.monotonicMs()
      const heard = await listener.listen(chunk)
      const latencyMs = clock.monotonicMs() - from
      if (!heard.ok) throw new CommandFailure(`${piece.name}: ${heard.error.code}: ${heard.error.detail}`)
      audioTime.advanceTo(audioTime.wallMs() + heard.value.elapsedMs)
      host.hear(heard.value)
      for (const wake of heard.value.wakes) {
        const label = present(manifest.labels[wake.label], 'the label of a wake')
        labels.push(label)
        const line = {
          type: 'wake',
          file: piece.name,
          label,
          posterior: wake.posteriorPermille / 1000,
          atMs: Math.round((at * 1000) / rate + wake.atMs - PAD_BEFORE_MS),
          latencyMs: Number(latencyMs.toFixed(3)),
          boardLatencyMs: Number(inferenceMs(board, macs).toFixed(1)),
          level: run.level,
          energyMj: Number(energyMj().toFixed(3)),
        }
        if (run.json) console.log(JSON.stringify(line))
        else {
          const at2 = `${(line.atMs / 1000).toFixed(2)} s`
          console.log(
            `${label.padEnd(8)} ${line.posterior.toFixed(3)}  at ${at2.padStart(8)}  latency ${latencyMs.toFixed(2)} ms ` +
              `(${line.boardLatencyMs} ms on ${board.name})  ${run.level}  ${line.energyMj} mJ  ${piece.name}`,
          )
        }
      }
    }
    totals.files++
    totals.wakes += labels.length
    totals.audioMs += Math.round((piece.samples.length * 1000) / rate)
    const { ignoreLabels } = manifest.policy
    if (piece.expected !== undefined && !ignoreLabels.includes(piece.expected)) {
      totals.expected++
      if (labels.includes(piece.expected)) totals.found++
    }
  }
  const { counters, energy } = present(host.state, 'the state of a host that has started')
  const summary = {
    type: 'summary',
    bundle: manifest.name,
    sha256: Buffer.from(sha256(image)).toString('hex'),
    level: run.level,
    ...totals,
    rate: totals.expected === 0 ? null : totals.found / totals.expected,
    windows: counters.windows,
    inferences: counters.inferences,
    activeFraction: counters.listeningMs === 0 ? 0 : counters.activeMs / counters.listeningMs,
    energyMj: Object.fromEntries(Object.entries(energy).map(([name, mj]) => [name, Number(mj.toFixed(3))])),
  }
  await host.close()
  if (totals.files === 0) {
    throw new CommandFailure(`${run.audio}: none of the ${totals.skipped} WAV files could be read`)
  }
  if (run.json) {
    console.log(JSON.stringify(summary))
    return
  }
  const found = totals.expected === 0 ? '' : `, keyword found in ${totals.found} of ${totals.expected}`
  console.log(
    `${totals.files} pieces, ${(totals.audioMs / 1000).toFixed(1)} s of audio: ${totals.wakes} wakes${found}; ` +
      `${counters.inferences} inferences in ${counters.windows} windows, ${totalEnergy(energy).toFixed(1)} mJ on ${board.name}`,
  )
}
