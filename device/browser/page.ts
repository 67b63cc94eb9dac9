/** The agent's page: what the user does goes to the worker, what the worker says is shown. Writes text nodes only. */

import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { COUNTER_NAMES } from '../../contract/messages.ts'
import { present } from '../../contract/present.ts'
import { threeDigits } from '../../contract/three-digits.ts'
import { WAV_LIMITS } from '../../model/audio/wav.ts'
import { BOARDS } from '../../model/boards.ts'
import { RADIOS } from '../core/power/energy.ts'
import type { AgentView, FromWorker, PageConfig, PageSettings, SlotView, ToWorker } from './messages.ts'
import { openMicrophone } from './microphone.ts'
import { readSettings } from './page-settings.ts'
import { colourOf, SoundCanvas } from './sound-canvas.ts'

const SETTINGS_KEY = 'kinglet-agent'
const TOKEN_KEY = 'kinglet-agent-token'
/** chosen: what somebody reads back */
const EVENTS_MAX = 200
/** chosen: a claim has 400 bytes */
const CLAIM_BYTES_MAX = 4_096
/** chosen: what any browser decodes to; the worker resamples from there */
const DECODED_HZ = 48_000
const SCENE_SECONDS = 60
/** a worker that was just ended lets go of its file a moment later */
const ERASE_ATTEMPTS = 40

const element = <E extends HTMLElement>(id: string): E => present(document.getElementById(id), `#${id}`) as E
const say = (id: string, text: string): void => {
  const target = element(id)
  if (target.textContent !== text) target.textContent = text
}
const make = (tag: string, className: string, ...children: (string | Node)[]): HTMLElement => {
  const made = document.createElement(tag)
  if (className !== '') made.className = className
  made.append(...children)
  return made
}

const canvas = new SoundCanvas(element('spectrogram'), element('posteriors'))
const form = element<HTMLFormElement>('settings')
let config: PageConfig = { gateway: null, trusted: false, scenes: [] }
let settings: PageSettings = remembered()
let worker: Worker | undefined
let view: AgentView | undefined
let microphone: { readonly stop: () => void } | undefined
/** of the next worker: the claim that it is to enrol with */
let claim: unknown

function remembered(): PageSettings {
  const token = sessionStorage.getItem(TOKEN_KEY) ?? ''
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(SETTINGS_KEY) ?? '{}')
    return { ...readSettings(kept), token }
  } catch {
    return { ...readSettings({}), token }
  }
}

function remember(next: PageSettings): void {
  settings = next
  localStorage.setItem(SETTINGS_KEY, JSON.stringify({ ...next, token: '' }))
  sessionStorage.setItem(TOKEN_KEY, next.token)
}

const tell = (message: ToWorker, transfer: Transferable[] = []): void => worker?.postMessage(message, transfer)

/** Boots an agent in a new worker. One that runs is ended where it is, as when the power goes. */
function boot(): void {
  worker?.terminate()
  view = undefined
  trouble(undefined)
  const started = new Worker('/agent-worker.js', { type: 'module' })
  worker = started
  started.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
    if (worker === started) hear(data)
  })
  started.addEventListener('error', ({ message }) => trouble(`the agent has stopped: ${message}`))
  tell({ type: 'start', settings, config })
  if (claim !== undefined) tell({ type: 'enrol', claim })
  claim = undefined
  void watchGauge()
}

function hear(message: FromWorker): void {
  switch (message.type) {
    case 'view':
      view = message.view
      show(message.view)
      return
    case 'heard':
      showHeard(message.columns, message.posteriors)
      return
    case 'wake': {
      const { label, posterior, level, wallMs } = message
      canvas.mark()
      say('last-wake', `${label}, ${posterior.toFixed(3)}`)
      list(wallMs, label, `${posterior.toFixed(3)} at ${level}`, 'wake')
      return
    }
    case 'event':
      list(message.wallMs, message.code, message.detail, message.bad ? 'bad' : '')
      return
    case 'played': {
      const { name, wakes, seconds } = message
      const words =
        wakes.length === 0 ? 'no wake' : `${wakes.length} ${wakes.length === 1 ? 'wake' : 'wakes'}: ${wakes.join(', ')}`
      say('played', `${name}, ${seconds.toFixed(1)} s: ${words}`)
      return
    }
    case 'decode':
      void decode(message.name, message.bytes, message.fast, message.why)
      return
    case 'enrolled':
      list(undefined, 'enrolled', `key ${message.keyId.slice(0, 16)}`, '')
      // As whom it speaks is decided when it starts.
      boot()
      return
    case 'refused':
      list(undefined, message.what, message.why, 'bad')
      trouble(`${message.what}: ${message.why}`)
      return
  }
}

