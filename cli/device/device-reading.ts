import { labelsOf } from '../../contract/head.ts'
import type { BundleManifest } from '../../contract/manifest.ts'
import type { Reading } from '../../device/core/listen/heard.ts'

/** What a pipeline says that wakes nobody: the best label of a classification, or a number. */
export interface ReadingWords {
  readonly fields: Readonly<Record<string, string | number>>
  readonly sentence: string
  /** what stays the same as long as nothing new is said */
  readonly key: string
}

/** @param manifest whose pipeline it is */
export function readingWords({ pipeline, label, value }: Reading, { pipelines }: BundleManifest): ReadingWords {
  const { id = '', head } = pipelines[pipeline] ?? {}
  const own = pipelines.length > 1 ? `${id}: ` : ''
  if (label !== undefined && head !== undefined) {
    const name = labelsOf(head)[label] ?? '?'
    const posterior = Number(value.toFixed(3))
    return {
      fields: { pipeline: id, label: name, posterior },
      sentence: `${own}${name.padEnd(8)} ${posterior.toFixed(3)}`,
      key: `${pipeline} ${name}`,
    }
  }
  const unit = head?.kind === 'regression' ? head.unit : ''
  const rounded = Number(value.toPrecision(6))
  return { fields: { pipeline: id, value: rounded, unit }, sentence: `${own}${rounded} ${unit}`, key: `${pipeline}` }
}
