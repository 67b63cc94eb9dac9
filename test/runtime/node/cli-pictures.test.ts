import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { systemClock } from '../../../cli/clock-system.ts'
import { freePort } from '../../../cli/story/free-port.ts'
import { ClockMaster } from '../../../firmware-sim/clock-shared.ts'
import { colourNetwork } from '../../fixtures/picture-network.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../fixtures/reference-data.ts'
import { expectRefusal, kinglet, Running } from './cli-process.ts'

/** Bundles that read pictures, from a bare network to a device that is updated over the air, as people would do it: by commands. */

const dir = mkdtempSync(join(tmpdir(), 'kinglet-pictures-'))
const path = (...parts: string[]) => join(dir, ...parts)
const SIDE = 16
const COLOURS = ['red', 'green', 'blue']

/** A picture with most of one colour. */
const pixelsOf = (colour: number): Uint8Array =>
  Uint8Array.from({ length: 3 * SIDE * SIDE }, (_, at) => (at % 3 === colour ? 220 : 30 + (at % 17)))
const ppm = (pixels: Uint8Array): Uint8Array =>
  new Uint8Array(Buffer.concat([Buffer.from(`P6\n${SIDE} ${SIDE}\n255\n`), pixels]))
const said = async (...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await kinglet(...args)
  expect(code, stderr).toBe(0)
  return stdout
}
const json = (stdout: string): Record<string, unknown>[] =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

/** A bundle of the network, with what `model init` leaves open filled in. */
async function packed(name: string, version: number, sharpness: number): Promise<void> {
  writeFileSync(path(`${name}.tflite`), colourNetwork(SIDE, sharpness))
  const told = await said('model', 'init', path(`${name}.tflite`), '-o', path(`${name}.yaml`))
  expect(told).toMatch(/to be filled in: everyMs, labels/)
  const text = readFileSync(path(`${name}.yaml`), 'utf8')
  expect(text).toMatch(/classifier of pictures of 16 × 16 in 3 channels/)
  const filled = text
    .replace('version: 1', `version: ${version}`)
    .replace('label-0, label-1, label-2', COLOURS.join(', '))
    .replace('smoothingWindows: 3', 'smoothingWindows: 1')
  writeFileSync(path(`${name}.yaml`), `${filled}golden: { audio: pictures }\n`)
  await said('model', 'pack', path(`${name}.yaml`), '-o', path(`${name}.kinglet`))
}

