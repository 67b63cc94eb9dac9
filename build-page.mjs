// Bundles the agent's page into dist/device/browser/page/: `npm run build`. docs/decisions/0019-agent-page.md says why it is bundled.
import { copyFile, cp, mkdir, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, 'device/browser')
const target = join(here, 'dist/device/browser/page')

await rm(target, { recursive: true, force: true })
await mkdir(target, { recursive: true })
await build({
  entryPoints: ['page', 'agent-worker', 'microphone-worklet'].map((name) => join(source, `${name}.ts`)),
  outdir: target,
  bundle: true,
  // ONNX Runtime becomes a file of its own, which is fetched when a graph needs it.
  splitting: true,
  format: 'esm',
  platform: 'browser',
  target: ['es2022'],
  minify: true,
  // The licences of what is bundled stay with it.
  legalComments: 'eof',
  logLevel: 'warning',
})
await cp(join(source, 'static'), target, { recursive: true })
const ort = dirname(createRequire(import.meta.url).resolve('onnxruntime-web/wasm'))
await copyFile(join(ort, 'ort-wasm-simd-threaded.wasm'), join(target, 'ort-wasm-simd-threaded.wasm'))
