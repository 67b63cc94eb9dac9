import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { expectRefusal, kinglet, Running } from './cli-process.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-story-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** The whole story is told by `npm start`; what is here is how it begins and how it is broken off. */
describe('kinglet story', () => {
  it('refuses what it cannot tell before it starts anything', async () => {
    expectRefusal(await kinglet('story', '--devices', '3'), 2, /--devices/)
    expectRefusal(await kinglet('story', '--scenario', 'loud'), 2, /story, quiet/)
    expectRefusal(await kinglet('story', '--json', join(dir, 'none', 'out.json')), 1, /no such file or folder/)
  })

  it('refuses a folder and a port that it cannot have in a line, and says first what it does', async () => {
    const taken = createServer()
    const port = await new Promise<number>((resolve) => {
      taken.listen(0, '127.0.0.1', () => resolve((taken.address() as AddressInfo).port))
    })
    const refusals: [string[], RegExp][] = [
      [['--data', '/proc/x'], /\nkinglet: \/proc\/x: no folder can be made there\n$/],
      [['--port', String(port)], /\nkinglet: port \d+: another process has that port\n {2}--port names another one/],
    ]
    for (const [args, words] of refusals) {
      const ended = await kinglet('story', ...args)
      expect(ended.code).toBe(1)
      expect(ended.stderr).toMatch(/^ +0 s {2}… preparing the data folder\n/)
      expect(ended.stderr).toMatch(words)
      expect(ended.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(3)
    }
    taken.close()
  })

  it('starts real services and a listening fleet, and leaves nothing behind when it is interrupted', async () => {
    const data = join(dir, 'data')
    const json = join(dir, 'out.json')
    writeFileSync(json, '{"the": "last result"}')
    const story = new Running(['story', '--data', data, '--seed', '5', '--devices', '160', '--json', json, '--force'])
    const said = async (words: RegExp) => {
      await expect.poll(() => story.lines.find((line) => words.test(line)), { timeout: 120_000 }).toBeDefined()
      return words.exec(story.lines.find((line) => words.test(line))!)!
    }
    const url = (await said(/status page (http:\S+)/))[1]!
    await said(/160 devices run kws-1 on 12 sites/)
    const fleet = (await (await fetch(`${url}v1/fleet/counters`)).json()) as { counters: Record<string, number> }
    expect(fleet.counters).toHaveProperty('listeningMs')
    expect((await fetch(`${url}healthz`)).ok).toBe(true)
    story.child.kill('SIGINT')
    const { code } = await story.ended
    expect(code).toBe(130)
    await expect
      .poll(
        () =>
          fetch(`${url}healthz`).then(
            () => 'up',
            () => 'gone',
          ),
        { timeout: 120_000 },
      )
      .toBe('gone')
    // A folder the user named is the user's.
    expect(existsSync(join(data, 'cloud'))).toBe(true)
    // So is the result of the run before: this one has none to take its place.
    expect(readFileSync(json, 'utf8')).toBe('{"the": "last result"}')
    expect(readFileSync(join(data, 'cloud.log'), 'utf8')).not.toMatch(/"level":[56]0/)
  })
})
