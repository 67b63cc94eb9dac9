import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OperatorVectors, operatorKinds, operatorVectors } from '../../fixtures/int8-operators.ts'
import { hasReferenceData, REFERENCE_DATA } from '../../fixtures/reference-data.ts'
import { loadedGraph } from '../../fixtures/tflite-operator.ts'
import { wideGraphs } from '../../fixtures/wide-graphs.ts'
import { builtScript, ROOT } from '../node/cli-process.ts'

/** Debian's; Playwright's own browsers are not downloaded. */
const CHROMIUM = '/usr/bin/chromium'
const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
]

/** A graph and what goes in and has to come out, in hex. */
interface Case {
  readonly name: string
  readonly graph: string
  readonly runs: readonly { readonly in: readonly string[]; readonly out: readonly string[] }[]
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const caseOf = ({ name, graph, runs }: OperatorVectors): Case => ({
  ...{ name, graph: hex(graph) },
  runs: runs.map((run) => ({ in: run.in.map(hex), out: run.out.map(hex) })),
})

/** What this process computes of a graph, three runs on from each other. */
function computed(file: Uint8Array, at: number): Case {
  const graph = loadedGraph(file)
  const runs = [0, 1, 2].map((run) => {
    const inputs = graph.inputs.map(({ elementType, bytes, elements }) =>
      elementType === 'float32'
        ? new Uint8Array(Float32Array.from({ length: elements }, (_, i) => ((i * 37 + run * 11) % 97) / 9 - 5).buffer)
        : Uint8Array.from({ length: bytes }, (_, i) => (i * 37 + run * 11) & 0xff),
    )
    for (const [input, data] of inputs.entries()) graph.inputBytes(input).set(data)
    graph.run()
    return { in: inputs.map(hex), out: graph.outputs.map((_, output) => hex(graph.outputBytes(output))) }
  })
  return { name: `wide graph ${at}`, graph: hex(file), runs }
}

/** In the page: which runs came out otherwise. */
function differences(cases: readonly Case[]): string[] {
  interface Graph {
    readonly outputs: readonly unknown[]
    inputBytes(at: number): Uint8Array
    outputBytes(at: number): Uint8Array
    run(): void
  }
  type Load = (file: Uint8Array) => { ok: true; value: Graph } | { ok: false; error: { detail: string } }
  const { loadTiny } = globalThis as unknown as { loadTiny: Load }
  const bytes = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
  const text = (data: Uint8Array) => [...data].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  const found: string[] = []
  for (const { name, graph, runs } of cases) {
    const loaded = loadTiny(bytes(graph))
    if (!loaded.ok) {
      found.push(`${name}: ${loaded.error.detail}`)
      continue
    }
    for (const [index, run] of runs.entries()) {
      for (const [at, input] of run.in.entries()) loaded.value.inputBytes(at).set(bytes(input))
      loaded.value.run()
      const out = loaded.value.outputs.map((_, at) => text(loaded.value.outputBytes(at)))
      if (out.join() !== run.out.join()) found.push(`${name}, run ${index}`)
    }
  }
  return found
}

/** Loads what was built, as it lies. */
const PAGE = `<!doctype html><title>tiny</title><script type="module">
  import { loadTiny } from '/model/engine-tiny/graph.js'
  globalThis.loadTiny = loadTiny
</script>`

/** The same bytes as under Node, in a real browser. */
describe('the engine tiny in Chromium', () => {
  let server: Server
  let browser: Browser
  let page: Page

  beforeAll(async () => {
    if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing: apt-get install chromium`)
    builtScript()
    const dist = join(ROOT, 'dist')
    server = createServer((request, response) => {
      const path = join(dist, normalize(new URL(request.url ?? '/', 'http://page').pathname))
      if (!path.startsWith(dist) || !path.endsWith('.js') || !existsSync(path)) {
        response.setHeader('content-type', 'text/html').end(PAGE)
        return
      }
      response.setHeader('content-type', 'text/javascript').end(readFileSync(path))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS })
    page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    await page.waitForFunction('globalThis.loadTiny')
  })
  afterAll(async () => {
    await browser?.close()
    await new Promise((resolve) => server?.close(resolve))
  })

  it('computes every graph of the reference to the byte', async () => {
    const cases = operatorKinds().flatMap((kind) => operatorVectors(kind).map(caseOf))
    expect(cases.length).toBeGreaterThanOrEqual(252)
    expect(await page.evaluate(differences, cases)).toEqual([])
  })

  it('computes wide elements and an LSTM as Node does, to the byte', async () => {
    expect(await page.evaluate(differences, wideGraphs().map(computed))).toEqual([])
  })

  it('tells where a byte is another', async () => {
    const [sample] = operatorVectors('add').map(caseOf)
    const runs = sample!.runs.map((run, at) =>
      at === 1 ? { ...run, out: run.out.map((out) => `${out.slice(0, -2)}5a`) } : run,
    )
    expect(await page.evaluate(differences, [{ ...sample!, runs }])).toEqual(['add-0, run 1'])
  })

  it.skipIf(!hasReferenceData)('computes the models of the reference data to the byte', async () => {
    const folder = join(REFERENCE_DATA, 'int8-reference/models')
    const cases = readdirSync(folder)
      .filter((file) => /^mlperf-tiny-|okay-nabu-v2-retrained-(old|new)\.jsonl$/.test(file))
      .map((file) => {
        const name = file.slice(0, -'.jsonl'.length)
        const pair = /^(.*)-(old|new)$/.exec(name)
        const path = pair ? `model-pairs/${pair[1]}/${pair[2]}.tflite` : `models/${name}.tflite`
        const [, ...lines] = readFileSync(join(folder, file), 'utf8').trim().split('\n')
        const runs = lines.map((line) => JSON.parse(line) as Case['runs'][number])
        return { name, graph: hex(readFileSync(join(REFERENCE_DATA, path))), runs }
      })
    expect(cases.length).toBeGreaterThan(0)
    expect(await page.evaluate(differences, cases)).toEqual([])
  })
})
