import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../../cli/story/free-port.ts'
import { signatureOf } from '../../../cloud/alert-webhook.ts'
import { expectRefusal, kinglet, Running } from './cli-process.ts'
import { until } from './gateway-harness.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-alerts-'))
const path = (name: string) => join(dir, name)
const secret = Buffer.alloc(32, 9)
const heard: { type: string; data: { id: number; severity: string; words: string } }[] = []
/** A pager: takes what is signed. */
const receiver = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk) => (body += String(chunk)))
  request.on('end', () => {
    const { 'webhook-id': id, 'webhook-timestamp': at, 'webhook-signature': signature } = request.headers
    const isSigned = signature === signatureOf(secret, String(id), Number(at), body)
    if (isSigned) heard.push(JSON.parse(body) as (typeof heard)[number])
    response.writeHead(isSigned ? 200 : 401).end()
  })
})
let cloud: Running
let operator: readonly string[] = []

beforeAll(async () => {
  writeFileSync(path('hook.secret'), `whsec_${secret.toString('base64')}\n`, { mode: 0o600 })
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const hook = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/kinglet`
  const port = await freePort()
  const told = ['--alert-webhook', hook, '--alert-webhook-secret', path('hook.secret')]
  cloud = new Running(['cloud', 'run', '--data', path('cloud'), '--port', String(port), ...told])
  const url = `http://127.0.0.1:${port}`
  await until('the cloud runs', async () => (await fetch(`${url}/healthz`).catch(() => undefined))?.ok === true)
  operator = ['--cloud', url, '--token-file', path('cloud/operator.token')]
})
afterAll(async () => {
  await cloud.stop('SIGKILL')
  receiver.close()
  rmSync(dir, { recursive: true, force: true })
})

const run = async (...words: readonly string[]): Promise<string> => {
  const { code, stdout, stderr } = await kinglet(...words, ...operator)
  expect(code, stderr).toBe(0)
  return stdout
}

