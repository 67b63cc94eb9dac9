import type { SqliteDatabase } from './database.ts'
import { HELD_OUT_SQL } from './gateway-store.ts'

/** Marks those of a rollout's devices for signing whose target changes. Whose model a person has chosen meanwhile, keeps it.
 *  @param set what each is to run: target, rollout, stage and arm of its next assignment @param where of `devices` and their rows `r` */
const retarget = (set: readonly [target: string, rollout: string, stage: string, arm: string], where: string): string =>
  `UPDATE devices SET (target, rollout, stage, arm, dirty) = (${set.join(', ')}, 1) FROM rollout_devices r
   WHERE r.rollout = @rollout AND r.device = devices.id AND r.left_ms IS NULL AND devices.pinned = 0 AND ${where}`

const NEWEST_MODEL = '(SELECT model FROM boots b WHERE b.device = r.device ORDER BY boot DESC LIMIT 1)'

/** What the devices of a rollout are to run, for all of them in one statement: a fleet of a million is not gone through one by one. */
export class MemberTargets {
  readonly #takeBack
  readonly #hold
  readonly #goOn
  readonly #expose
  readonly #control

  constructor(db: SqliteDatabase) {
    this.#takeBack = db.prepare<[{ rollout: string }]>(
      retarget(['r.previous', 'NULL', '0', "'none'"], 'r.stage IS NOT NULL'),
    )
    this.#hold = db.prepare<[{ rollout: string; model: string }]>(
      retarget(
        ['r.previous', '@rollout', 'r.stage', "'canary'"],
        `r.stage IS NOT NULL AND ${NEWEST_MODEL} IS NOT @model`,
      ),
    )
    this.#goOn = db.prepare<[{ rollout: string; release: number }]>(
      retarget(
        ['@release', '@rollout', 'r.stage', "'canary'"],
        'r.stage IS NOT NULL AND devices.target IS NOT @release',
      ),
    )
    this.#expose = db.prepare<[{ rollout: string; release: number; stage: number }]>(
      retarget(['@release', '@rollout', '@stage', "'canary'"], 'r.stage = @stage'),
    )
    this.#control = db.prepare<[{ rollout: string; stage: number }]>(
      retarget(
        ['r.previous', '@rollout', '@stage', "'control'"],
        `r.stage IS NULL AND (@stage = 1 OR r.late = 1) AND NOT ${HELD_OUT_SQL('r.device')}`,
      ),
    )
  }

  /** Who was exposed goes back to what it ran before. */
  takeBack(rollout: string): void {
    this.#takeBack.run({ rollout })
  }

  /** Who was exposed and by its newest report runs something else than the model stays on what it runs. */
  hold(rollout: string, model: string): void {
    this.#hold.run({ rollout, model })
  }

  /** Undoes it. @param release of the rollout */
  goOn(rollout: string, release: number): void {
    this.#goOn.run({ rollout, release })
  }

  /** Who is exposed by a stage gets the release. */
  expose(rollout: string, stage: number, release: number): void {
    this.#expose.run({ rollout, stage, release })
  }

  /** Who stays learns that it is control, once, when it becomes it: the gateway's aggregates are split by it. */
  control(rollout: string, stage: number): void {
    this.#control.run({ rollout, stage })
  }
}
