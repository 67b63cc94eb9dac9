import { InvalidArgumentError } from 'commander'
import { RETENTION, type RetentionPolicy } from '../../cloud/store/retention-ages.ts'

/** Chosen: a century; whoever wants "for ever" gets it. */
const DAYS_MAX = 36_500

const isRetained = (name: string): name is keyof RetentionPolicy => Object.hasOwn(RETENTION, name)

/** Parser of `--retain WHAT=DAYS`, which may be repeated. */
export function retainOption(text: string, before: Partial<RetentionPolicy> = {}): Partial<RetentionPolicy> {
  const [, name = '', digits = ''] = /^([a-z-]+)=(\d{1,5})$/.exec(text) ?? []
  if (!isRetained(name)) {
    throw new InvalidArgumentError(`expected WHAT=DAYS, where WHAT is ${Object.keys(RETENTION).join(', ')}.`)
  }
  const days = Number(digits)
  const { least } = RETENTION[name]
  if (days < least || days > DAYS_MAX) throw new InvalidArgumentError(`${name}: expected ${least} to ${DAYS_MAX} days.`)
  return { ...before, [name]: days }
}

/** For `--help`: what has an age, and which. */
export const retainHelp = (): string =>
  [
    'What --retain takes (days unless said otherwise, least days):',
    ...Object.entries(RETENTION).map(
      ([name, { days, least, what }]) =>
        `  ${name.padEnd(12)} ${String(days).padStart(5)} ${String(least).padStart(3)}  ${what}`,
    ),
  ].join('\n')
