import { expect, it } from 'vitest'
import { contractError } from '../../../contract/errors.ts'
import { fetchProblem, httpApp, onGet, onPost } from '../../../gateway/route.ts'
import { notedLog } from '../../fixtures/timers.ts'

const app = () => {
  const logger = notedLog()
  const made = httpApp(logger, () => new Response('nothing here', { status: 426 }))
  onGet(made, '/read', () => new Response('text', { headers: { 'x-length': '4' } }))
  onPost(made, '/write', () => new Response('taken', { status: 202 }))
  onGet(made, '/bug', () => {
    throw new Error('secret words')
  })
  return { made, logger }
}
const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code

it('HEAD is answered as GET, without the body; any other method is told which is right', async () => {
  const { made } = app()
  expect(await (await made.request('/read')).text()).toBe('text')
  const head = await made.request('/read', { method: 'HEAD' })
  expect([head.status, head.headers.get('x-length'), await head.text()]).toEqual([200, '4', ''])
  const wrong = await made.request('/read', { method: 'POST' })
  expect([wrong.status, wrong.headers.get('allow'), await codeOf(wrong)]).toEqual([405, 'GET, HEAD', 'invalid-request'])
  expect((await made.request('/write', { method: 'POST' })).status).toBe(202)
  for (const method of ['GET', 'PUT']) {
    const other = await made.request('/write', { method })
    expect([other.status, other.headers.get('allow')]).toEqual([405, 'POST'])
  }
})

it('what no route is for gets the answer of the app', async () => {
  expect((await app().made.request('/elsewhere')).status).toBe(426)
})

it('a bug is logged and told as one, without its words', async () => {
  const { made, logger } = app()
  const response = await made.request('/bug')
  const text = await response.text()
  expect([response.status, (JSON.parse(text) as { code: string }).code]).toEqual([500, 'internal'])
  expect(text).not.toContain('secret words')
  expect(logger.lines).toEqual(['error: request failed'])
})

it.each([
  ['hash-mismatch', 502],
  ['too-large', 502],
  ['artifact-not-found', 404],
  ['unavailable', 503],
] as const)('what could not be fetched, %s, has status %d', async (code, status) => {
  const response = fetchProblem(contractError(code, 'why'))
  expect([response.status, await codeOf(response)]).toEqual([status, code])
})
