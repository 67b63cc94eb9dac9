import { Command } from 'commander'
import type { Clock } from '../contract/clock.ts'
export function deviceCommand(_clock: Clock): Command {
  return new Command('device')
}
