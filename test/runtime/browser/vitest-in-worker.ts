/** Stands in for vitest where a contract suite is bundled for a worker: what the suites of ports use of it, and no more. */

interface Task {
  readonly name: string
  readonly run: () => unknown
}
const tasks: Task[] = []
const after: (() => void)[] = []
const names: string[] = []

export const describe = (name: string, body: () => void): void => {
  names.push(name)
  body()
  names.pop()
}
export const it = Object.assign(
  (name: string, run: () => unknown): void => {
    tasks.push({ name: [...names, name].join(' '), run })
  },
  {
    each:
      <T extends readonly unknown[]>(rows: readonly T[]) =>
      (name: string, run: (...row: T) => unknown): void => {
        for (const row of rows) it(name.replace('%s', String(row[0])), () => run(...row))
      },
  },
)
export const afterEach = (run: () => void): void => {
  after.push(run)
}

const text = (value: unknown): string =>
  JSON.stringify(value, (_, part: unknown) =>
    ArrayBuffer.isView(part) ? { bytes: [...(part as Uint8Array)] } : part === undefined ? 'undefined' : part,
  )
export const expect = (got: unknown) => ({
  toBe(wanted: unknown): void {
    if (!Object.is(got, wanted)) throw new Error(`${text(got)} is not ${text(wanted)}`)
  },
  toEqual(wanted: unknown): void {
    if (text(got) !== text(wanted)) throw new Error(`${text(got).slice(0, 200)} is not ${text(wanted).slice(0, 200)}`)
  },
  toThrow(kind: new (...args: never[]) => Error): void {
    try {
      ;(got as () => unknown)()
    } catch (cause) {
      if (cause instanceof kind) return
      throw cause
    }
    throw new Error(`no ${kind.name}`)
  },
})

/** @returns each test with what was wrong, '' for nothing */
export async function results(): Promise<readonly (readonly [string, string])[]> {
  const done: (readonly [string, string])[] = []
  for (const { name, run } of tasks) {
    let wrong = ''
    try {
      await run()
      for (const tidy of after) tidy()
    } catch (cause) {
      wrong = String(cause)
    }
    done.push([name, wrong])
  }
  return done
}
