import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ArtifactServer } from './downloads/artifact-server.ts'
import type { MetadataServer } from './downloads/metadata-server.ts'
import type { GatewayMetrics } from './metrics.ts'
import { problem } from './problem.ts'

/** What `GET /healthz` says. */
export interface Health {
  readonly ok: boolean
  readonly detail: Readonly<Record<string, unknown>>
}

/** The gateway's plain HTTP listener: `/healthz` (200 or 503), `/metrics`, and `/metadata/{file}`, the signed metadata of the image
 *  repository, all without authentication; and `/v1/artifacts/{sha256}` for a device token. It listens on loopback by default. */
export class OperatorHttp {
  readonly #server: Server
  readonly #metrics: GatewayMetrics
  readonly #health: () => Health
  readonly #metadata: MetadataServer
  readonly #artifacts: ArtifactServer

  private constructor(
    metrics: GatewayMetrics,
    health: () => Health,
    metadata: MetadataServer,
    artifacts: ArtifactServer,
  ) {
    this.#metadata = metadata
    this.#artifacts = artifacts
    this.#metrics = metrics
    this.#health = health
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    })
  }

  static async listen(
    host: string,
    port: number,
    metrics: GatewayMetrics,
    health: () => Health,
    metadata: MetadataServer,
    artifacts: ArtifactServer,
  ): Promise<OperatorHttp> {
    const http = new OperatorHttp(metrics, health, metadata, artifacts)
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

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url } = request
    const path = url?.split('?')[0]
    if (method === 'GET' && path === '/healthz') {
      const { ok, detail } = this.#health()
      response.writeHead(ok ? 200 : 503, { 'content-type': 'application/json' }).end(JSON.stringify({ ok, ...detail }))
    } else if (method === 'GET' && path === '/metrics') {
      const page = await this.#metrics.scrape()
      response.writeHead(200, { 'content-type': this.#metrics.contentType }).end(page)
    } else if (path?.startsWith('/metadata/')) {
      await this.#metadata.answer(request, response)
    } else if (path?.startsWith('/v1/artifacts/')) {
      await this.#artifacts.answer(request, response)
    } else {
      problem(response, 'not-found', 'there are /healthz, /metrics, /metadata/{file} and /v1/artifacts/{sha256}')
    }
  }
}
