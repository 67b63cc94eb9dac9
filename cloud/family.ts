import { type ContractError, contractError } from '../contract/errors.ts'
import { err, ok, type Result } from '../contract/result.ts'
import { DEFAULT_FAMILY } from './store/model-store.ts'
import type { Store } from './store/store.ts'

/** The family where none is said: the only one that there is, else the one of before families, `default`.
 *  @param families that have a release
 *  @returns `invalid-request` where there are several and none has that name: which is meant is not guessed */
export function unsaidFamily(families: readonly string[]): Result<string, ContractError> {
  const [only = DEFAULT_FAMILY, ...others] = families
  if (others.length === 0) return ok(only)
  if (families.includes(DEFAULT_FAMILY)) return ok(DEFAULT_FAMILY)
  return err(contractError('invalid-request', `say which family: there are ${families.join(', ')}`))
}

/** The family that a device which is claimed or imported is to follow: what is said, else what it follows, else that of the release it
 *  comes with, else `unsaidFamily`.
 *  @param wish `model`: name of the release that it comes with
 *  @returns `conflict` (it follows another, or the release is of another), `not-found` (no such release or family), `invalid-request` */
export function familyOfDevice(
  { devices, models }: Pick<Store, 'devices' | 'models'>,
  wish: {
    readonly device?: string | undefined
    readonly family?: string | undefined
    readonly model?: string | undefined
  },
): Result<string, ContractError> {
  const families = models.families()
  const release = wish.model === undefined ? undefined : models.byName(wish.model)
  if (wish.model !== undefined && release === undefined) {
    return err(contractError('not-found', `no release "${wish.model}"`))
  }
  const device = wish.device === undefined ? undefined : devices.byName(wish.device)
  const own = device?.enrolledMs == null ? undefined : device.family
  if (own !== undefined && wish.family !== undefined && own !== wish.family) {
    return err(
      contractError(
        'conflict',
        `${wish.device} follows ${own}, not ${wish.family}: "kinglet device move-family" moves it`,
      ),
    )
  }
  const said = wish.family ?? own ?? release?.family
  const chosen = said === undefined ? unsaidFamily(families) : ok(said)
  if (!chosen.ok) return chosen
  const family = chosen.value
  if (own === undefined && !families.includes(family) && (families.length > 0 || family !== DEFAULT_FAMILY)) {
    return err(contractError('not-found', noFamily(family, families)))
  }
  if (release !== undefined && release.family !== family) {
    return err(
      contractError('conflict', `${release.name} is of family ${release.family}, the device follows ${family}`),
    )
  }
  return ok(family)
}

/** Why there is no such family, and what there is. */
export const noFamily = (family: string, families: readonly string[]): string =>
  families.length === 0
    ? `no family "${family}": there is none before a release of it is added`
    : `no release is of family "${family}"; there are ${families.join(', ')}`
