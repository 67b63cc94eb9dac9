import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '../../platform/logger.ts'
import { tightenSecret } from '../../platform/secret-rights.ts'

/** Takes from others what rights they have to the secrets of a cloud's folder, and says so: seeds of keys, whoever put them there, and tokens. */
export function tightenSecrets(dataDir: string, keysDir: string, logger: Logger): void {
  const within = (folder: string, ending: string) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(ending))
      .map((name) => join(folder, name))
  for (const path of [...within(keysDir, '.seed'), ...within(dataDir, '.token')]) {
    const warning = tightenSecret(path)
    if (warning !== undefined) logger.warn({ path }, warning)
  }
}