function trouble(text: string | undefined): void {
  element('trouble').hidden = text === undefined
  say('trouble', text ?? '')
}

function list(wallMs: number | undefined, what: string, detail: string, className: string): void {
  const time = document.createElement('time')
  time.textContent = new Date(wallMs ?? performance.timeOrigin + performance.now()).toLocaleTimeString('en-GB')
  const events = element('events')
  events.querySelector('.empty')?.remove()
  events.prepend(make('li', className, time, make('b', '', what), detail === '' ? '' : ` ${detail}`))
  while (events.children.length > EVENTS_MAX) events.lastElementChild?.remove()
}

function show(now: AgentView): void {
  say('who', now.keyId === null && settings.token === '' ? 'not enrolled' : `${now.device} at ${now.site}`)
  element('link').dataset.state = now.link
  const links = { off: 'by itself, without a gateway', connected: 'connected', disconnected: 'no connection' }
  present(element('link').querySelector('.text'), 'the words of the link').textContent = `${links[now.link]}${
    now.link === 'off' ? '' : ` to ${config.gateway}`
  }`
  say('model', now.model)
  say('engine', now.engine)
  say('level', now.level)
  showLadder(now)
  say('wakes', String(now.counters.wakes ?? 0))
  say('battery', now.batteryShare === undefined ? 'mains' : `${Math.round(now.batteryShare * 1000) / 10} %`)
  say('energy', `about ${threeDigits(now.energyMj / 1000)} J of this boot`)
  say('phase', now.phase)
  const slots = element('slots')
  const drawn = JSON.stringify(now.slots) + now.phase
  if (slots.dataset.drawn !== drawn) {
    slots.dataset.drawn = drawn
    slots.replaceChildren(...now.slots.map((slot, index) => slotOf(slot, index, now.phase)))
  }
  const { phase, target, share } = now.update
  element('update').hidden = phase === 'idle'
  say('update-text', `${phase} ${target}`)
  const bar = element<HTMLProgressElement>('update-share')
  if (share === null) bar.removeAttribute('value')
  else bar.value = share
  say('boot', `boot ${now.boot}, ${clockOf(now.uptimeMs)}, ${now.queued} messages queued`)
  showCounters(now.counters)
  element<HTMLButtonElement>('stop').disabled = now.playing === null && microphone === undefined
  const key = now.keyId === null ? undefined : `enrolled as ${now.device} at ${now.site}, key ${now.keyId.slice(0, 16)}`
  const alone = 'This flash holds no key. To enrol it, start the page with --gateway.'
  say('identity-text', key ?? (config.gateway === null ? alone : 'This flash holds no key.'))
  for (const way of document.querySelectorAll<HTMLElement>('#identity > label, #identity > details')) {
    way.hidden = config.gateway === null || now.keyId !== null
  }
}

function showLadder({ levels, level, levelMs }: AgentView): void {
  const ladder = element('ladder')
  if (ladder.children.length === 0) ladder.append(...LADDER_LEVELS.map(() => make('li', '')))
  for (const [index, name] of LADDER_LEVELS.entries()) {
    const item = present(ladder.children[index] as HTMLElement | undefined, 'a rung')
    item.className = name === level ? 'now' : levels.includes(name) || name === 'hibernate' ? '' : 'off'
    item.title = `${name}: ${clockOf(levelMs[index] ?? 0)} of this boot`
    item.setAttribute('aria-label', item.title)
  }
}

function slotOf({ model, sha256, bytes, confirmed, running }: SlotView, index: number, phase: string): HTMLElement {
  const state = running
    ? make('i', phase === 'trial' ? 'trial' : '', phase === 'trial' ? 'runs, on trial' : 'runs, confirmed')
    : model === null
      ? 'empty'
      : confirmed
        ? 'confirmed, waits for the trial to end'
        : 'whole, kept to go back to'
  const rest = model === null ? [] : [make('div', '', `${bytes} bytes, `, make('code', '', sha256.slice(0, 12)))]
  return make('div', running ? 'slot running' : 'slot', `slot ${index}`, make('b', '', model ?? '–'), state, ...rest)
}

