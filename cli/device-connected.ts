import { readFileSync } from 'node:fs'
import type { Clock } from '../contract/clock.ts'
import type { LadderLevel } from '../contract/messages.ts'
import type { TrustedRole } from '../contract/signed.ts'
import { parseDeviceId, parseSiteId } from '../contract/topics.ts'
import { agentConfig } from '../device/core/agent-config.ts'
import type { AgentEffect } from '../device/core/agent-state.ts'
import { radioNamed, totalEnergy } from '../device/core/energy.ts'
import { AgentHost } from '../device/core/host.ts'
import { createListener, type Listener } from '../device/core/listener.ts'
import { provision } from '../device/core/provision.ts'
import { FlashFile } from '../device/node/flash-file.ts'
import { TransportMqtt } from '../device/node/transport-mqtt.ts'
import { MAINS } from '../device/ports/battery.ts'
import { boardNamed } from '../model/boards.ts'
import { EngineOrtNode } from '../model/engine-ort-node.ts'
import type { OpenedBundle } from '../model/opened-bundle.ts'
import { audioPieces } from './device-audio.ts'
import { CommandFailure, fileFailure } from './failure.ts'
import { readBundleFile } from './open-bundle-file.ts'

export interface ConnectedRun {
  readonly gateway: string
  readonly site: string
  readonly device: string
  readonly tokenFile: string
  readonly trust: string
  readonly flash: string
  readonly audio?: string
  readonly bundle: string
  readonly board: string
  readonly radio: string
  readonly level: LadderLevel
  readonly json?: boolean
}

/** Real ms between connection attempts; chosen: a gateway restart is noticed soon, a dead one is not hammered. */
const RECONNECT_MS = 2_000

/** Runs one device against a gateway until it is interrupted: reports, wakes, updates, with its state in a flash file. */
export async function runConnected(run: ConnectedRun, clock: Clock): Promise<void> {
  const board = boardNamed(run.board)!
  const radio = radioNamed(run.radio)!
  const site = parseSiteId(run.site)
  const device = parseDeviceId(run.device)
  if (!site.ok || !device.ok) throw new CommandFailure('ids are lower-case letters, digits and dashes', { exitCode: 2 })
  if (run.audio === undefined) {
    throw new CommandFailure('a connected device needs ears', {
      hint: 'give --audio - for a microphone (16 kHz, 16-bit mono, raw, on standard input), or a file, folder or scene to play',
      exitCode: 2,
    })
  }
  const token = readText(run.tokenFile).trim()
  const trust = readTrust(run.trust)
  const flash = openFlash(run.flash, board.flashBytes, run.bundle)
  const say = (event: Record<string, unknown>, sentence: string) =>
    console.log(run.json ? JSON.stringify({ atMs: Math.round(clock.wallMs()), ...event }) : sentence)
  const observe = (effect: AgentEffect) => {
    if (effect.type === 'tell-event') {
      const why = [effect.error, effect.detail].filter(Boolean).join(': ')
      say(
        { type: 'event', code: effect.code, error: effect.error, detail: effect.detail },
        `${effect.code}${why && ` (${why})`}`,
      )
    } else if (effect.type === 'tell-wake') {
      const label = host?.bundle?.manifest.labels[effect.wake.label] ?? '?'
      const posterior = effect.wake.posteriorPermille / 1000
      const energyMj = Number(totalEnergy(host!.state!.energy).toFixed(3))
      say(
        { type: 'wake', label, posterior, level: host?.level, energyMj },
        `${label}  ${posterior.toFixed(3)}  ${host?.level}  ${energyMj} mJ`,
      )
    }
  }
  let host: AgentHost | undefined
  const started = await AgentHost.start({
    config: agentConfig({
      device: run.device,
      site: run.site,
      board,
      radio,
      level: run.level,
      ...trust,
      reportPhaseMs: 60_000,
    }),
    flash,
    engine: new EngineOrtNode(),
    transport: new TransportMqtt({
      url: run.gateway,
      site: site.value,
      device: device.value,
      token: () => token,
      reconnectMs: RECONNECT_MS,
    }),
    battery: MAINS,
    clock,
    observe,
  })
  if (!started.ok) throw new CommandFailure(`${run.flash}: ${started.error.code}: ${started.error.detail}`)
  host = started.value

  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
  const ears = new Ears(host)
  const chunks = run.audio === '-' ? microphone() : playback(run.audio, clock, stop.signal)
  for await (const chunk of chunks) {
    if (stop.signal.aborted) break
    await ears.hear(chunk)
  }
  await host.close()
  flash.close()
}

