import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'better-sqlite3'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { expectRefusal, kinglet, Running } from './cli-process.ts'
import { until } from './gateway-harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-audit-'))
const path = (...parts: string[]) => join(dir, ...parts)
let cloud: Running
let operator: readonly string[] = []

/** What somebody does who has the disk. */
function tamper(sql: string): void {
  const db = new Database(path('cloud/cloud.db'))
  db.exec(sql)
  db.close()
}
const verify = (...more: readonly string[]) => kinglet('audit', 'verify', ...operator, ...more)
async function claim(device: string): Promise<void> {
  const words = ['device', 'claim', '--site', 'lab', '--board', 'NUCLEO-U575ZI', '--device', device]
  const { code, stderr } = await kinglet(...words, '-o', path(`${device}.claim`), ...operator)
  expect(code, stderr).toBe(0)
  const removed = await kinglet('token', 'revoke', device, '--reason', `of ${device}`, ...operator)
  expect(removed.code, removed.stderr).toBe(0)
}

beforeAll(async () => {
  const port = await freePort()
  cloud = new Running(['cloud', 'run', '--data', path('cloud'), '--port', String(port)])
  const url = `http://127.0.0.1:${port}`
  await until('the cloud runs', async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.ok === true)
  operator = ['--cloud', url, '--token-file', path('cloud/operator.token')]
  for (const device of ['d-1', 'd-2', 'd-3']) await claim(device)
})
afterAll(async () => {
  await cloud.stop('SIGKILL')
  rmSync(dir, { recursive: true, force: true })
})

describe('kinglet audit', () => {
  it('lists what was done, newest first, by what is asked for', async () => {
    const { stdout } = await kinglet('audit', 'list', ...operator, '--action', 'token.', '--limit', '2')
    const lines = stdout.trimEnd().split('\n')
    expect(lines.map((line) => /operator {2}token\.revoked {2}(d-\d) {2}.*"of d-\d"/.exec(line)?.[1])).toEqual([
      'd-3',
      'd-2',
    ])
    const one = await kinglet('audit', 'list', ...operator, '--subject', 'd-1', '--actor', 'operator', '--json')
    expect(
      one.stdout
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown),
    ).toMatchObject([
      { subject: 'd-1', action: 'token.revoked', hash: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
      { subject: 'd-1', action: 'device.claimed' },
    ])
  })

  it('finds the log whole, keeps its end, and finds that end in it later', async () => {
    const first = await verify('--checkpoint', path('audit.json'))
    expect(first).toMatchObject({ code: 0, stderr: '' })
    expect(first.stdout).toMatch(
      /^the audit log is whole: \d+ entries, from the first on, the last \d+ [0-9a-f]{64}\n$/,
    )
    const { id } = JSON.parse(readFileSync(path('audit.json'), 'utf8')) as { id: number }
    await claim('d-4')
    const second = await verify('--checkpoint', path('audit.json'))
    expect(second.stdout).toMatch(new RegExp(`, and entry ${id} is what it was\\n$`))
    expect(JSON.parse(readFileSync(path('audit.json'), 'utf8'))).not.toMatchObject({ id })
  })

  it('refuses a checkpoint that is none, or of another cloud, and leaves it', async () => {
    for (const [content, cause] of [
      ['{', /not JSON/],
      ['{"id":1}', /no checkpoint of an audit log/],
      [
        JSON.stringify({ cloud: 'http://127.0.0.1:1', id: 1, hash: '0'.repeat(64) }),
        /is of http:\/\/127\.0\.0\.1:1, not of/,
      ],
    ] as const) {
      writeFileSync(path('other.json'), content)
      expectRefusal(await verify('--checkpoint', path('other.json')), 1, cause)
      expect(readFileSync(path('other.json'), 'utf8')).toBe(content)
    }
    expectRefusal(await verify('--checkpoint', path('no/such/audit.json')), 1, /no\/such/)
    expectRefusal(await kinglet('audit', 'list', ...operator, '--limit', '0'), 2, /--limit/)
  })

  it('tells an entry that was changed on the disk, one that was taken out, and an end that was taken off', async () => {
    const before = readFileSync(path('audit.json'), 'utf8')
    const { id } = JSON.parse(before) as { id: number }
    const of = (device: string) => `action = 'token.revoked' AND subject = '${device}'`
    tamper(`UPDATE audit SET actor = 'nobody' WHERE ${of('d-2')}`)
    expectRefusal(await verify('--checkpoint', path('audit.json')), 1, /not whole: entry \d+ is not what its hash says/)
    expect(readFileSync(path('audit.json'), 'utf8')).toBe(before)
    tamper(`UPDATE audit SET actor = 'operator' WHERE ${of('d-2')}`)
    expect((await verify()).code).toBe(0)
    tamper(`CREATE TABLE aside AS SELECT * FROM audit WHERE ${of('d-3')}; DELETE FROM audit WHERE ${of('d-3')}`)
    expectRefusal(await verify(), 1, /not whole: between entries \d+ and \d+ some were taken out/)
    tamper('INSERT INTO audit SELECT * FROM aside; DROP TABLE aside')
    expect((await verify()).code).toBe(0)
    tamper(`DELETE FROM audit WHERE id > ${id - 1}`)
    expect((await verify()).code).toBe(0)
    expectRefusal(
      await verify('--checkpoint', path('audit.json')),
      1,
      new RegExp(`ends at entry ${id - 1}, and had ${id}`),
    )
    // And what is written in its place does not become it.
    await claim('d-5')
    await claim('d-6')
    const other = new RegExp(`entry ${id} is another than it was: the log was written anew`)
    expectRefusal(await verify('--checkpoint', path('audit.json')), 1, other)
    expect(existsSync(path('audit.json'))).toBe(true)
  })
})