function showCounters(counters: Readonly<Record<string, number>>): void {
  const table = element('counters')
  if (table.children.length === 0) {
    table.append(...COUNTER_NAMES.map((name) => make('tr', '', make('th', '', inWords(name)), make('td', ''))))
  }
  COUNTER_NAMES.forEach((name, index) => {
    const cell = present(table.children[index]?.lastElementChild, 'the cell of a counter')
    const value = counters[name] ?? 0
    cell.textContent = name.endsWith('Ms') ? clockOf(value) : String(Math.round(value))
  })
}

/** installsStarted: installs started */
const inWords = (name: string): string =>
  name.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

const clockOf = (ms: number): string => {
  const seconds = Math.floor(ms / 1000)
  const [minutes, hours] = [Math.floor(seconds / 60) % 60, Math.floor(seconds / 3_600)]
  return `${hours > 0 ? `${hours} h ` : ''}${minutes > 0 || hours > 0 ? `${minutes} min ` : ''}${seconds % 60} s`
}

function showHeard(columns: Uint8Array, posteriors: readonly Float32Array[]): void {
  if (view === undefined) return
  canvas.draw(columns, posteriors, view.waking, view.threshold)
  const newest = posteriors.at(-1)
  if (newest === undefined) {
    if (columns.length > 0) say('best', 'the voice gate is shut')
    return
  }
  let best = 0
  newest.forEach((value, label) => {
    if (value > (newest[best] ?? 0)) best = label
  })
  const name = make('b', '', view.labels[best] ?? '?')
  if (view.waking.includes(best)) name.style.color = colourOf(best)
  element('best').replaceChildren(name, ` ${(newest[best] ?? 0).toFixed(2)}`)
}

async function listen(): Promise<void> {
  if (microphone !== undefined) {
    quiet()
    return
  }
  try {
    microphone = await openMicrophone((samples, rateHz) =>
      tell({ type: 'live', samples, rateHz }, [samples.buffer as ArrayBuffer]),
    )
    element('microphone').setAttribute('aria-pressed', 'true')
    say('microphone', 'Microphone off')
    say('played', '')
  } catch (cause) {
    trouble(`no microphone: ${cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)}`)
  }
}

function quiet(): void {
  microphone?.stop()
  microphone = undefined
  element('microphone').setAttribute('aria-pressed', 'false')
  say('microphone', 'Microphone')
  tell({ type: 'silence' })
}

const isFast = (): boolean => element<HTMLInputElement>('fast').checked

function play(name: string, bytes: Uint8Array): void {
  quiet()
  trouble(undefined)
  say('played', `hearing ${name}`)
  tell({ type: 'file', name, bytes, fast: isFast() }, [bytes.buffer as ArrayBuffer])
}

async function playFile(file: File): Promise<void> {
  if (file.size > WAV_LIMITS.fileBytesMax) {
    trouble(`${file.name} has ${file.size} bytes, at most ${WAV_LIMITS.fileBytesMax} are read`)
    return
  }
  play(file.name, new Uint8Array(await file.arrayBuffer()))
}

async function playScene(): Promise<void> {
  const name = element<HTMLSelectElement>('scene').value
  const response = await fetch(`/scene.wav?name=${encodeURIComponent(name)}&seconds=${SCENE_SECONDS}`)
  if (!response.ok) throw new Error(`the scene "${name}": ${await response.text()}`)
  play(name, new Uint8Array(await response.arrayBuffer()))
}

/** What is no WAV, by what the browser knows of sound. */
async function decode(name: string, bytes: Uint8Array, fast: boolean, why: string): Promise<void> {
  try {
    const context = new OfflineAudioContext(1, 1, DECODED_HZ)
    const sound = await context.decodeAudioData(bytes.slice().buffer)
    const samples = new Float32Array(sound.length)
    for (let channel = 0; channel < sound.numberOfChannels; channel++) {
      sound.getChannelData(channel).forEach((value, i) => {
        samples[i] = (samples[i] ?? 0) + value / sound.numberOfChannels
      })
    }
    tell({ type: 'decoded', name, samples, rateHz: DECODED_HZ, fast }, [samples.buffer])
  } catch (cause) {
    const says = cause instanceof Error ? cause.message : String(cause)
    say('played', '')
    trouble(`${name} is no WAV (${why}), and nothing that this browser decodes (${says})`)
  }
}