beforeAll(async () => {
  for (const [at, colour] of COLOURS.entries()) {
    mkdirSync(path('pictures', colour), { recursive: true })
    writeFileSync(path('pictures', colour, 'a.ppm'), ppm(pixelsOf(at)))
    writeFileSync(path('pictures', colour, 'b.raw'), pixelsOf(at))
  }
  await packed('eye-1', 1, 40)
  await packed('eye-2', 2, 90)
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe('device run and model eval on pictures', () => {
  const run = (input: string, ...more: string[]) =>
    kinglet('device', 'run', '--bundle', path('eye-1.kinglet'), '--input', input, ...more)

  it('tells the label of each, of raw bytes and of PPM alike, and counts those that are right', async () => {
    const lines = json((await run(path('pictures'), '--json')).stdout)
    expect(lines.filter(({ type }) => type === 'reading').map(({ file, label }) => [file, label])).toEqual(
      [...COLOURS]
        .sort()
        .flatMap((colour) => ['a.ppm', 'b.raw'].map((file) => [path('pictures', colour, file), colour])),
    )
    expect(lines.at(-1)).toMatchObject({
      ...{ type: 'summary', bundle: 'eye-1', files: 6, skipped: 0, wakes: 0, expected: 6, found: 6, rate: 1 },
      ...{ inputMs: 6_000, windows: 6, inferences: 6 },
    })
    const { stdout } = await run(path('pictures'))
    expect(stdout).toMatch(
      /6 pieces, 6\.0 s of image: 0 alarms, the label is right in 6 of 6; 6 inferences in 6 windows/,
    )
    expect(await said('model', 'eval', path('eye-1.kinglet'), path('pictures'))).toMatch(
      /^accuracy 100\.0 % of 6 clips/,
    )
  })

  it('several pictures in a file of raw bytes follow each other', async () => {
    writeFileSync(path('film.raw'), Buffer.concat([0, 0, 2].map(pixelsOf)))
    const lines = json((await run(path('film.raw'), '--json')).stdout)
    expect(lines.at(-1)).toMatchObject({ files: 1, windows: 3, inputMs: 3_000 })
    expect(lines.find(({ type }) => type === 'reading')).toMatchObject({ label: 'blue' })
  })

  it('refuses what it cannot use, with the way out', async () => {
    mkdirSync(path('odd/red'), { recursive: true })
    mkdirSync(path('empty'))
    writeFileSync(path('odd/red/short.raw'), new Uint8Array(100))
    writeFileSync(path('odd/red/small.ppm'), Buffer.concat([Buffer.from('P6 2 2 255\n'), Buffer.alloc(12)]))
    writeFileSync(path('photo.png'), Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0, 0))
    expectRefusal(await run(path('photo.png')), 1, /a PNG file: make it ppm, .*-resize 16x16! FILE\.ppm/)
    expectRefusal(await run(path('odd/red/short.raw')), 1, /100 bytes, which are no pictures of 768/)
    expectRefusal(await run(path('odd/red/small.ppm')), 1, /2 × 2 in 3 channels, the bundle reads 16 × 16 in 3/)
    expectRefusal(await run(path('empty')), 1, /no pictures in this folder/)
    expectRefusal(await run(path('nowhere')), 1, /no such file or folder/)
    expectRefusal(await run('scene:office'), 2, /none of pictures/)
    const skips = await run(path('odd'))
    expect(skips.stderr).toMatch(
      /skipped .*short\.raw[\s\S]*skipped .*small\.ppm[\s\S]*none of the 2 files could be read/,
    )
    expectRefusal(
      await kinglet('model', 'eval', path('eye-1.kinglet'), dir),
      1,
      /folders odd, pictures|no labelled pictures|folders/,
    )
    expectRefusal(await kinglet('model', 'eval', path('eye-1.kinglet'), path('pictures'), '--graph', 'x'), 1, /--graph/)
  })
})

describe('a device that sees, by a cloud and a gateway', () => {
  const clock = path('clock')
  const running: Running[] = []
  // From now on: the offline keys sign by the real clock.
  const master = new ClockMaster(clock, systemClock, systemClock.wallMs(), 60)
  afterAll(async () => {
    for (const { child } of running) child.kill('SIGKILL')
    await Promise.all(running.map(({ ended }) => ended))
    master.close()
  })
  const start = (...args: string[]): Running => {
    const process = new Running(args)
    running.push(process)
    return process
  }
  const answers = (url: string) =>
    expect
      .poll(
        () =>
          fetch(url).then(
            ({ ok }) => ok,
            () => false,
          ),
        { timeout: 60_000 },
      )
      .toBe(true)

  it('takes a signed update over the air, tells what it sees before and after, and its shares reach the cloud', async () => {
    const [port, mqttPort, wsPort, httpPort] = [await freePort(), await freePort(), await freePort(), await freePort()]
    const cloudUrl = `http://127.0.0.1:${port}`
    start(
      'cloud',
      'run',
      '--data',
      path('cloud'),
      '--port',
      `${port}`,
      '--clock',
      clock,
      '--evaluate-every-ms',
      '60000',
    )
    await answers(`${cloudUrl}/healthz`)
    const token = readFileSync(path('cloud/operator.token'), 'utf8').trim()
    const api = async <T>(method: string, route: string, body?: unknown): Promise<T> => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const response = await fetch(`${cloudUrl}${route}`, {
        method,
        headers,
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })
      if (!response.ok) throw new Error(`${route}: ${await response.text()}`)
      return (await response.json()) as T
    }
    const minted = await api<{ token: string }>('POST', '/v1/tokens', {
      subject: 'gateway-1',
      role: 'gateway',
      sites: ['lab'],
    })
    writeFileSync(path('gateway.token'), minted.token, { mode: 0o600 })
    start(
      ...[
        'gateway',
        'run',
        '--data',
        path('gateway'),
        '--cloud',
        cloudUrl,
        '--token-file',
        path('gateway.token'),
        '--clock',
        clock,
      ],
      ...[
        '--mqtt-port',
        `${mqttPort}`,
        '--ws-port',
        `${wsPort}`,
        '--http-port',
        `${httpPort}`,
        '--uplink-every-ms',
        '6000',
      ],
    )
    await answers(`http://127.0.0.1:${httpPort}/healthz`)
    writeFileSync(path('passphrase'), 'correct horse battery\n', { mode: 0o600 })
    const offline = ['--keys', path('keys'), '--repo', path('repo'), '--passphrase-file', path('passphrase')]
    const operator = ['--cloud', cloudUrl, '--token-file', path('cloud/operator.token')]
    await said(
      'keys',
      'init',
      '--online-key',
      path('cloud/keys/online.pub.json'),
      '--root-keys',
      '1',
      '--root-threshold',
      '1',
      ...offline,
    )
    for (const name of ['eye-1', 'eye-2'])
      await said('release', 'add', path(`${name}.kinglet`), ...offline, ...operator)
    for (const to of ['staging', 'production'])
      await said('release', 'promote', 'eye-1', '--to', to, '--reason', 'factory', ...operator)
    await said('release', 'promote', 'eye-2', '--to', 'staging', '--reason', 'test', ...operator)
    const made = await api<{ devices: { token: string }[] }>('POST', '/v1/devices', [
      { device: 'eye', site: 'lab', board: 'NUCLEO-U575ZI', model: 'eye-1' },
    ])
    writeFileSync(path('eye.token'), made.devices[0]!.token, { mode: 0o600 })

    const flags = [
      ...['device', 'run', '--json', '--gateway', `mqtt://127.0.0.1:${mqttPort}`, '--site', 'lab', '--device', 'eye'],
      ...['--token-file', path('eye.token'), '--trust', path('repo/metadata/1.root.json')],
      ...['--flash', path('eye.flash'), '--clock', clock, '--bundle', path('eye-1.kinglet')],
    ]
    const device = start(...flags, '--input', path('pictures'))
    const isEvent = (code: string) => (line: Record<string, unknown>) => line.type === 'event' && line.code === code
    const sees = (model: string, label: string) => (line: Record<string, unknown>) =>
      line.type === 'reading' && line.model === model && line.label === label
    for (const colour of COLOURS) await device.line(`it sees ${colour}`, sees('eye-1', colour))
    await api('POST', '/v1/devices/eye/target', { model: 'eye-2', reason: 'for the test' })
    for (const code of ['install-started', 'download-complete', 'trial-started', 'install-confirmed']) {
      await device.line(code, isEvent(code), 90_000)
    }
    for (const colour of COLOURS) await device.line(`it sees ${colour} by the new model`, sees('eye-2', colour))
    // Ended, it says how far it has come; what it saw is equal parts of three.
    expect(await device.stop()).toMatchObject({ code: 0, stderr: '' })
    // Pictures on standard input are bytes too.
    const live = start(...flags, '--input', '-')
    live.child.stdin?.write(pixelsOf(2))
    await live.line('it sees blue on standard input', sees('eye-2', 'blue'))
    expect(await live.stop()).toMatchObject({ code: 0, stderr: '' })
    const share = async () => {
      const { signals } = await api<{ signals: { name: string; count: number; value: number | null }[] }>(
        'GET',
        '/v1/models/eye-2/2/signals',
      )
      const found = signals.find(({ name }) => name === 'share-red')
      return found !== undefined && found.value !== null && found.value > 0.2 && found.value < 0.5
    }
    await expect.poll(share, { timeout: 120_000 }).toBe(true)
  }, 300_000)
})

