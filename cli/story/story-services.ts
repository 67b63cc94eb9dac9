import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock } from '../../contract/clock.ts'
import { makeFolder } from '../../platform/make-folder.ts'
import { CloudApi } from '../cloud-api.ts'
import { zooFile } from '../package-root.ts'
import { writeSecretFile } from '../secret-file.ts'
import { assertFreePort, freePort } from './free-port.ts'
import { Service, type ServiceFailure } from './supervisor.ts'

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
  /** of the fleet */
  readonly sites: readonly string[]
  readonly real: Clock
  readonly evaluateEveryMs: number
  readonly uplinkEveryMs: number
  readonly driftBaselineHours: number
  readonly onGone: (failure: ServiceFailure) => void
  /** what is being started */
  readonly doing: (what: string) => void
}): Promise<StoryServices> {
  const { dir, script, clockFile, real, onGone, doing } = options
  const cloudDir = join(dir, 'cloud')
  const gatewayDir = join(dir, 'gateway')
  makeFolder(cloudDir)
  makeFolder(gatewayDir)
  if (options.port > 0) await assertFreePort(options.port)
  const cloudPort = options.port > 0 ? options.port : await freePort()
  const [mqttPort, wsPort, httpPort] = [await freePort(), await freePort(), await freePort()]
  const pageUrl = `http://127.0.0.1:${cloudPort}/`
  const started: Service[] = []
  /** What was started does not outlive a start that fails. */
  const untilReady = async (service: Service, url: string) => {
    started.unshift(service)
    try {
      await service.untilHealthy(url, START_TIMEOUT_MS)
    } catch (cause) {
      for (const each of started) await each.stop()
      throw cause
    }
  }
  doing('starting the cloud')
  const cloud = new Service(
    {
      name: 'cloud',
      logFile: join(dir, 'cloud.log'),
      args: [
        ...['cloud', 'run', '--data', cloudDir, '--port', String(cloudPort), '--clock', clockFile, '--public-reads'],
        // Its clock runs so fast that a busy machine keeps a gateway silent for hours of it.
        ...['--evaluate-every-ms', String(options.evaluateEveryMs), '--gateway-silent-hours', '48'],
        ...['--drift-baseline-hours', String(options.driftBaselineHours)],
        ...['--verifier', zooFile('models', 'verifier.onnx')],
      ],
    },
    script,
    real,
    onGone,
  )
  await untilReady(cloud, `${pageUrl}healthz`)
  const api = new CloudApi(pageUrl, readFileSync(join(cloudDir, 'operator.token'), 'utf8').trim())

  const minted = await api.post<{ token: string }>('/v1/tokens', {
    subject: 'gateway-1',
    role: 'gateway',
    // Known by its token: a challenge is good for minutes, and of this clock's minutes a second has a thousand.
    sites: options.sites,
    ttlSeconds: 365 * 86_400,
  })
  const tokenFile = join(gatewayDir, 'service.token')
  writeSecretFile(tokenFile, minted.token)
  doing('starting the gateway')
  const gateway = new Service(
    {
      name: 'gateway',
      logFile: join(dir, 'gateway.log'),
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
  await untilReady(gateway, `http://127.0.0.1:${httpPort}/healthz`)
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
