import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { systemClock } from '../../../../cli/clock-system.ts'
import { assertFreePort, freePort } from '../../../../cli/story/free-port.ts'
import { Service, ServiceFailure } from '../../../../cli/story/supervisor.ts'

const dir = mkdtempSync(join(tmpdir(), 'kinglet-supervisor-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const serviceOf = (name: string, source: string): Service => {
  const script = join(dir, `${name}.mjs`)
  writeFileSync(script, source)
  const spec = { name, args: [], logFile: join(dir, `${name}.log`) }
  return new Service(spec, script, systemClock, () => undefined)
}

it('a service that ends before it answers is not started again: its last words are told and its log is there', async () => {
  const service = serviceOf(
    'broken',
    "for (let i = 0; i < 100; i++) console.log('line', i); console.error('kinglet: the disk is full'); process.exitCode = 3",
  )
  const failure = await service.untilHealthy('http://127.0.0.1:1/healthz', 30_000).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(ServiceFailure)
  const { message } = failure as ServiceFailure
  expect(message).toMatch(/^the broken could not start \(exit 3\)/)
  expect(message).toMatch(/kinglet: the disk is full/)
  expect(message).toContain(join(dir, 'broken.log'))
  expect(message.split('\n').length).toBeLessThan(12)
  expect(service.restarts).toBe(0)
  await service.stop()
  expect(readFileSync(join(dir, 'broken.log'), 'utf8')).toMatch(/^line 0\n(.*\n)*kinglet: the disk is full\n$/)
})

it('one that has answered is started again when it dies', async () => {
  const port = await freePort()
  const service = serviceOf(
    'steady',
    `import { createServer } from 'node:http'; createServer((_, response) => response.end('ok')).listen(${port}, '127.0.0.1')`,
  )
  await service.untilHealthy(`http://127.0.0.1:${port}/`, 30_000)
  service.kill()
  await expect.poll(() => service.restarts, { timeout: 120_000 }).toBe(1)
  await expect
    .poll(async () => (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined))?.ok, { timeout: 120_000 })
    .toBe(true)
  await service.stop()
})

it('a port that somebody listens at is refused in a line', async () => {
  const port = await freePort()
  await assertFreePort(port)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  await expect(assertFreePort(port)).rejects.toThrow(`port ${port}: another process has that port`)
  server.close()
})
