import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { contractError } from '../contract/errors.ts'
import type { Logger } from '../platform/logger.ts'
import { problemResponse } from '../platform/problem-response.ts'
import type { Readiness } from '../platform/readiness.ts'
import { boundIdle, REQUEST_DEADLINES } from './broker/request-deadlines.ts'
import { type StrangerLimits, Strangers } from './broker/strangers.ts'
import type { ArtifactServer } from './downloads/artifact-server.ts'
import type { MetadataServer } from './downloads/metadata-server.ts'
import type { MessageCounters } from './message-counters.ts'
import type { GatewayMetrics } from './metrics.ts'
import { httpApp, listenerOf, onGet } from './route.ts'

/** chosen: scrapers and operators are few; devices that download over HTTP come with a token and ask for a part at a time */
const STRANGER_LIMITS: StrangerLimits = { strangersMax: 1_024, strangersPerAddressMax: 512 }
/** chosen: those, and as many requests under way */
const CONNECTIONS_MAX = 2_048

interface Parts {
  readonly logger: Logger
  readonly counters: MessageCounters
  readonly metrics: GatewayMetrics
  readonly metadata: MetadataServer
  readonly artifacts: ArtifactServer
  /** what `GET /healthz` says beside that the process answers */
  depths(): Readonly<Record<string, number>>
  readiness(): Promise<Readiness>
}

/** The gateway's plain HTTP listener: `/healthz` (the process answers), `/readyz` (200 or 503, and why), `/metrics`, and `/metadata/{file}`, the signed metadata of the image
 *  repository, all without authentication; and `/v1/artifacts/{sha256}` for a device token. It listens on loopback by default. */
export class OperatorHttp {
  readonly #server: Server

  private constructor({ logger, counters, metrics, metadata, artifacts, depths, readiness }: Parts) {
    const app = httpApp(logger, () =>
      problemResponse(
        contractError(
          'not-found',
          'there are /healthz, /readyz, /metrics, /metadata/{file} and /v1/artifacts/{sha256}',
        ),
      ),
    )
    onGet(app, '/healthz', (c) => c.json({ ok: true, ...depths() }))
    onGet(app, '/readyz', async (c) => {
      const found = await readiness()
      return c.json(found, found.ready ? 200 : 503)
    })
    onGet(app, '/metrics', async (c) => c.body(await metrics.scrape(), 200, { 'content-type': metrics.contentType }))
    onGet(app, '/metadata/:file{.*}', (c) => metadata.answer(c))
    onGet(app, '/v1/artifacts/:sha256', (c) => artifacts.answer(c))
    const strangers = new Strangers(STRANGER_LIMITS, () => counters.add('operator-connection', 'given-up'))
    this.#server = createServer(REQUEST_DEADLINES, strangers.between(listenerOf(app)))
    this.#server.maxConnections = CONNECTIONS_MAX
    strangers.watch(this.#server)
    boundIdle(this.#server)
  }

  static async listen(host: string, port: number, parts: Parts): Promise<OperatorHttp> {
    const http = new OperatorHttp(parts)
    await new Promise<void>((resolve, reject) => {
      http.#server.once('error', reject)
      http.#server.listen(port, host, resolve)
    })
    return http
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }
}
