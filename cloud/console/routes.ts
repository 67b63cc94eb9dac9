import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { CloudApp } from '../api/environment.ts'

/** Beside this file, in the sources and in dist/. */
const STATIC = fileURLToPath(new URL('./static/', import.meta.url))

const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

/** The status page: three files and uPlot, served as they are. Public; what it shows it reads from the API with a token. */
export function consoleRoutes(app: CloudApp): void {
  const uplot = join(dirname(createRequire(import.meta.url).resolve('uplot/package.json')), 'dist')
  const files = {
    '/': [join(STATIC, 'index.html'), 'text/html; charset=utf-8'],
    '/console/console.css': [join(STATIC, 'console.css'), 'text/css; charset=utf-8'],
    '/console/console.js': [join(STATIC, 'console.js'), 'text/javascript; charset=utf-8'],
    '/console/uplot.js': [join(uplot, 'uPlot.iife.min.js'), 'text/javascript; charset=utf-8'],
    '/console/uplot.css': [join(uplot, 'uPlot.min.css'), 'text/css; charset=utf-8'],
  } as const
  for (const [path, [file, type]] of Object.entries(files)) {
    const body = readFileSync(file)
    app.get(path, () => {
      const headers = { 'content-type': type, 'content-security-policy': POLICY, 'cache-control': 'no-cache' }
      return new Response(body, { headers })
    })
  }
}
