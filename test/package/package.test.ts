import { execFile, execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { encodeWav, parseWav } from '../../model/audio/wav.ts'
import { loadedModules, packageOf } from '../fixtures/loaded-modules.ts'

/** The package as `npm pack` makes it from what is in `dist/`; `npm test` builds first. No network: the dependencies are ours. */
const ROOT = join(import.meta.dirname, '../..')
const project = mkdtempSync(join(tmpdir(), 'kinglet-package-'))
const installed = join(project, 'node_modules/kinglet')
const run = promisify(execFile)
afterAll(() => rmSync(project, { recursive: true, force: true }))

/** A program of somebody who has the package and nothing else of ours. */
const PROGRAM = `
import { readFileSync } from 'node:fs'
import { decodeBundle, type Result, SECTIONS } from 'kinglet/contract'
import { AgentHost, agentConfig, MAINS, provision, radioNamed } from 'kinglet/device'
import { FlashFile } from 'kinglet/device/node/flash-file'
import { IdentityClient } from 'kinglet/device/node/identity-client'
import { TokenSource } from 'kinglet/device/node/token-source'
import { TransportMqtt } from 'kinglet/device/node/transport-mqtt'
import { boardNamed, checkGolden, openBundle } from 'kinglet/model'
import { EngineOrtNode } from 'kinglet/model/onnxruntime-node'
import { FlashNor, SILENT_TRANSPORT, VirtualClock } from 'kinglet/simulation'

function valueOf<T>(result: Result<T, { code: string; detail: string }>): T {
  if (result.ok) return result.value
  throw new Error(result.error.code + ': ' + result.error.detail)
}

const bundle = readFileSync(process.argv[2]!)
const engine = new EngineOrtNode()
const opened = valueOf(await openBundle(bundle, engine, Number.POSITIVE_INFINITY))
valueOf(await checkGolden(opened))
await opened.dispose()

const board = boardNamed('NUCLEO-U575ZI')!
const flash = new FlashNor({ sizeBytes: board.flashBytes })
valueOf(provision(flash, bundle, 0))
const host = valueOf(
  await AgentHost.start({
    config: agentConfig({ device: 'dev-1', site: 'lab', board, radio: radioNamed('wifi')!, level: 'gated' }),
    flash,
    engine,
    transport: SILENT_TRANSPORT,
    battery: MAINS,
    clock: new VirtualClock(Date.UTC(2026, 0, 1)),
  }),
)
const model: string | undefined = host.bundle?.manifest.name
const sections = valueOf(decodeBundle(bundle))
console.log(JSON.stringify({ model, level: host.level, hasManifest: sections.has(SECTIONS.manifest) }))
await host.close()
void [FlashFile, IdentityClient, TokenSource, TransportMqtt]
`

const TSCONFIG = {
  compilerOptions: {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    module: 'nodenext',
    target: 'es2022',
    lib: ['es2022'],
    types: ['node'],
    outDir: 'out',
  },
  files: ['main.ts'],
}

const PRODUCT = '(cli|cloud|contract|device|firmware-sim|gateway|model|platform|release)'
const ALLOWED = [
  /^(CHANGELOG\.md|LICENSE|README\.md|package\.json)$/,
  /^docs\/[\w-]+\.md$/,
  new RegExp(`^dist/${PRODUCT}/.*\\.js(\\.map)?$`),
  // Of what can be imported; the others would only be weight.
  /^dist\/(contract|device|firmware-sim|model|platform)\/.*\.d\.ts$/,
  /^dist\/cloud\/console\/static\/[\w.-]+$/,
  // The agent's page: what build-page.mjs makes, with the WebAssembly of ONNX Runtime.
  /^dist\/device\/browser\/page\/(index\.html|page\.css|(page|agent-worker|microphone-worklet|chunk-\w+|ort\.[\w.-]+)\.js|ort-wasm-simd-threaded\.wasm)$/,
  /^zoo\/bank\/(keyword|noise|other)\/.*\.wav$/,
  /^zoo\/bundles\/[\w-]+\.kinglet$/,
  /^zoo\/models\/[\w-]+\.(onnx|tflite|json)$/,
]

interface PackageJson {
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>
  readonly bin: { readonly kinglet: string }
  readonly dependencies: Record<string, string>
}

let files: string[] = []
let manifest: PackageJson
beforeAll(() => {
  const packed = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', project], {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [report] = JSON.parse(packed) as [{ filename: string; files: { path: string }[] }]
  files = report.files.map(({ path }) => path)
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['-xzf', join(project, report.filename), '-C', installed, '--strip-components=1'])
  manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  linkDependencies()
})

/** Only what the package declares, and Node's types, which a project with TypeScript has: an undeclared dependency is not found. */
function linkDependencies(): void {
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
    const scope = name.startsWith('@') ? name.split('/')[0]! : ''
    mkdirSync(join(project, 'node_modules', scope), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), join(project, 'node_modules', name))
  }
}

