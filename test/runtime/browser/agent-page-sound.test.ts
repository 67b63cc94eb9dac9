import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeWav, parseWav } from '../../../model/audio/wav.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../fixtures/reference-data.ts'
import { kinglet, ROOT, type Running } from '../node/cli-process.ts'
import { AgentPage, servedPage } from './agent-page.ts'
import { launchChromium } from './chromium.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-agent-page-'))

/** Words of the bank, two seconds apart. */
function words(...names: readonly string[]): Float32Array {
  const samples = new Float32Array(16_000 * (2 * names.length + 1))
  names.forEach((name, i) => {
    const wav = parseWav(readFileSync(join(ROOT, 'zoo/bank/keyword', `${name}.wav`)))
    if (!wav.ok) throw new Error(wav.error.detail)
    samples.set(wav.value.samples, 16_000 * (1 + 2 * i))
  })
  return samples
}
/** Labels of the wakes that the agent counts under Node. */
async function wakesUnderNode(file: string): Promise<unknown[]> {
  const ended = await kinglet('device', 'run', '--audio', file, '--json')
  expect(ended.code, ended.stderr).toBe(0)
  const lines = ended.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  return lines.filter(({ type }) => type === 'wake').map(({ label }) => label)
}

describe('the agent in a page hears', () => {
  const spoken = words('yes/yes-6', 'go/go-1', 'stop/stop-2', 'left/left-3', 'no/no-1')
  const file = join(dir, 'words.wav')
  let served: { readonly running: Running; readonly url: string }
  let browser: Browser

  beforeAll(async () => {
    writeFileSync(file, encodeWav(spoken, 16_000))
    // The fake microphone plays its file over and over.
    writeFileSync(join(dir, 'yes.wav'), encodeWav(words('yes/yes-6'), 16_000))
    served = await servedPage()
    browser = await launchChromium(
      ...['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
      `--use-file-for-fake-audio-capture=${join(dir, 'yes.wav')}`,
    )
  })
  afterAll(async () => {
    await browser?.close()
    await served?.running.stop()
    rmSync(dir, { recursive: true, force: true })
  })

  it.each(['onnxruntime', 'tiny'])(
    'a file with %s, exactly as under Node',
    async (engine) => {
      const agent = await AgentPage.open(browser, served.url, { engine })
      await agent.until('engine', engine === 'tiny' ? /^tiny 1$/ : /^onnxruntime-web 1\.\d+\.\d+, tiny 1$/)
      await agent.page.locator('#fast').check()
      const wakes = await wakesUnderNode(file)
      expect(wakes.length).toBeGreaterThanOrEqual(3)
      expect(await agent.hear('words.wav', readFileSync(file))).toEqual(wakes)
      // Counted by the agent, drawn, and listed.
      await agent.until('wakes', new RegExp(`^${wakes.length}$`))
      expect(await agent.page.locator('#events li.wake').count()).toBe(wakes.length)
      expect(agent.errors).toEqual([])
      await agent.page.context().close()
    },
    600_000,
  )

  it.skipIf(!hasReferenceData)(
    'recordings of people, exactly as under Node (skipped without the reference data)',
    async () => {
      const agent = await AgentPage.open(browser, served.url, { engine: 'tiny' })
      await agent.until('model', /kws-2/)
      await agent.page.locator('#fast').check()
      const folder = join(REFERENCE_DATA, 'speech')
      const files = ['yes', 'go', 'stop'].flatMap((word) =>
        existsSync(join(folder, word))
          ? readdirSync(join(folder, word))
              .slice(0, 3)
              .map((name) => join(folder, word, name))
          : [],
      )
      for (const path of files.filter((name) => name.endsWith('.wav'))) {
        const heard = await agent.hear(`${path.split('/').at(-1)}`, readFileSync(path))
        expect([path, heard]).toEqual([path, await wakesUnderNode(path)])
      }
      await agent.page.context().close()
    },
    600_000,
  )

  it('a file at another rate, at the speed of sound; another in the middle of it takes its place', async () => {
    const agent = await AgentPage.open(browser, served.url, { engine: 'tiny' })
    await agent.until('model', /kws-2/)
    const quick = Float32Array.from({ length: spoken.length * 3 }, (_, i) => spoken[Math.floor(i / 3)]!)
    await agent.page.locator('#file').setInputFiles({
      ...{ name: 'long.wav', mimeType: 'audio/wav', buffer: Buffer.from(encodeWav(quick, 48_000)) },
    })
    await agent.until('last-wake', /^yes/)
    expect(await agent.hear('silence.wav', Buffer.from(encodeWav(new Float32Array(8_000), 8_000)))).toEqual([])
    expect(await agent.text('played')).not.toMatch(/long/)
    await expect.poll(() => agent.page.locator('#stop').isDisabled()).toBe(true)
    await agent.page.context().close()
  }, 600_000)

  it('what the browser decodes, and says of what nobody does why', async () => {
    const agent = await AgentPage.open(browser, served.url, { engine: 'tiny' })
    await agent.until('model', /kws-2/)
    await agent.page.locator('#fast').check()
    const send = (name: string, buffer: Buffer) =>
      agent.page.locator('#file').setInputFiles({ name, mimeType: 'audio/flac', buffer })
    await send('broken.flac', Buffer.concat([Buffer.from('fLaC'), Buffer.alloc(400, 1)]))
    await agent.until(
      'trouble',
      /broken\.flac is no WAV \(wav-other-format: .*FLAC.*nothing that this browser decodes/s,
    )
    await send('torn.wav', readFileSync(file).subarray(0, 30))
    await agent.until('trouble', /torn\.wav: wav-/)
    // The page goes on.
    expect(await agent.hear('words.wav', readFileSync(file))).toHaveLength((await wakesUnderNode(file)).length)
    expect(await agent.text('trouble').catch(() => '')).toBe('')
    await agent.page.context().close()
  }, 600_000)

  it('the microphone, resampled from what the machine records at', async () => {
    const agent = await AgentPage.open(browser, served.url, { engine: 'tiny' })
    await agent.until('model', /kws-2/)
    await agent.page.locator('#microphone').click()
    await agent.until('last-wake', /^yes, 0\.\d+/)
    await agent.page.locator('#microphone').click()
    await agent.until('microphone', /^Microphone$/)
    expect(agent.errors).toEqual([])
    await agent.page.context().close()
  }, 600_000)

  it('a scene that its server renders; a power cut in the middle boots it from flash again', async () => {
    const agent = await AgentPage.open(browser, served.url, { engine: 'tiny' })
    await agent.until('boot', /^boot 1,/)
    await agent.page.locator('#fast').check()
    await agent.page.locator('#play-scene').click()
    // The first take of a scene has a keyword in it.
    await agent.until('played', /^office, 60\.0 s: \d+ wakes?: \w/)
    await agent.page.locator('#power-cut').click()
    await agent.until('boot', /^boot 2,/)
    await agent.page.reload()
    await agent.until('boot', /^boot 3,/)
    await agent.until('slots', /kws-2runs, confirmed/)
    await agent.page.context().close()
  }, 600_000)
})
