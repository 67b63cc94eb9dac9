import type { SqliteDatabase } from './database.ts'
import type { GatePolicy } from './gate-policy.ts'
import type { GateReading, Verdict } from './gate-reading.ts'
import { unpackInput } from './packed-input.ts'

export interface KeptReading {
  readonly atMs: number
  readonly verdict: Verdict
  readonly reading: GateReading
}

/** Everything that is needed to compute a reading again. */
export interface ReadingWithInput extends KeptReading {
  readonly policy: GatePolicy
  /** `GateInput` of `rollout/gate.ts`; null: of a fleet that is too large for it, packed-input.ts */
  readonly input: unknown
}

interface Row {
  at_ms: number
  verdict: Verdict
  reading: string
}

const toKept = ({ at_ms, verdict, reading }: Row): KeptReading => ({
  atMs: at_ms,
  verdict,
  reading: JSON.parse(reading) as GateReading,
})

/** What gates said, with what they were computed from. */
export class ReadingStore {
  readonly #db: SqliteDatabase
  constructor(db: SqliteDatabase) {
    this.#db = db
  }

  newest(rollout: string): { readonly atMs: number; readonly verdict: Verdict } | undefined {
    const row = this.#db
      .prepare<[string], Row>('SELECT * FROM gate_readings WHERE rollout = ? ORDER BY at_ms DESC LIMIT 1')
      .get(rollout)
    return row && { atMs: row.at_ms, verdict: row.verdict }
  }

  /** @param packedInput see packed-input.ts */
  keep(rollout: string, atMs: number, reading: GateReading, policy: GatePolicy, packedInput: Uint8Array): void {
    this.#db
      .prepare(
        'INSERT OR REPLACE INTO gate_readings (rollout, at_ms, verdict, reading, policy, input) VALUES (?, ?, ?, ?, ?, ?)',
      )
      .run(...[rollout, atMs, reading.verdict, JSON.stringify(reading), JSON.stringify(policy)], packedInput)
  }

  /** Newest first, before a moment. @param limit at most this many */
  list(rollout: string, beforeMs: number, limit: number): readonly KeptReading[] {
    return this.#db
      .prepare<[string, number, number], Row>(
        'SELECT at_ms, verdict, reading FROM gate_readings WHERE rollout = ? AND at_ms < ? ORDER BY at_ms DESC LIMIT ?',
      )
      .all(rollout, beforeMs, limit)
      .map(toKept)
  }

  /** The reading of a moment, or the newest. */
  get(rollout: string, atMs?: number): ReadingWithInput | undefined {
    const row = this.#db
      .prepare<[string, number], Row & { policy: string; input: Buffer }>(
        'SELECT * FROM gate_readings WHERE rollout = ? AND at_ms <= ? ORDER BY at_ms DESC LIMIT 1',
      )
      .get(rollout, atMs ?? Number.MAX_SAFE_INTEGER)
    if (row === undefined || (atMs !== undefined && row.at_ms !== atMs)) return undefined
    return { ...toKept(row), policy: JSON.parse(row.policy) as GatePolicy, input: unpackInput(row.input) }
  }
}