/** Keeps a listener for the running bundle and level; both change under an update or the governor. */
class Ears {
  readonly #host: AgentHost
  #bundle: OpenedBundle | undefined
  #level: LadderLevel | undefined
  #listener: Listener | undefined

  constructor(host: AgentHost) {
    this.#host = host
  }

  async hear(samples: Float32Array): Promise<void> {
    const { bundle, level } = this.#host
    if (bundle === undefined || level === undefined) return
    if (bundle !== this.#bundle || level !== this.#level) {
      const step = bundle.manifest.ladder.find((candidate) => candidate.level === level)
      const session = bundle.sessions.get(step?.graph ?? '')
      this.#bundle = bundle
      this.#level = level
      this.#listener =
        step === undefined || session === undefined
          ? undefined
          : createListener({ manifest: bundle.manifest, definition: bundle.definition, step, session })
    }
    const heard = await this.#listener?.listen(samples)
    if (heard?.ok) this.#host.hear(heard.value)
    else if (heard !== undefined && heard.error.code !== 'engine-disposed') {
      this.#host.dispatch({ type: 'engine-failed', error: { code: 'model-load-failed', detail: heard.error.detail } })
    }
  }
}

const RATE_HZ = 16_000
const CHUNK_SAMPLES = RATE_HZ / 5

async function* microphone(): AsyncGenerator<Float32Array> {
  let rest = Buffer.alloc(0)
  for await (const data of process.stdin as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, data])
    const whole = rest.length - (rest.length % 2)
    const samples = new Float32Array(whole / 2)
    for (let i = 0; i < samples.length; i++) samples[i] = rest.readInt16LE(2 * i) / 32_768
    rest = rest.subarray(whole)
    yield samples
  }
}

/** Plays files over and over at the speed of sound. */
async function* playback(audio: string, clock: Clock, stop: AbortSignal): AsyncGenerator<Float32Array> {
  let dueMs = clock.monotonicMs()
  while (!stop.aborted) {
    for (const piece of audioPieces(audio, RATE_HZ, [], (file, reason) =>
      console.error(`skipped ${file}: ${reason}`),
    )) {
      for (let at = 0; at < piece.samples.length && !stop.aborted; at += CHUNK_SAMPLES) {
        const chunk = piece.samples.subarray(at, at + CHUNK_SAMPLES)
        dueMs += (1000 * chunk.length) / RATE_HZ
        const waitMs = dueMs - clock.monotonicMs()
        if (waitMs > 0) {
          await new Promise<void>((resolve) => {
            const cancel = clock.after(waitMs, resolve)
            stop.addEventListener(
              'abort',
              () => {
                cancel()
                resolve()
              },
              { once: true },
            )
          })
        }
        yield chunk
      }
    }
  }
}

function openFlash(path: string, sizeBytes: number, bundlePath: string): FlashFile {
  try {
    const { flash, created } = FlashFile.open(path, sizeBytes)
    if (!created) return flash
    const done = provision(flash, readBundleFile(bundlePath), 0)
    if (!done.ok) throw new CommandFailure(`${path}: ${done.error.code}: ${done.error.detail}`)
    return flash
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw fileFailure(path, cause)
  }
}

function readTrust(path: string): { readonly director: TrustedRole; readonly release: TrustedRole } {
  const isRole = (value: unknown): value is TrustedRole => {
    const role = value as TrustedRole | undefined
    return (
      Number.isInteger(role?.threshold) &&
      Array.isArray(role?.keys) &&
      role.keys.every((key) => /^[0-9a-f]{64}$/.test(key?.publicKey))
    )
  }
  let json: { director?: unknown; release?: unknown }
  try {
    json = JSON.parse(readText(path))
  } catch (cause) {
    if (cause instanceof CommandFailure) throw cause
    throw new CommandFailure(`${path}: not JSON`)
  }
  const { director, release } = json
  if (!isRole(director) || !isRole(release)) {
    throw new CommandFailure(
      `${path}: expected {"director": {"keys": [{"keyId", "publicKey"}], "threshold"}, "release": {…}}`,
    )
  }
  return { director, release }
}
