import { LADDER_LEVELS } from '../../contract/ladder-levels.ts'
import { boardNamed } from '../../model/boards.ts'
import { radioNamed } from '../core/power/energy.ts'
import type { PageSettings } from './messages.ts'

/** Chosen: two AA cells hold about 20 kJ. */
const CELL_MJ = 20_000_000

const DEFAULT_SETTINGS: PageSettings = {
  board: 'NUCLEO-U575ZI',
  radio: 'wifi',
  level: 'full',
  engine: 'onnxruntime',
  power: { kind: 'mains' },
  days: 30,
  device: '',
  site: '',
  token: '',
}

const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
const text = (value: unknown): string => (typeof value === 'string' ? value.slice(0, 4_096) : '')
const positive = (value: unknown, otherwise: number): number => {
  const number = typeof value === 'string' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) && number > 0 ? number : otherwise
}

/** Settings from what a page remembers or a form holds: whatever is not there, or makes no sense, is as at first.
 *  @param value parsed JSON, or fields of the form (`power` as the name of its kind, `joule`) */
export function readSettings(value: unknown): PageSettings {
  const given = record(value)
  const power = record(given.power)
  const kind = typeof given.power === 'string' ? given.power : power.kind
  const capacityMj = positive(power.capacityMj ?? positive(given.joule, CELL_MJ / 1000) * 1000, CELL_MJ)
  const level = LADDER_LEVELS.find((name) => name === given.level && name !== 'hibernate')
  return {
    board: boardNamed(text(given.board))?.name ?? DEFAULT_SETTINGS.board,
    radio: radioNamed(text(given.radio))?.name ?? DEFAULT_SETTINGS.radio,
    level: level ?? DEFAULT_SETTINGS.level,
    engine: given.engine === 'tiny' ? 'tiny' : 'onnxruntime',
    power: kind === 'cell' || kind === 'gauge' ? { kind, capacityMj } : { kind: 'mains' },
    days: positive(given.days, DEFAULT_SETTINGS.days),
    device: text(given.device).trim(),
    site: text(given.site).trim(),
    token: text(given.token).trim(),
  }
}
