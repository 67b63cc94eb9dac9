import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RepositoryFolder } from '../../../cli/repository-folder.ts'
import { ArtifactFolder } from '../../../cloud/registry/artifact-folder.ts'
import { Store } from '../../../cloud/store/store.ts'
import { ImageRepository } from '../../../cloud/trust/image-repository.ts'
import { directorKeys, onlineKeys } from '../../../cloud/trust/key-succession.ts'
import type { MetadataUpload } from '../../../cloud/trust/repository-review.ts'
import { sha256Hex } from '../../../contract/bytes.ts'
import type { Release } from '../../../contract/release.ts'
import { TufClient } from '../../fixtures/tuf-js-client.ts'
import { ManualClock, releaseOf } from './cloud-world.ts'
import { operatorMachine, realRandom as random } from './operator-machine.ts'

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** A cloud's image repository with a real store and folder, an operator with real keys (cheap scrypt), and a server for tuf-js. The
 *  clock starts at the machine's time, since tuf-js reads that. */
export class ImageWorld {
  readonly dir = mkdtempSync(join(tmpdir(), 'kinglet-image-'))
  readonly clock = new ManualClock(Date.now())
  readonly said: string[] = []
  readonly #clients: TufClient[] = []
  /** answers in place of the repository's; what a malicious mirror sends */
  readonly forged = new Map<string, Uint8Array>()
  store!: Store
  artifacts!: ArtifactFolder
  repository!: ImageRepository
  #server!: Server
  #cloudDir: string

  constructor() {
    this.#cloudDir = this.dir
    this.boot()
  }

  /** Starts the cloud's side on its folder, as after a crash when it was up. */
  boot(): void {
    this.repository?.stop()
    this.store?.close()
    this.store = new Store(join(this.#cloudDir, 'cloud.db'), this.clock.wallMs())
    this.artifacts = new ArtifactFolder(join(this.dir, 'artifacts'), random)
    const { store, artifacts, clock } = this
    const online = onlineKeys(this.#cloudDir, random)
    const directors = directorKeys(this.#cloudDir, random)
    this.repository = new ImageRepository({ store, artifacts, clock, logger: quiet, online, directors })
    this.repository.start()
  }

  /** Another cloud in place of this one, with an empty folder and new keys. */
  rebuild(): void {
    this.#cloudDir = mkdtempSync(join(this.dir, 'cloud-'))
    this.boot()
  }

  get onlineKeyFile(): string {
    return join(this.#cloudDir, 'online.pub.json')
  }

  get directorKeyFile(): string {
    return join(this.#cloudDir, 'director.pub.json')
  }

  /** An operator's machine; with another name for keys, another holder's. */
  operator(keys = 'keys', repo = 'repo') {
    return operatorMachine(this.dir, this.clock, { keys, repo, print: (line) => void this.said.push(line) })
  }

  async init(more: { rootKeys?: number; rootThreshold?: number; targetsKeys?: number } = {}) {
    const operator = this.operator()
    await operator.lifecycle.init({
      ...{
        cloudKeyFile: this.onlineKeyFile,
        rootKeys: 2,
        rootThreshold: 2,
        targetsKeys: 1,
        rootKeyFiles: [],
        ...more,
      },
    })
    this.publish(operator.repository)
    return operator
  }

  /** Sends what the cloud does not have; throws what it refuses. */
  publish(repository: RepositoryFolder): void {
    this.take(repository.uploadsFor(this.repository.versions()))
  }

  take(uploads: readonly MetadataUpload[]): void {
    const taken = this.repository.publish(uploads, 'operator')
    if (!taken.ok) throw new Error(`${taken.error.code}: ${taken.error.detail}`)
  }

  /** Uploads a bundle of arbitrary bytes. @returns its release */
  async release(name: string, version: number, content = `${name} ${version}`): Promise<Release> {
    const bytes = new TextEncoder().encode(content)
    const sha256 = sha256Hex(bytes)
    await this.artifacts.put(sha256, bytes)
    return releaseOf(name, version, sha256, { bytes: bytes.length })
  }

  file(name: string): Uint8Array {
    const file = this.repository.file(name)
    if (!file.ok) throw new Error(file.error.detail)
    return file.value.content
  }

  json(name: string): { signatures: { keyid: string; sig: string }[]; signed: Record<string, unknown> } {
    return JSON.parse(new TextDecoder().decode(this.file(name))) as never
  }

  async serve(): Promise<this> {
    this.#server = createServer((request, response) => {
      const name = request.url!.slice(1)
      const forged = this.forged.get(name)
      const file = this.repository.file(name)
      if (forged === undefined && !file.ok) response.writeHead(404).end()
      else response.writeHead(200).end(forged ?? (file.ok ? file.value.content : undefined))
    })
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  client(root = this.file('1.root.json')): TufClient {
    const client = new TufClient(`http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`, root)
    this.#clients.push(client)
    return client
  }

  async close(): Promise<void> {
    this.repository.stop()
    this.store.close()
    for (const client of this.#clients) client.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.dir, { recursive: true, force: true })
  }
}