describe('kinglet alert', () => {
  it('lists what is open, is told by webhook, is taken on with a reason, and is over', async () => {
    expect(await run('alert', 'list')).toBe('')
    await run('token', 'make', '--role', 'gateway', '--subject', 'gw-lab', '--site', 'lab', '-o', path('gw.token'))
    await run('gateway', 'quarantine', 'gw-lab', '--reason', 'it lies')
    const line =
      /^ +(\d+) {2}P1 {2}gateway-quarantined {2}since \S+Z {2}open {2}In quarantine\. Nothing that gateway gw-lab says/
    const [, id = ''] = line.exec(await run('alert', 'list')) ?? []
    await until('it was told', () => heard.some(({ type }) => type === 'alert.raised'))
    expect(heard.find(({ type }) => type === 'alert.raised')?.data).toMatchObject({ severity: 'P1' })
    expect(heard.some(({ type }) => type === 'heartbeat')).toBe(true)

    expect(await run('alert', 'ack', id, '--reason', 'on my way')).toMatch(/ {2}\(operator: on my way\)\n$/)
    // Who was first stays.
    expect(await run('alert', 'ack', id, '--reason', 'me too')).toMatch(/ {2}\(operator: on my way\)\n$/)
    expect(await run('audit', 'list', '--action', 'alert.ack')).toMatch(/alert\.acknowledged {2}\d+ {2}.*"on my way"/)

    await run('gateway', 'release', 'gw-lab', '--reason', 'mended')
    await until('its end was told', () => heard.some(({ type }) => type === 'alert.resolved'))
    expect(await run('alert', 'list')).toBe('')
    expect(await run('alert', 'list', '--all')).toMatch(/ over \S+Z .*\(operator: on my way\)\n$/)
    await run('gateway', 'quarantine', 'gw-lab', '--reason', 'again')
    const [, next = ''] = line.exec(await run('alert', 'list')) ?? []
    await run('gateway', 'release', 'gw-lab', '--reason', 'mended again')
    expectRefusal(await kinglet('alert', 'ack', next, '--reason', 'late', ...operator), 1, /alert \d+ is over/)
  })

  it('silences alerts for some hours, before or after they are raised, and counts who takes them on', async () => {
    await run('gateway', 'quarantine', 'gw-lab', '--reason', 'a third time')
    const [, id = ''] = /^ +(\d+)/.exec(await run('alert', 'list')) ?? []
    const isTold = (alert: string) =>
      heard.some(({ type, data }) => type === 'alert.raised' && data.id === Number(alert))
    await until('it was told', () => isTold(id))
    expect(await run('alert', 'silence', id, '--hours', '2', '--reason', 'we know')).toMatch(
      /^ +1 {2}gateway-quarantined {2}gw-lab {2}the whole fleet {2}until \S+Z {2}\(operator: we know\)\n$/,
    )
    expect(await run('alert', 'list')).toMatch(/ {2}\(silenced until \S+Z by operator: we know\)\n$/)
    await run('gateway', 'release', 'gw-lab', '--reason', 'mended')
    const planned = ['--code', 'gateway-quarantined', '--hours', '1', '--reason', 'an exercise']
    expect(await run('alert', 'silence', ...planned)).toMatch(/^ +2 {2}gateway-quarantined {2}until /)
    expect((await run('alert', 'silences')).split('\n').length).toBe(3)
    expect(await run('alert', 'unsilence', '1')).toMatch(/^ +1 /)
    await run('gateway', 'quarantine', 'gw-lab', '--reason', 'a fourth time')
    expect(await run('alert', 'list')).toMatch(/ {2}\(silenced until \S+Z by operator: an exercise\)\n$/)
    const [, last = ''] = /^ +(\d+)/.exec(await run('alert', 'list')) ?? []
    expect(isTold(last)).toBe(false)
    expect(await run('alert', 'unsilence', '2')).toMatch(/^ +2 /)
    await until('it is told now', () => isTold(last))
    expect(await run('alert', 'silences')).toBe('')
    expect(await run('audit', 'list', '--action', 'alert.silence')).toMatch(
      /alert\.silence-ended[\s\S]*alert\.silenced/,
    )
    expect(await run('alert', 'figures')).toMatch(
      /^gateway-quarantined {2}4 raised, 1 open, 1 taken on \(25 %\), half of them within 0\.0 h\n$/,
    )
    await run('gateway', 'release', 'gw-lab', '--reason', 'mended')
  })

  it('refuses what is no alert, and who may only read', async () => {
    const reason = ['--hours', '1', '--reason', 'x', ...operator]
    expectRefusal(await kinglet('alert', 'silence', ...reason), 2, /an ID of "alert list", or --code/)
    expectRefusal(await kinglet('alert', 'silence', '1', '--code', 'drift', ...reason), 2, /one of the two/)
    expectRefusal(await kinglet('alert', 'silence', '1', '--metric', 'm', ...reason), 2, /go with --code/)
    expectRefusal(await kinglet('alert', 'silence', '999', ...reason), 1, /there is no alert 999/)
    expectRefusal(await kinglet('alert', 'silence', '--code', 'drifting', ...reason), 1, /no alert has the code "drift/)
    const tooLong = ['--hours', '721', '--reason', 'x', ...operator]
    expectRefusal(await kinglet('alert', 'silence', '1', ...tooLong), 2, /a number from 0\.01 to 720/)
    expectRefusal(await kinglet('alert', 'unsilence', '99', ...operator), 1, /no silence 99/)
    expectRefusal(await kinglet('alert', 'ack', 'all', '--reason', 'x', ...operator), 2, /"all" is no id/)
    expectRefusal(await kinglet('alert', 'ack', '999', '--reason', 'x', ...operator), 1, /no alert 999/)
    expectRefusal(await kinglet('alert', 'ack', '1', ...operator), 2, /required option '--reason <TEXT>' not specified/)
    await run('token', 'make', '--role', 'viewer', '--subject', 'analyst', '-o', path('viewer.token'))
    const viewer = [...operator.slice(0, 2), '--token-file', path('viewer.token')]
    expectRefusal(await kinglet('alert', 'ack', '1', '--reason', 'x', ...viewer), 1, /needs operator/)
  })
})

describe('kinglet cloud run --alert-webhook', () => {
  it('in the clear is refused before anything starts', async () => {
    const told = ['--alert-webhook', 'http://example.org/', '--alert-webhook-secret', path('hook.secret')]
    const ended = await kinglet('cloud', 'run', '--data', path('never'), '--port', '0', ...told)
    expectRefusal(ended, 2, /alerts for example\.org would cross the network in the clear/)
    expect(existsSync(path('never'))).toBe(false)
  })
})
