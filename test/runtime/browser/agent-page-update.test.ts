import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { encodeWav } from '../../../model/audio/wav.ts'
import { kinglet, Running, zooBundle } from '../node/cli-process.ts'
import { AgentPage, servedPage } from './agent-page.ts'
import { launchChromium } from './chromium.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-agent-update-'))
const path = (...parts: string[]) => join(dir, ...parts)
const processes: Running[] = []
let operator: readonly string[] = []
let wsPort = 0

async function healthy(url: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if ((await fetch(url).catch(() => undefined))?.ok) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${url} does not answer`)
}
/** A command that has to succeed. */
async function done(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await kinglet(...args)
  expect(code, `${args.join(' ')}\n${stderr}`).toBe(0)
  return stdout
}
const initKeys = (name: string) =>
  done(
    ...['keys', 'init', '--online-key', path('keys.json'), '--root-keys', '1', '--root-threshold', '1'],
    ...['--keys', path(name, 'keys'), '--repo', path(name, 'repo'), '--passphrase-file', path('passphrase')],
  )
const rootOf = (name: string) => path(name, 'repo/metadata/1.root.json')

async function claimed(device: string): Promise<string> {
  const file = path(`${device}.claim`)
  await done(
    'device',
    'claim',
    '--site',
    'lab',
    '--board',
    'NUCLEO-U575ZI',
    '--device',
    device,
    '-o',
    file,
    ...operator,
  )
  return file
}

/** Damages every block of a download in what a gateway sends, however the network cuts and joins it. */
class BlockDamage {
  /** bytes of the topic's word that were seen */
  #matched = 0
  /** bytes until the one that is damaged; -1: none is due */
  #due = -1

  /** @returns how many blocks it damaged in these bytes */
  apply(data: Buffer): number {
    const word = Buffer.from('/block/')
    let damaged = 0
    for (let i = 0; i < data.length; i++) {
      if (this.#due === 0) {
        data[i]! ^= 0x10
        damaged++
      }
      if (this.#due >= 0) this.#due--
      this.#matched = data[i] === word[this.#matched] ? this.#matched + 1 : data[i] === word[0] ? 1 : 0
      if (this.#matched < word.length) continue
      this.#matched = 0
      // Past the artifact's name and the head of the message, in the data.
      this.#due = 172
    }
    return damaged
  }
}

/** The way to the gateway, on which somebody may damage blocks of downloads. */
class Wire {
  damages = false
  damaged = 0
  readonly #sockets = new Set<Socket>()
  readonly #server: Server = createServer((device) => {
    const gateway = connect(wsPort, '127.0.0.1')
    const damage = new BlockDamage()
    for (const socket of [device, gateway]) {
      this.#sockets.add(socket)
      socket.on('error', () => socket.destroy()).on('close', () => this.#sockets.delete(socket))
    }
    device.pipe(gateway)
    gateway.on('data', (data) => {
      if (this.damages) this.damaged += damage.apply(data)
      device.write(data)
    })
    gateway.on('end', () => device.end())
    device.on('close', () => gateway.destroy())
  })

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

describe('the agent in a page takes updates', () => {
  const wire = new Wire()
  let browser: Browser
  let gateway = ''

  beforeAll(async () => {
    const [port, mqttPort, httpPort] = [await freePort(), await freePort(), await freePort()]
    wsPort = await freePort()
    const cloudUrl = `http://127.0.0.1:${port}`
    operator = ['--cloud', cloudUrl, '--token-file', path('cloud/operator.token')]
    processes.push(new Running(['cloud', 'run', '--data', path('cloud'), '--port', String(port)]))
    await healthy(`${cloudUrl}/healthz`)
    await done('gateway', 'claim', 'gw-lab', '--site', 'lab', '-o', path('gateway.claim'), ...operator)
    processes.push(
      new Running([
        ...['gateway', 'run', '--data', path('gateway'), '--cloud', cloudUrl, '--claim', path('gateway.claim')],
        ...['--mqtt-port', String(mqttPort), '--ws-port', String(wsPort), '--http-port', String(httpPort)],
        ...['--uplink-every-ms', '50'],
      ]),
    )
    await healthy(`http://127.0.0.1:${httpPort}/healthz`)
    writeFileSync(path('passphrase'), 'correct horse battery\n', { mode: 0o600 })
    writeFileSync(path('keys.json'), await (await fetch(`${cloudUrl}/v1/keys`)).text())
    await initKeys('ours')
    await initKeys('theirs')
    const offline = ['--keys', path('ours/keys'), '--repo', path('ours/repo'), '--passphrase-file', path('passphrase')]
    for (const name of ['kws-1', 'kws-2']) await done('release', 'add', zooBundle(name), ...offline, ...operator)
    for (const to of ['staging', 'production']) {
      await done('release', 'promote', 'kws-1', '--to', to, '--reason', 'first', ...operator)
    }
    await done('release', 'promote', 'kws-2', '--to', 'staging', '--reason', 'next', ...operator)
    browser = await launchChromium()
    gateway = await wire.open()
  }, 900_000)
  afterAll(async () => {
    await browser?.close()
    wire.close()
    for (const { child } of processes) child.kill('SIGKILL')
    await Promise.all(processes.map(({ ended }) => ended))
    rmSync(dir, { recursive: true, force: true })
  })

  async function opened(device: string, ...more: readonly string[]): Promise<AgentPage> {
    const page = await servedPage('--gateway', gateway, '--bundle', zooBundle('kws-1'), ...more)
    processes.push(page.running)
    const agent = await AgentPage.open(browser, page.url, { engine: 'tiny' })
    await agent.until('slots', /slot 0kws-1runs, confirmed/)
    await agent.page.locator('#claim').setInputFiles(await claimed(device))
    await agent.until('who', new RegExp(`^${device} at lab$`))
    await agent.until('link', /connected to ws:/)
    return agent
  }
  const retarget = (device: string) =>
    done('device', 'retarget', device, '--model', 'kws-2', '--reason', 'for the test', ...operator)
  /** Something to hear while a trial goes on, at the speed of sound. */
  const murmur = async (agent: AgentPage) => {
    const sound = Float32Array.from({ length: 16_000 * 240 }, (_, i) => 0.01 * Math.sin(i * i * 1e-6))
    await agent.page.locator('#file').setInputFiles({
      ...{ name: 'murmur.wav', mimeType: 'audio/wav', buffer: Buffer.from(encodeWav(sound, 16_000)) },
    })
    await agent.until('stop', /Stop/)
  }

  it('enrols by a claim; refuses what is damaged on the way; downloads, tries, confirms; and runs it after a reload', async () => {
    const agent = await opened('wren-1', '--trust', rootOf('ours'))
    await murmur(agent)
    wire.damages = true
    await retarget('wren-1')
    await agent.until('events', /install-delayed.*damaged|block-damaged/)
    expect(wire.damaged).toBeGreaterThan(7)
    await agent.until('slots', /slot 0kws-1runs, confirmed/)
    expect(await agent.text('slots')).not.toMatch(/kws-2/)
    wire.damages = false
    // The next attempt comes by itself in a minute, or at the next boot.
    await agent.page.locator('#power-cut').click()
    await agent.until('slots', /slot 1kws-2runs, on trial/, 300_000)
    await agent.until('events', /trial-started/)
    await murmur(agent)
    await agent.until('slots', /slot 1kws-2runs, confirmed/, 300_000)
    await agent.until('events', /install-confirmed/)
    const shown = JSON.parse(await done('device', 'show', 'wren-1', '--json', ...operator)) as Record<string, unknown>
    expect(shown).toMatchObject({ name: 'wren-1' })
    await agent.page.reload()
    await agent.until('slots', /slot 0kws-1whole, kept to go back to.*slot 1kws-2runs, confirmed/)
    await agent.until('link', /connected to ws:/)
    expect(await agent.text('model')).toBe('kws-2')
    expect(agent.errors).toEqual([])
    await agent.page.context().close()
  }, 900_000)

  it('which is cut in its trial goes back to the model of before', async () => {
    const agent = await opened('wren-2', '--trust', rootOf('ours'))
    await retarget('wren-2')
    // Nothing is heard, so nothing confirms it.
    await agent.until('slots', /slot 1kws-2runs, on trial/, 300_000)
    await agent.page.locator('#power-cut').click()
    await agent.until('events', /reverted/)
    await agent.until('slots', /slot 0kws-1runs, confirmed/)
    await agent.page.context().close()
  }, 900_000)

  it('of its own repository only: with the root of another, or with none, nothing is installed', async () => {
    for (const [device, trust, told] of [
      // The assignment is by the cloud's key, which both roots name; the release is not in the repository that this root is of.
      ['wren-3', ['--trust', rootOf('theirs')], /install-delayed/],
      // One assignment at the first connection, the other by hand.
      ['wren-4', [], /install-refused unknown-key.*install-refused unknown-key/s],
    ] as const) {
      const agent = await opened(device, ...trust)
      await retarget(device)
      await agent.until('events', told)
      expect(await agent.text('slots')).toMatch(/kws-1\s+runs, confirmed/)
      expect(await agent.text('slots')).not.toMatch(/kws-2/)
      await agent.page.context().close()
    }
  }, 900_000)

  it('and of a claim that is none says so', async () => {
    const page = await servedPage('--gateway', gateway)
    processes.push(page.running)
    const agent = await AgentPage.open(browser, page.url, { engine: 'tiny' })
    await agent.until('model', /kws-2/)
    const send = (buffer: Buffer) =>
      agent.page.locator('#claim').setInputFiles({ name: 'x.claim', mimeType: 'application/json', buffer })
    await send(Buffer.from('{"v":1}'))
    await agent.until('trouble', /this is no claim; an operator makes one/)
    await send(Buffer.from('{'))
    await agent.until('trouble', /x\.claim is no claim/)
    // Used by another flash before.
    await send(readFileSync(path('wren-1.claim')))
    await agent.until('trouble', /not enrolled: claim-used/)
    await agent.page.context().close()
  }, 900_000)
})