describe('the tarball', () => {
  it('holds the product, its documents and the sounds and models that the command uses, and nothing else', () => {
    expect(files.filter((file) => !ALLOWED.some((pattern) => pattern.test(file)))).toEqual([])
    for (const file of ['LICENSE', 'README.md', 'CHANGELOG.md', 'zoo/models/verifier.onnx', 'docs/bundle.md']) {
      expect(files).toContain(file)
    }
    for (const file of ['index.html', 'page.js', 'agent-worker.js', 'ort-wasm-simd-threaded.wasm']) {
      expect(files).toContain(`dist/device/browser/page/${file}`)
    }
    const bundles = readdirSync(join(ROOT, 'zoo/bundles')).filter((name) => name.endsWith('.kinglet'))
    expect(files).toEqual(expect.arrayContaining(bundles.map((name) => `zoo/bundles/${name}`)))
  })

  it('has a file for every entry that it names, and types for every one that is code', () => {
    const named = Object.values(manifest.exports).flatMap((entry) =>
      typeof entry === 'string' ? [entry] : [entry.types, entry.default],
    )
    for (const file of [...named, ...Object.values(manifest.bin)]) expect(files).toContain(file.replace(/^\.\//, ''))
  })

  it('has the source in every source map, since the source files are not there', () => {
    const maps = files.filter((file) => file.endsWith('.map'))
    expect(maps.length).toBeGreaterThan(100)
    for (const file of maps) {
      // Left in dist/ by an older build: `npm pack` removes that first.
      if (!existsSync(join(ROOT, file.replace(/^dist\//, '').replace(/js\.map$/, 'ts')))) continue
      const map = JSON.parse(readFileSync(join(installed, file), 'utf8')) as { sourcesContent?: (string | null)[] }
      expect(map.sourcesContent?.[0], file).toBeTypeOf('string')
    }
  })
})

describe('a fresh project with the package', () => {
  it('type-checks strictly, declarations and all, opens a bundle and boots a device that it provisioned in memory', async () => {
    writeFileSync(join(project, 'package.json'), JSON.stringify({ type: 'module' }))
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(TSCONFIG))
    writeFileSync(join(project, 'main.ts'), PROGRAM)
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const checked = await run(process.execPath, [tsc, '-p', '.'], { cwd: project }).catch((error) => error)
    expect(checked.stdout).toBe('')
    const bundle = 'node_modules/kinglet/zoo/bundles/kws-2.kinglet'
    const { stdout } = await run(process.execPath, ['out/main.js', bundle], { cwd: project })
    expect(JSON.parse(stdout)).toEqual({ model: 'kws-2', level: 'gated', hasManifest: true })
  }, 240_000)

  it('runs the program of docs/agent.md as it stands there', async () => {
    const [, program] = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'docs/agent.md'), 'utf8'))!
    expect(program!.trimEnd().split('\n').length).toBeLessThanOrEqual(36)
    writeFileSync(join(project, 'agent.ts'), program!)
    writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ ...TSCONFIG, files: ['agent.ts'] }))
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const checked = await run(process.execPath, [tsc, '-p', '.'], { cwd: project }).catch((error) => error)
    expect(checked.stdout).toBe('')
    // A second of silence before and after the word.
    const words = new Float32Array(48_000)
    const word = parseWav(readFileSync(join(ROOT, 'zoo/bank/keyword/yes/yes-6.wav')))
    if (!word.ok) throw new Error(word.error.detail)
    words.set(word.value.samples, 16_000)
    writeFileSync(join(project, 'yes.wav'), encodeWav(words, 16_000))
    const bundle = 'node_modules/kinglet/zoo/bundles/kws-2.kinglet'
    const { stdout } = await run(process.execPath, ['out/agent.js', bundle, 'yes.wav'], { cwd: project })
    expect(stdout).toMatch(/^yes 0\.\d+\n$/)
  }, 240_000)

  it('loads no engine and nothing of Node with the three entries: they are for other platforms too', async () => {
    const script = join(project, 'entries.mjs')
    writeFileSync(script, ['contract', 'model', 'device'].map((entry) => `import 'kinglet/${entry}'\n`).join(''))
    const loaded = await loadedModules(script, [], project)
    expect(loaded.filter((url) => url.startsWith('node:'))).toEqual([])
    const packages = new Set(loaded.map(packageOf))
    expect(packages).toContain('kinglet')
    expect(packages).not.toContain('onnxruntime-node')
    expect(packages).not.toContain('mqtt')
  })

  it('has a command that finds its sounds and models, wherever it is started', async () => {
    const script = join(project, 'kinglet')
    // As npm links it into a bin folder.
    symlinkSync(join(installed, manifest.bin.kinglet), script)
    const kinglet = (...args: string[]) => run(process.execPath, [script, ...args], { cwd: project })
    const battery = await kinglet('sim', 'battery', '--devices', '1', '--days', '1', '--json')
    expect(JSON.parse(battery.stdout)).toMatchObject({ governed: { devices: 1, reachedHorizon: 1 } })
    const inspected = await kinglet('model', 'inspect', '--json', join(installed, 'zoo/bundles/kws-1.kinglet'))
    expect(JSON.parse(inspected.stdout)).toMatchObject({ manifest: { name: 'kws-1' } })
  })
})