async function enrol(file: File): Promise<void> {
  if (file.size > CLAIM_BYTES_MAX) throw new Error(`${file.name} is no claim: it has ${file.size} bytes`)
  let parsed: unknown
  try {
    parsed = JSON.parse(await file.text())
  } catch {
    throw new Error(`${file.name} is no claim; an operator makes one with "kinglet device claim"`)
  }
  claim = parsed
  // The board is the claim's: the flash of another would be of another size.
  const { board } = (typeof parsed === 'object' && parsed !== null ? parsed : {}) as { readonly board?: unknown }
  remember(readSettings({ ...settings, board }))
  fill()
  boot()
}

async function erase(): Promise<void> {
  if (!confirm('Erase the flash? Its key and both models are gone then, and the device has to be enrolled again.'))
    return
  worker?.terminate()
  worker = undefined
  const folder = await navigator.storage.getDirectory()
  for (let attempt = 1; ; attempt++) {
    try {
      await folder.removeEntry(`${settings.board}.flash`)
      break
    } catch (cause) {
      if (cause instanceof Error && cause.name === 'NotFoundError') break
      if (attempt === ERASE_ATTEMPTS) throw cause
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  boot()
}

/** Where a browser tells of the machine's battery: Chromium does. @see W3C Battery Status API */
async function watchGauge(): Promise<void> {
  interface Gauge extends EventTarget {
    readonly level: number
  }
  const { getBattery } = navigator as unknown as { readonly getBattery?: () => Promise<Gauge> }
  if (settings.power.kind !== 'gauge') return
  const gauge = await getBattery?.call(navigator).catch(() => undefined)
  if (gauge === undefined) {
    trouble('this browser tells nothing of the machine’s battery: the cell is taken for full')
    return
  }
  const pass = (): void => tell({ type: 'gauge', share: gauge.level })
  gauge.addEventListener('levelchange', pass)
  pass()
}

/** Puts the settings into the form. */
function fill(): void {
  const { power, days } = settings
  const joule = power.kind === 'mains' ? '20000' : String(power.capacityMj / 1000)
  const values = { ...settings, power: power.kind, joule, days: String(days) }
  for (const [name, value] of Object.entries(values)) {
    const field = form.elements.namedItem(name)
    if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.value = value
  }
}

const on = (id: string, type: string, act: (event: Event) => unknown): void =>
  element(id).addEventListener(type, (event) => {
    Promise.resolve()
      .then(() => act(event))
      .catch((cause: unknown) => trouble(cause instanceof Error ? cause.message : String(cause)))
  })

/** Passes on the file that was chosen, and lets the same one be chosen again. */
const onFile = (id: string, act: (file: File) => Promise<void>): void =>
  on(id, 'change', async ({ target }) => {
    const input = target as HTMLInputElement
    const [file] = input.files ?? []
    if (file === undefined) return
    await act(file)
    input.value = ''
  })

const options = (name: string, values: readonly string[]): void =>
  present(form.querySelector(`[name=${name}]`), `the field ${name}`).append(...values.map((value) => new Option(value)))

async function open(): Promise<void> {
  options(
    'board',
    BOARDS.map(({ name }) => name),
  )
  options(
    'radio',
    RADIOS.map(({ name }) => name),
  )
  options(
    'level',
    LADDER_LEVELS.filter((level) => level !== 'hibernate'),
  )
  fill()
  element('events').append(make('li', 'empty', 'nothing yet'))
  on('microphone', 'click', listen)
  on('stop', 'click', () => {
    quiet()
    say('played', '')
  })
  on('play-scene', 'click', playScene)
  on('power-cut', 'click', boot)
  on('report', 'click', () => tell({ type: 'report' }))
  on('erase', 'click', erase)
  onFile('file', playFile)
  onFile('claim', enrol)
  on('settings', 'submit', () => {
    remember(readSettings(Object.fromEntries(new FormData(form))))
    fill()
    boot()
  })
  form.addEventListener('submit', (event) => event.preventDefault())
  const response = await fetch('/page.json')
  config = (await response.json()) as PageConfig
  element('scene').append(...config.scenes.map((name) => new Option(name)))
  boot()
}

open().catch((cause: unknown) => trouble(`the page does not start: ${String(cause)}`))
