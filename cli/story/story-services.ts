import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../contract/clock.ts'
import { CloudApi } from '../cloud-api.ts'
import { writeSecretFile } from '../secret-file.ts'
import { freePort } from './free-port.ts'
import { Service, untilHealthy } from './supervisor.ts'

export interface StoryServices {
  readonly cloud: Service
  readonly gateway: Service
  readonly api: CloudApi
  /** data folder of the cloud */
  readonly cloudDir: string
  readonly mqttUrl: string
  readonly pageUrl: string
  stop(): Promise<void>
}

/** Chosen: both services start within two seconds on an idle machine; CI machines are not idle. */
const START_TIMEOUT_MS = 60_000

/** Starts cloud and gateway as processes of their own, on free ports of loopback, with their data below `dir`.
 *  @param evaluateEveryMs how often rollouts and drift are looked at, ms of the shared clock
 */
export async function startServices(options: {
  readonly dir: string
  readonly script: string
  readonly clockFile: string
  readonly port: number
  readonly real: Clock
  readonly evaluateEveryMs: number
  readonly uplinkEveryMs: number
  readonly driftBaselineHours: number
  readonly onGone: (reason: string) => void
}): Promise<StoryServices> {
  const { dir, script, clockFile, real, onGone } = options
  const cloudDir = join(dir, 'cloud')
  const gatewayDir = join(dir, 'gateway')
  mkdirSync(cloudDir, { recursive: true })
  mkdirSync(gatewayDir, { recursive: true })
  const cloudPort = options.port > 0 ? options.port : await freePort()
  const [mqttPort, wsPort, httpPort] = [await freePort(), await freePort(), await freePort()]
  const pageUrl = `http://127.0.0.1:${cloudPort}/`
  const cloudLog = join(dir, 'cloud.log')
  const cloud = new Service(
    {
      name: 'cloud',
      logFile: cloudLog,
      args: [
        ...['cloud', 'run', '--data', cloudDir, '--port', String(cloudPort), '--clock', clockFile, '--public-reads'],
        // Its clock runs so fast that a busy machine keeps a gateway silent for hours of it.
        ...['--evaluate-every-ms', String(options.evaluateEveryMs), '--gateway-silent-hours', '48'],
        ...['--drift-baseline-hours', String(options.driftBaselineHours)],
      ],
    },
    script,
    real,
    onGone,
  )
  await untilHealthy(`${pageUrl}healthz`, real, START_TIMEOUT_MS, cloudLog)
  const api = new CloudApi(pageUrl, readFileSync(join(cloudDir, 'operator.token'), 'utf8').trim())

  const minted = await api.post<{ token: string }>('/v1/tokens', {
    subject: 'gateway-1',
    role: 'gateway',
    ttlSeconds: 365 * 86_400,
  })
  const tokenFile = join(gatewayDir, 'service.token')
  writeSecretFile(tokenFile, minted.token)
  const gatewayLog = join(dir, 'gateway.log')
  const gateway = new Service(
    {
      name: 'gateway',
      logFile: gatewayLog,
      args: [
        ...[
          'gateway',
          'run',
          '--data',
          gatewayDir,
          '--cloud',
          pageUrl,
          '--token-file',
          tokenFile,
          '--clock',
          clockFile,
        ],
        ...['--mqtt-port', String(mqttPort), '--ws-port', String(wsPort), '--http-port', String(httpPort)],
        ...['--uplink-every-ms', String(options.uplinkEveryMs)],
      ],
    },
    script,
    real,
    onGone,
  )
  await untilHealthy(`http://127.0.0.1:${httpPort}/healthz`, real, START_TIMEOUT_MS, gatewayLog)
  return {
    cloud,
    gateway,
    api,
    cloudDir,
    mqttUrl: `mqtt://127.0.0.1:${mqttPort}`,
    pageUrl,
    async stop() {
      await gateway.stop()
      await cloud.stop()
    },
  }
}
