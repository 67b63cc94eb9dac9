import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threeDigits } from '../../contract/three-digits.ts'
import type { CloudApp } from '../api/environment.ts'

/** Beside this file, in the sources and in dist/. */
const STATIC = fileURLToPath(new URL('./static/', import.meta.url))

const SCRIPT = 'text/javascript; charset=utf-8'

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

/** The status page: three files, uPlot and a formatter, served as they are. Public; what it shows it reads from the API with a token. */
export function consoleRoutes(app: CloudApp): void {
  const uplot = join(dirname(createRequire(import.meta.url).resolve('uplot/package.json')), 'dist')
  const files = {
    '/': [join(STATIC, 'index.html'), 'text/html; charset=utf-8'],
    '/console/console.css': [join(STATIC, 'console.css'), 'text/css; charset=utf-8'],
    '/console/console.js': [join(STATIC, 'console.js'), SCRIPT],
    '/console/uplot.js': [join(uplot, 'uPlot.iife.min.js'), SCRIPT],
    '/console/uplot.css': [join(uplot, 'uPlot.min.css'), 'text/css; charset=utf-8'],
  } as const
  const bodies = Object.entries(files).map(([path, [file, type]]) => [path, readFileSync(file), type] as const)
  // The function that commands print figures with, so that the page cannot round otherwise.
  const formatter = Buffer.from(`globalThis.threeDigits = ${threeDigits}\n`)
  for (const [path, body, type] of [...bodies, ['/console/three-digits.js', formatter, SCRIPT] as const]) {
    app.get(path, () => {
      const headers = { 'content-type': type, 'content-security-policy': POLICY, 'cache-control': 'no-cache' }
      return new Response(body, { headers })
    })
  }
}
