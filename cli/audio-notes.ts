/** Chosen: who gives a thousand recordings with as many peculiarities reads no more of them. */
const LINES_MAX = 20

/** What people should know of many recordings, each kind of it once. */
export class AudioNotes {
  readonly #kinds = new Map<string, { readonly first: string; readonly note: string; files: number }>()

  /** @param notes of `readAudio`; they are of one kind when they differ in numbers alone */
  add(file: string, notes: readonly string[]): void {
    for (const note of notes) {
      const kind = note.replaceAll(/\d+(\.\d+)?/g, '#')
      const known = this.#kinds.get(kind)
      if (known === undefined) this.#kinds.set(kind, { first: file, note, files: 1 })
      else known.files++
    }
  }

  /** `FILE: note (and 12 files more)` */
  lines(): readonly string[] {
    const kinds = [...this.#kinds.values()]
    const lines = kinds.slice(0, LINES_MAX).map(({ first, note, files }) => {
      return `${first}: ${note}${files > 1 ? ` (and ${files - 1} file${files === 2 ? '' : 's'} more)` : ''}`
    })
    return kinds.length > LINES_MAX ? [...lines, `… and ${kinds.length - LINES_MAX} kinds of notes more`] : lines
  }
}
