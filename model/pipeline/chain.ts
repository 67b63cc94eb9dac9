import type { PipelineLink } from '../../contract/manifest-v2.ts'
import { present } from '../../contract/present.ts'
import { ok, type Result } from '../../contract/result.ts'
import type { EngineError, EngineSession } from '../engine/engine.ts'
import type { PlanNode } from './level-plan.ts'

/** What a pipeline's last graph gave. */
export interface ChainResult {
  /** indices of the pipelines that end with this graph */
  readonly pipelines: readonly number[]
  readonly output: Float32Array
  /** what the graph read, real values; valid until the next run */
  readonly input: Float32Array
}

/** Graphs in a row, and where rows part: each runs when what it reads has come. */
export interface Chain {
  /** Runs a window of the front end through it.
   *  @returns what came out at the ends, in order: nothing while buffers fill, several where a window brings more than one */
  run(window: Float32Array): Promise<Result<readonly ChainResult[], EngineError>>
  /** Forgets what earlier windows have left, in graphs and between them. */
  reset(): void
}

/** @param sessions by graph id; each of the nodes has one */
export function createChain(roots: readonly PlanNode[], sessions: ReadonlyMap<string, EngineSession>): Chain {
  const links = roots.map((node) => joinOf(node, sessions))
  return {
    async run(window) {
      const results: ChainResult[] = []
      for (const link of links) {
        const error = await link.take(window, results)
        if (error !== undefined) return { ok: false, error }
      }
      return ok(results)
    },
    reset() {
      for (const link of links) link.reset()
    },
  }
}

interface Join {
  /** @returns what went wrong */
  take(values: Float32Array, results: ChainResult[]): Promise<EngineError | undefined>
  reset(): void
}

function joinOf({ graph, link, pipelines, next }: PlanNode, sessions: ReadonlyMap<string, EngineSession>): Join {
  const session = present(sessions.get(graph), `the session of graph ${graph}`)
  const joins = next.map((node) => joinOf(node, sessions))
  const rows = link === null ? undefined : createRows(link)
  const run = async (window: Float32Array, results: ChainResult[]): Promise<EngineError | undefined> => {
    const result = await session.run(window)
    if (!result.ok) return { ...result.error, detail: `graph "${graph}": ${result.error.detail}` }
    if (pipelines.length > 0) results.push({ pipelines, output: result.value, input: window })
    for (const join of joins) {
      const error = await join.take(result.value, results)
      if (error !== undefined) return error
    }
    return undefined
  }
  return {
    async take(values, results) {
      if (rows === undefined) return run(values, results)
      for (let at = 0; at < values.length; ) {
        at += rows.push(values, at)
        if (!rows.isDue()) continue
        // The newest window stays as it is for who reads the result: the next rows come into the same memory.
        const error = await run(rows.window().slice(), results)
        if (error !== undefined) return error
      }
      return undefined
    },
    reset() {
      session.reset?.()
      rows?.reset()
      for (const join of joins) join.reset()
    },
  }
}

/** The newest rows of what a graph gives. */
interface Rows {
  /** Takes whole rows up to the next window. @returns how many values; never none while there are some */
  push(values: Float32Array, from: number): number
  /** Whether a window is due; asking makes the next one due a step later. */
  isDue(): boolean
  window(): Float32Array
  reset(): void
}

function createRows({ rowValues, rows, step, divisor, offset, fill }: PipelineLink): Rows {
  const kept = new Float32Array(rows * rowValues)
  const missing = fill === null ? rows : Math.min(rows, step)
  const at = { missing }
  kept.fill(fill ?? 0)
  return {
    push(values, from) {
      const count = Math.min(at.missing, (values.length - from) / rowValues)
      // Rows beyond a window's own are passed over by the next.
      const last = Math.min(count, rows)
      const first = from + (count - last) * rowValues
      kept.copyWithin(0, last * rowValues)
      for (let i = 0; i < last * rowValues; i++) {
        kept[(rows - last) * rowValues + i] = Math.fround(values[first + i]! / divisor) + offset
      }
      at.missing -= count
      return count * rowValues
    },
    isDue() {
      if (at.missing > 0) return false
      at.missing = step
      return true
    },
    window: () => kept,
    reset() {
      kept.fill(fill ?? 0)
      at.missing = missing
    },
  }
}
