import { readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import ts from 'typescript'

/** Tests of processes name no file that they concern, so they are asked only where a fault names them; those of the package, the page, documents
 *  and rules are of other things. */
const ELSEWHERE = /^test\/(?:package|docs|rules|runtime\/browser)\/|^test\/runtime\/node\/(?:cli|service-|story)/

/** Real servers and processes, and whole fleets: dear, and asked when the others have missed a fault. */
const isDear = (test: string): boolean => /^test\/(?:runtime|simulation)\//.test(test)

export interface Concerned {
  readonly cheap: readonly string[]
  readonly dear: readonly string[]
}

/** Which test files concern a source file, found by the imports that stand in the files. */
export class ConcernedTests {
  readonly #tests: readonly string[]
  readonly #imports = new Map<string, readonly string[]>()
  readonly #root: string
  readonly #distances = new Map<string, ReadonlyMap<string, number>>()

  /** @param files all files below the root, relative, with slashes */
  constructor(root: string, files: readonly string[]) {
    this.#root = root
    const known = new Set(files)
    for (const file of files) if (/\.ts$/.test(file)) this.#imports.set(file, this.#read(file, known))
    this.#tests = files.filter((file) => /^test\/.*\.test\.ts$/.test(file) && !ELSEWHERE.test(file))
  }

  /** @param atMost cheap ones, and half as many dear ones
   *  @returns the mirrored test first, then those that import the file: those of its own room, by fewest steps, and first who loads
   *    little else */
  of(file: string, atMost: number): Concerned {
    const mirror = `test/unit/${file.replace(/\.ts$/, '.test.ts')}`
    const room = `test/unit/${dirname(file)}/`
    const all = this.#tests
      .filter((test) => test === mirror || Number.isFinite(this.#distance(test, file)))
      .map((test) => {
        const near = test === mirror ? 0 : test.startsWith(room) ? 1 : 2
        return { test, rank: [near, this.#distance(test, file), this.#reached(test).size] }
      })
      .sort((a, b) => compare(a.rank, b.rank) || (a.test < b.test ? -1 : 1))
      .map(({ test }) => test)
    return {
      cheap: all.filter((test) => !isDear(test)).slice(0, atMost),
      dear: all.filter(isDear).slice(0, Math.ceil(atMost / 2)),
    }
  }

  /** Steps from a test to a file it loads; Infinity for none. */
  #distance(test: string, file: string): number {
    return this.#reached(test).get(file) ?? Number.POSITIVE_INFINITY
  }

  /** What a test loads, and in how many steps. */
  #reached(test: string): ReadonlyMap<string, number> {
    let reached = this.#distances.get(test)
    if (reached === undefined) {
      const found = new Map([[test, 0]])
      for (const [at, distance] of found) {
        for (const next of this.#imports.get(at) ?? []) if (!found.has(next)) found.set(next, distance + 1)
      }
      reached = found
      this.#distances.set(test, reached)
    }
    return reached
  }

  #read(file: string, known: ReadonlySet<string>): string[] {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(this.#root, file), 'utf8'), true, true)
    return importedFiles
      .filter(({ fileName }) => fileName.startsWith('.'))
      .map(({ fileName }) => posix.join(posix.dirname(file), fileName))
      .filter((path) => known.has(path))
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((value, index) => value !== b[index])
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0)
}
