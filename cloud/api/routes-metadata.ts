import { createRoute, z } from '@hono/zod-openapi'
import { matchesEtag } from '../../contract/byte-range.ts'
import { sha256Hex } from '../../contract/bytes.ts'
import { bodyLimitOf } from './body-limit.ts'
import type { CloudApp, CloudServices } from './environment.ts'
import { unwrap } from './problem.ts'
import * as schemas from './schemas.ts'

/** chosen: some fifty files of the largest size; a new cloud is filled with every root and the newest of the rest */
const UPLOAD_BYTES_MAX = 8 * 1024 * 1024

/** Metadata of the image repository: files for gateways and devices, uploads of operators. */
export function metadataRoutes(app: CloudApp, services: CloudServices): void {
  const { repository, store, clock } = services
  const heads = () => ({
    versions: repository.versions(),
    online: repository.online.current.publicKey,
    nextOnline: repository.online.next?.publicKey ?? null,
    director: repository.directors.current.publicKey,
    nextDirector: repository.directors.next?.publicKey ?? null,
  })

  const list = createRoute({
    method: 'get',
    path: '/v1/metadata',
    summary: 'Newest version of each metadata role, and the cloud´s keys',
    responses: schemas.answers(schemas.metadataHeads, 'Versions and keys'),
  })
  app.openapi(list, (c) => c.json(heads(), 200))

  app.openAPIRegistry.registerPath({
    method: 'get',
    path: '/v1/metadata/{file}',
    summary: 'A file of the image repository, byte for byte as it was signed',
    request: {
      params: z.object({ file: z.string().openapi({ example: '1.root.json' }) }),
      headers: z.object({ 'if-none-match': z.string().optional() }),
    },
    responses: {
      200: { description: 'The file', content: { 'application/json': { schema: schemas.metadataFile } } },
      304: { description: 'It has not changed' },
      ...schemas.problems,
    },
  })
  app.get('/v1/metadata/:file', (c) => {
    const { content, immutable } = unwrap(repository.file(c.req.param('file')))
    const etag = `"${sha256Hex(content)}"`
    const headers = { etag, 'cache-control': immutable ? 'public, max-age=31536000, immutable' : 'no-cache' }
    if (matchesEtag(c.req.header('if-none-match'), etag)) return new Response(null, { status: 304, headers })
    return new Response(Buffer.from(content), { headers: { ...headers, 'content-type': 'application/json' } })
  })

  const upload = createRoute({
    method: 'post',
    path: '/v1/metadata',
    summary: 'Publish root, targets and delegated targets that the offline keys have signed: all of them or none',
    middleware: bodyLimitOf(UPLOAD_BYTES_MAX),
    request: schemas.jsonBody(schemas.metadataRequest),
    responses: schemas.answers(schemas.metadataHeads, 'Versions after the publication'),
  })
  app.openapi(upload, (c) => {
    const encoder = new TextEncoder()
    const files = c.req.valid('json').files.map(({ file, content }) => ({ file, content: encoder.encode(content) }))
    unwrap(repository.publish(files, c.get('principal').subject))
    // A new director signs at once.
    services.signSoon()
    return c.json(heads(), 200)
  })

  const following = [
    ['online', repository.online],
    ['director', repository.directors],
  ] as const
  for (const [name, succession] of following) {
    const next = createRoute({
      method: 'post',
      path: `/v1/metadata/${name}-key`,
      summary: `Make the ${name} key that follows the present one as soon as a root names it`,
      responses: schemas.answers(schemas.metadataHeads, 'Versions and keys'),
    })
    app.openapi(next, (c) => {
      const { keyId } = succession.makeNext().publicKey
      const actor = c.get('principal').subject
      store.audit.append({ atMs: clock.wallMs(), actor, action: `${name}-key.made`, subject: keyId, detail: {} })
      return c.json(heads(), 200)
    })
  }
}
