// Compiles each WebAssembly module from its AssemblyScript into a file of Base64: `npm run build:wasm`. With --check it writes nothing and
// fails where the committed bytes are not those of the source; a test runs that. A word of a file's name limits it to those modules.
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

/** Folder of the source and its entry in it; where the bytes go, and under which name. */
const modules = [
  { folder: 'features/wasm/', entry: 'front-end', target: 'features/front-end-bytes.ts', name: 'FRONT_END_BASE64' },
  { folder: 'engine-tiny/wasm/', entry: 'index', target: 'engine-tiny/tiny-bytes.ts', name: 'TINY_BASE64' },
]
const here = fileURLToPath(new URL('model/', import.meta.url))

/** Bytes of the module, the same on every machine: the compiler and its optimiser are themselves JavaScript and WebAssembly. */
async function compile({ folder, entry }) {
  const written = new Map()
  // --noAssert: no bounds to check by software. --runtime stub: nothing is ever allocated. The memory is the caller's.
  const { error, stderr } = await asc.main(
    `${entry}.ts --outFile ${entry}.wasm -O3 --noAssert --runtime stub --importMemory --enable simd`.split(' '),
    {
      readFile: (name) => readFile(`${here}${folder}${name}`, 'utf8').catch(() => null),
      writeFile: (name, contents) => written.set(name, contents),
      listFiles: () => [],
    },
  )
  if (error) throw new Error(`${stderr.toString()}\n${error.message}`)
  return written.get(`${entry}.wasm`)
}

const [only = ''] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'))
for (const module of modules.filter(({ target }) => target.includes(only))) {
  const { entry, target, name } = module
  const bytes = await compile(module)
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,110}/g) ?? []
  const text = `// Generated from wasm/${entry}.ts by \`npm run build:wasm\`; ${bytes.length} bytes of WebAssembly.
export const ${name} =
${lines.map((line) => `  '${line}'`).join(' +\n')}
`
  if (process.argv.includes('--check')) {
    if ((await readFile(`${here}${target}`, 'utf8').catch(() => '')) !== text) {
      console.error(`${target} is not what wasm/${entry}.ts compiles to: npm run build:wasm`)
      process.exitCode = 1
    }
  } else {
    await writeFile(`${here}${target}`, text)
  }
}
