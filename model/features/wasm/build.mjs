// Compiles front-end.ts into ../front-end-bytes.ts: `npm run build:wasm`. With --check it writes nothing and fails where the
// committed bytes are not those of the source; a test runs that.
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const folder = fileURLToPath(new URL('.', import.meta.url))
const target = fileURLToPath(new URL('../front-end-bytes.ts', import.meta.url))

/** Bytes of the module, the same on every machine: the compiler and its optimiser are themselves JavaScript and WebAssembly. */
async function compile() {
  const written = new Map()
  // --noAssert: no bounds to check by software. --runtime stub: nothing is ever allocated. The memory is the caller's.
  const { error, stderr } = await asc.main(
    'front-end.ts --outFile front-end.wasm -O3 --noAssert --runtime stub --importMemory --enable simd'.split(' '),
    {
      readFile: (name) => readFile(`${folder}${name}`, 'utf8').catch(() => null),
      writeFile: (name, contents) => written.set(name, contents),
      listFiles: () => [],
    },
  )
  if (error) throw new Error(`${stderr.toString()}\n${error.message}`)
  return written.get('front-end.wasm')
}

const bytes = await compile()
const lines =
  Buffer.from(bytes)
    .toString('base64')
    .match(/.{1,110}/g) ?? []
const text = `// Generated from wasm/front-end.ts by \`npm run build:wasm\`; ${bytes.length} bytes of WebAssembly.
export const FRONT_END_BASE64 =
${lines.map((line) => `  '${line}'`).join(' +\n')}
`
if (process.argv.includes('--check')) {
  if ((await readFile(target, 'utf8')) !== text) {
    console.error('front-end-bytes.ts is not what front-end.ts compiles to: npm run build:wasm')
    process.exitCode = 1
  }
} else {
  await writeFile(target, text)
}
