import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { launchChromium } from './chromium.ts'

const PAGE = '<!doctype html><title>flash</title>'
let server: Server
let browser: Browser

beforeAll(async () => {
  const bundled = await build({
    entryPoints: [join(import.meta.dirname, 'flash-suite-worker.ts')],
    ...{ bundle: true, write: false, format: 'iife', target: 'es2022', platform: 'browser' },
    alias: { vitest: join(import.meta.dirname, 'vitest-in-worker.ts') },
  })
  const [worker] = bundled.outputFiles
  server = createServer((request, response) => {
    const isWorker = request.url === '/worker.js'
    response.setHeader('content-type', isWorker ? 'text/javascript' : 'text/html').end(isWorker ? worker!.text : PAGE)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  browser = await launchChromium()
})
afterAll(async () => {
  await browser?.close()
  await new Promise((resolve) => server?.close(resolve))
})

it('a flash in the origin-private file system of a real browser does what every flash must', async () => {
  const page = await browser.newPage()
  await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  const results = await page.evaluate<[string, string][]>(`new Promise((resolve) => {
    const worker = new Worker('/worker.js')
    worker.onmessage = ({ data }) => resolve(data)
    worker.onerror = ({ message }) => resolve([['the worker', message]])
  })`)
  expect(results.filter(([, wrong]) => wrong !== '')).toEqual([])
  // As many as the suite has.
  expect(results.length).toBe(14)
})
