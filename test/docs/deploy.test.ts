import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { freePort } from '../../cli/story/free-port.ts'
import { LIMITS } from '../../contract/limits.ts'
import { Running } from '../runtime/node/cli-process.ts'
import { until } from '../runtime/node/gateway-harness.ts'
import { textOf } from './documents.ts'

const text = textOf('docs/deploy.md')
const dir = mkdtempSync(join(tmpdir(), 'kinglet-deploy-'))
const path = (name: string) => join(dir, name)
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const blocks = (language: string): readonly string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, block]) => block!)
const found = (...paths: readonly string[]) => paths.find((each) => existsSync(each))
const nginx = found('/usr/sbin/nginx', '/usr/bin/nginx')
const systemdAnalyze = found('/usr/bin/systemd-analyze')

describe('the configuration of nginx', () => {
  const [config = ''] = blocks('nginx')

  it('lets through what the cloud takes, and keeps no event back', () => {
    const megabytes = Number(/client_max_body_size (\d+)m;/.exec(config)?.[1])
    expect(megabytes * 2 ** 20).toBeGreaterThanOrEqual(LIMITS.ingestBytes)
    expect(config).toContain('proxy_buffering off;')
  })

  /** `.ci/run` installs it. */
  it.runIf(nginx !== undefined)(
    'serves a cloud over TLS: pages, a bundle of the largest size both ways, live events',
    async () => {
      const [port, cloudPort] = [await freePort(), await freePort()]
      execFileSync(
        'openssl',
        [
          ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj'],
          ...['/CN=cloud.example', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', path('k'), '-out', path('c')],
        ],
        { stdio: 'pipe' },
      )
      const site = config
        .replace('listen 443 ssl', `listen 127.0.0.1:${port} ssl`)
        .replace('/etc/kinglet/cloud.crt', path('c'))
        .replace('/etc/kinglet/cloud.key', path('k'))
        .replace('127.0.0.1:8080', `127.0.0.1:${cloudPort}`)
      mkdirSync(path('temp'))
      const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
        (each) => `${each}_temp_path ${path('temp')};`,
      )
      writeFileSync(
        path('nginx.conf'),
        `daemon off; pid ${path('pid')}; error_log ${path('log')};\nevents {}\nhttp { access_log off; ${temp.join(' ')}\n${site}}\n`,
      )
      const cloud = new Running(['cloud', 'run', '--data', path('cloud'), '--port', String(cloudPort)])
      const proxy = spawn(nginx!, ['-p', dir, '-c', path('nginx.conf')], { stdio: 'ignore' })
      const ask = (route: string, method = 'GET', body?: Uint8Array) =>
        new Promise<{ status: number | undefined; headers: NodeJS.Dict<string | string[]>; body: Buffer }>(
          (resolve, reject) => {
            const authorization = `Bearer ${readFileSync(path('cloud/operator.token'), 'utf8').trim()}`
            const options = { method, ca: readFileSync(path('c')), agent: false as const, headers: { authorization } }
            const sent = request(`https://127.0.0.1:${port}${route}`, options, (response) => {
              const { statusCode: status, headers } = response
              const chunks: Buffer[] = []
              response.on('data', (chunk: Buffer) => {
                chunks.push(chunk)
                // An event that is kept back would never come alone.
                if (!route.endsWith('/stream')) return
                sent.destroy()
                resolve({ status, headers, body: chunk })
              })
              response.on('end', () => resolve({ status, headers, body: Buffer.concat(chunks) }))
            })
            sent.on('error', reject).end(body)
          },
        )
      try {
        await until('both', async () => (await ask('/healthz').catch(() => undefined))?.status === 200, 40_000)
        expect((await ask('/')).headers['strict-transport-security']).toMatch(/^max-age=\d{8}$/)
        const bundle = new Uint8Array(LIMITS.bundleBytes).fill(7)
        const { createHash } = await import('node:crypto')
        const route = `/v1/artifacts/${createHash('sha256').update(bundle).digest('hex')}`
        expect((await ask(route, 'PUT', bundle)).status).toBe(201)
        expect((await ask(route)).body.length).toBe(bundle.length)
        expect((await ask('/v1/stream')).body.toString()).toContain('event: hello')
      } finally {
        proxy.kill('SIGTERM')
        await cloud.stop()
      }
    },
    90_000,
  )
})

describe('the units', () => {
  const units = blocks('ini')

  it('run commands that there are, as a user of their own, and say how they read their files again', () => {
    expect(units.map((unit) => /kinglet (cloud|gateway) run/.exec(unit)?.[1])).toEqual(['cloud', 'gateway'])
    for (const unit of units) {
      expect(unit).toMatch(/^User=kinglet$/m)
      expect(unit).toMatch(/^ExecReload=\/bin\/kill -HUP \$MAINPID$/m)
    }
  })

  it.runIf(systemdAnalyze !== undefined)('are read by systemd without a word', () => {
    for (const [i, unit] of units.entries()) {
      const file = path(`kinglet-${i}.service`)
      writeFileSync(file, unit.replaceAll('/usr/local/bin/kinglet', process.execPath).replace('User=kinglet\n', ''))
      const said = execFileSync(systemdAnalyze!, ['verify', '--man=no', file], { encoding: 'utf8', stdio: 'pipe' })
      expect(said).toBe('')
    }
  })
})
