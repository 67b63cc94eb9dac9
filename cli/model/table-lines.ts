/** Columns for people: each as wide as its widest cell. Names come from files that nobody has checked, so what would steer a terminal is shown
 *  as a replacement character.
 *  @param sides a letter for each column, l or r; the last column is not padded */
export function tableLines(rows: readonly (readonly string[])[], sides: string): string[] {
  const shown = rows.map((row) => row.map((cell) => cell.replace(/\p{Cc}/gu, '\ufffd')))
  const widths = [...sides].map((_, column) => Math.max(...shown.map((row) => (row[column] ?? '').length)))
  return shown.map((row) =>
    row
      .map((cell, column) =>
        sides[column] === 'r' ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
}
