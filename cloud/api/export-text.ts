import type { ExportPage, ExportRow } from '../store/export-store.ts'

export const EXPORT_TYPES = { ndjson: 'application/x-ndjson', csv: 'text/csv; charset=utf-8; header=present' } as const
export type ExportFormat = keyof typeof EXPORT_TYPES

/** What a spreadsheet would compute. @see OWASP "CSV Injection" */
const FORMULA = /^[=+\-@\t\r]/

/** A field of CSV. Text that a spreadsheet would take for a formula gets an apostrophe before it; numbers stay as they are.
 *  @see RFC 4180 section 2 */
function field(value: ExportRow[string] | undefined): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return String(value)
  const text = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

const csvLine = (values: readonly (ExportRow[string] | undefined)[]): string => `${values.map(field).join(',')}\r\n`

/** Streams pages as text, of which one is in memory at a time: the next is read when whoever reads has taken this one.
 *  @param columns of CSV, in order; a row of NDJSON has what it has
 *  @param read a page after a key, '' for the first
 *  @param ended called once: it was read to its end, given up, or a page could not be read */
export function exportStream(
  format: ExportFormat,
  columns: readonly string[],
  read: (after: string) => ExportPage,
  ended: () => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let after: string | null = ''
  let isFirst = true
  let isOver = false
  const over = (): void => {
    if (!isOver) ended()
    isOver = true
  }

  /** The next page that has something in it. */
  async function nextText(): Promise<string> {
    for (; after !== null; ) {
      // What arrived meanwhile is answered before the next page.
      await new Promise<void>((resolve) => setImmediate(resolve))
      if (isOver) return ''
      const page: ExportPage = read(after)
      after = page.next
      const head = isFirst && format === 'csv' ? csvLine(columns) : ''
      isFirst = false
      const lines = page.rows.map((row) =>
        format === 'csv' ? csvLine(columns.map((name) => row[name])) : `${JSON.stringify(row)}\n`,
      )
      const text = head + lines.join('')
      if (text !== '') return text
    }
    return ''
  }

  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const text = await nextText()
          if (isOver) return
          if (text !== '') controller.enqueue(encoder.encode(text))
          if (after !== null) return
          over()
          controller.close()
        } catch (cause) {
          over()
          controller.error(cause)
        }
      },
      cancel: over,
    },
    // Nothing is read ahead.
    { highWaterMark: 0 },
  )
}
