import type { ContractError } from '../../contract/errors.ts'
import { err, ok, type Result } from '../../contract/result.ts'
import type { TargetFile } from '../../contract/tuf/metadata.ts'
import type { Fetched } from '../../contract/tuf/metadata-fetch.ts'
import type { CycleResult, UpdateCycle } from '../../contract/tuf/update-cycle.ts'
import { readPast } from '../../platform/bounded-body.ts'
import { type Patience, patientFetch } from '../../platform/patient-fetch.ts'

/** Where metadata or targets come from, by file name. */
export type FileSource = (file: string, maxBytes: number) => Promise<Fetched>

/** chosen: a metadata file is at most 5 MB, which 200 kbit/s carries in 200 s; less than that is an attack (slow retrieval), which gets no
 *  second try. */
const PATIENCE: Patience = {
  attemptsMax: 3,
  firstPauseMs: 500,
  pauseMsMax: 5_000,
  attemptMs: 200_000,
  totalMs: 200_000,
}

/** Files below an HTTP address. Reads no more than `maxBytes` and one chunk; what is longer comes back longer, to be refused.
 *  @param base address of a folder, with or without the last slash
 *  @param chance uniform in [0, 1), for the pauses before what failed is tried again
 */
export function httpSource(base: string, chance: () => number = () => 0.5): FileSource {
  const folder = base.endsWith('/') ? base : `${base}/`
  return async (file, maxBytes) => {
    const url = folder + file
    const read = async (response: Response): Promise<Fetched> => {
      // A bucket whose content may not be listed answers 403 where there is nothing; python-tuf and tuf-js read it so too.
      if (response.status === 404 || response.status === 403) {
        await response.body?.cancel()
        return 'not-found'
      }
      if (!response.ok) {
        await response.body?.cancel()
        return 'unavailable'
      }
      return readPast(response.body, maxBytes)
    }
    try {
      return await patientFetch({ url, method: 'GET', repeatable: true, patience: PATIENCE, chance }, read)
    } catch {
      return 'unavailable'
    }
  }
}

/** Drives a cycle to its end.
 *  @param keep called with what is trusted whenever that has changed, so that a process which dies keeps what it verified
 */
export async function runCycle(
  cycle: UpdateCycle,
  source: FileSource,
  keep: (result: CycleResult) => Promise<void>,
): Promise<Result<CycleResult, ContractError>> {
  for (let step = cycle.next(); ; step = cycle.next()) {
    if (step.kind === 'done') return ok(step)
    if (step.kind === 'failed') return err(step.error)
    cycle.received(await source(step.file, step.maxBytes))
    await keep(cycle.result)
  }
}

/** Drives the search for a target to its end. */
export async function runSearch(
  cycle: UpdateCycle,
  path: string,
  source: FileSource,
  keep: (result: CycleResult) => Promise<void>,
): Promise<Result<TargetFile, ContractError>> {
  const search = cycle.findTarget(path)
  for (let step = search.next(); ; step = search.next()) {
    if (step.kind === 'found') return ok(step.target)
    if (step.kind === 'failed') return err(step.error)
    search.received(await source(step.file, step.maxBytes))
    await keep(cycle.result)
  }
}