describe('visual wake words of MLPerf Tiny', () => {
  it.skipIf(!hasReferenceData)(
    'packs by init and pack alone and sees what the reference kernels do (skipped: no KINGLET_DATA)',
    async () => {
      const file = join(REFERENCE_DATA, 'models/mlperf-tiny-vww-int8.tflite')
      const [, ...runs] = readFileSync(join(REFERENCE_DATA, 'int8-reference/models/mlperf-tiny-vww-int8.jsonl'), 'utf8')
        .trim()
        .split('\n')
      await said('model', 'init', file, '-o', path('vww.yaml'))
      await said('model', 'pack', path('vww.yaml'), '-o', path('vww.kinglet'))
      mkdirSync(path('vww'))
      const expected = runs.map((line, at) => {
        const {
          in: [picture],
          out: [made],
        } = JSON.parse(line) as { in: [string]; out: [string] }
        // The network reads a byte less 128.
        writeFileSync(
          path('vww', `${at}.raw`),
          Buffer.from(picture, 'hex').map((byte) => byte ^ 0x80),
        )
        const posteriors = Array.from(new Int8Array(Buffer.from(made, 'hex')), (value) => (value + 128) / 256)
        const best = posteriors.indexOf(Math.max(...posteriors))
        return [path('vww', `${at}.raw`), `label-${best}`, Number(posteriors[best]!.toFixed(3))]
      })
      const lines = json(await said('device', 'run', '--json', '--bundle', path('vww.kinglet'), '--input', path('vww')))
      const readings = lines.filter(({ type }) => type === 'reading')
      expect(readings.map(({ file, label, posterior }) => [file, label, posterior])).toEqual(expected)
    },
  )
})
