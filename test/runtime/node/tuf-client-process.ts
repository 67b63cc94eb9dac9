import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { main } from '../../conformance/client.ts'
import type { TufRepository } from '../../fixtures/tuf-repository.ts'

const CLIENT = fileURLToPath(new URL('../../conformance/client', import.meta.url))

/** The conformance executable over folders of its own, against a repository on a real port. */
export class ClientProcess {
  readonly repository: TufRepository
  readonly dir = mkdtempSync(join(tmpdir(), 'kinglet-tuf-'))
  readonly metadataDir = join(this.dir, 'metadata')
  readonly targetDir = join(this.dir, 'targets')
  readonly #url: string
  readonly #close: () => Promise<void>

  private constructor(repository: TufRepository, url: string, close: () => Promise<void>) {
    this.repository = repository
    this.#url = url
    this.#close = close
    mkdirSync(this.metadataDir)
    mkdirSync(this.targetDir)
  }

  static async start(repository: TufRepository): Promise<ClientProcess> {
    const { url, close } = await repository.serve()
    return new ClientProcess(repository, url, close)
  }

  async end(): Promise<void> {
    await this.#close()
    rmSync(this.dir, { recursive: true, force: true })
  }

  /** What `init` amounts to, without the process. */
  provision(root: Uint8Array = this.repository.published.root![0]!): void {
    writeFileSync(join(this.metadataDir, 'root.json'), root)
  }

  init(root: Uint8Array = this.repository.published.root![0]!): Promise<number> {
    const path = join(this.dir, 'initial_root.json')
    writeFileSync(path, root)
    return this.run(['--metadata-dir', this.metadataDir, 'init', path])
  }

  /** The most frequent command runs the executable's code in this process: a start of Node takes longer than it does. With another
   *  clock, and for all other commands, it is the executable itself.
   *  @param aheadMs how far the process's clock is ahead */
  refresh(aheadMs = 0): Promise<number> {
    const args = [...this.#metadata, 'refresh']
    if (aheadMs !== 0) return this.run(args, aheadMs)
    this.said = ''
    return main(args, (reason) => {
      this.said += `${reason}\n`
    })
  }

  download(targets: string | readonly string[], aheadMs = 0): Promise<number> {
    const names = [targets].flat().flatMap((name) => ['--target-name', name])
    const where = ['--target-dir', this.targetDir, '--target-base-url', `${this.#url}/targets/`]
    return this.run([...this.#metadata, ...names, ...where, 'download'], aheadMs)
  }

  get #metadata() {
    return ['--metadata-url', `${this.#url}/metadata/`, '--metadata-dir', this.metadataDir]
  }

  run(args: readonly string[], aheadMs = 0): Promise<number> {
    const clock = join(this.dir, 'clock.mjs')
    writeFileSync(clock, `const now = Date.now\nDate.now = () => now() + ${aheadMs}\n`)
    const env = { ...process.env, ...(aheadMs === 0 ? {} : { NODE_OPTIONS: `--import=${clock}` }) }
    return new Promise((resolve, reject) => {
      const child = spawn(CLIENT, args, { env, stdio: ['ignore', 'inherit', 'pipe'] })
      let said = ''
      child.stderr.on('data', (data) => {
        said += data
      })
      child.on('error', reject)
      child.on('exit', (code) => {
        this.said = said
        resolve(code ?? -1)
      })
    })
  }

  /** what the last run wrote to stderr */
  said = ''

  /** `role version` of each trusted file, by name */
  get trusted(): string[] {
    return readdirSync(this.metadataDir)
      .filter((file) => file.endsWith('.json'))
      .sort()
      .map((file) => `${file.slice(0, -'.json'.length)} ${JSON.parse(this.bytes(file).toString()).signed.version}`)
  }

  bytes(file: string): Buffer {
    return readFileSync(join(this.metadataDir, file))
  }

  /** contents of the downloaded targets, in their own order: two files may be of the same tick of the file system's clock */
  get downloaded(): string[] {
    return readdirSync(this.targetDir)
      .map((file) => readFileSync(join(this.targetDir, file), 'utf8'))
      .sort()
  }
}
