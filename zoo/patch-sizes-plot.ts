/** What zoo/patch-sizes.ts measures, and docs/patch-sizes.json holds. */
export type PatchSizes = {
  readonly command: string
  readonly seed: number
  /** The deployed network: patches are from its bundle. */
  readonly base: string
  readonly clips: number
  readonly noiseDraws: number
  /** By patch bytes; the base itself and the dense fine-tune are among them. */
  readonly settings: readonly {
    readonly name: string
    readonly changedWeightsPercent: number
    readonly changedBiases: number
    /** largest change of a weight, in int8 steps */
    readonly largestStep: number
    readonly patchBytes: { readonly bundle: number; readonly onnx: number }
    /** compact full images, which need no base */
    readonly fullBytes: { readonly bundle: number; readonly onnx: number }
    /** shares of the held-out clips; `zeroDb` in the noises of the cards, `zeroDbManyDraws` the mean over other draws */
    readonly accuracy: { readonly quiet: number; readonly zeroDb: number; readonly zeroDbManyDraws: number }
  }[]
}

const WIDTH = 860
const PLOT = { left: 64, right: 830, gap: 58, panel: 250, top: 44 }
const REFERENCES = ['kws-1', 'kws-2']
const QUARTER = 0.25
/** Points nearer than this have labels that may touch; chosen: the width of a label. */
const NEIGHBOUR = 90

const PANELS = [
  { title: 'as recorded', of: ({ accuracy }: Setting) => accuracy.quiet },
  { title: 'in noise at 0 dB, mean of many draws', of: ({ accuracy }: Setting) => accuracy.zeroDbManyDraws },
] as const
type Setting = PatchSizes['settings'][number]

const text = (x: number, y: number, content: string, more = '') =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`
const line = (x1: number, y1: number, x2: number, y2: number, more: string) =>
  `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" ${more}/>`

/** Draws patch bytes (log) against accuracy, one panel in quiet and one in noise.
 *  @returns an SVG document */
export const plotPatchSizes = (sizes: PatchSizes): string => {
  const retrained = sizes.settings.filter(({ name }) => name !== sizes.base)
  const bytes = retrained.map(({ patchBytes }) => patchBytes.bundle)
  const quarter = QUARTER * retrained.find(({ name }) => name === 'kws-2')!.fullBytes.bundle
  const [low, high] = [Math.log(Math.min(...bytes, quarter) / 1.3), Math.log(Math.max(...bytes, quarter) * 1.3)]
  const x = (value: number) => PLOT.left + ((Math.log(value) - low) / (high - low)) * (PLOT.right - PLOT.left)
  const ticks = [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000].filter(
    (value) => Math.log(value) >= low && Math.log(value) <= high,
  )
  const panels = PANELS.map(({ title, of }, index) => {
    const top = PLOT.top + index * (PLOT.panel + PLOT.gap)
    const bottom = top + PLOT.panel
    const shares = sizes.settings.map(of)
    const [least, most] = [
      Math.floor(Math.min(...shares) * 50 - 0.5) / 50,
      Math.ceil(Math.max(...shares) * 50 + 0.5) / 50,
    ]
    const y = (share: number) => bottom - ((share - least) / (most - least)) * PLOT.panel
    const grid: number[] = []
    for (let share = least; share <= most + 1e-9; share += 0.02) grid.push(share)
    // Labels of neighbours would lie on each other: the higher point has its label above, the lower one below.
    const isBelow = (setting: Setting) => {
      const away = (other: Setting) => Math.abs(x(other.patchBytes.bundle) - x(setting.patchBytes.bundle))
      const others = retrained.filter((other) => other !== setting && away(other) < NEIGHBOUR)
      const nearest = others.sort((a, b) => away(a) - away(b))[0]
      if (nearest === undefined) return false
      if (of(nearest) === of(setting)) return nearest.patchBytes.bundle < setting.patchBytes.bundle
      return of(nearest) > of(setting)
    }
    const points = retrained.map((setting) => {
      const [cx, cy] = [x(setting.patchBytes.bundle), y(of(setting))]
      const anchor = cx > PLOT.right - 60 ? 'end' : 'middle'
      return (
        `<circle cx="${cx.toFixed(1)}" cy="${cy.toFixed(1)}" r="4" fill="#1f6f8b"/>` +
        text(cx, cy + (isBelow(setting) ? 18 : -9), setting.name, `text-anchor="${anchor}"`)
      )
    })
    return [
      text(PLOT.left, top - 10, `Accuracy on ${sizes.clips} clips of unseen speakers, ${title}`, 'font-weight="bold"'),
      ...grid.map(
        (share) =>
          line(PLOT.left, y(share), PLOT.right, y(share), 'stroke="#e4e4e4"') +
          text(PLOT.left - 8, y(share) + 4, `${Math.round(share * 100)} %`, 'text-anchor="end"'),
      ),
      ...sizes.settings
        .filter(({ name }) => REFERENCES.includes(name))
        .map(
          (setting) =>
            line(PLOT.left, y(of(setting)), PLOT.right, y(of(setting)), 'stroke="#888" stroke-dasharray="5 4"') +
            text(PLOT.left + 4, y(of(setting)) - 4, setting.name, 'fill="#666"'),
        ),
      line(x(quarter), top, x(quarter), bottom, 'stroke="#c0392b"'),
      text(x(quarter) + 5, bottom - 6, '¼ of the full image', 'fill="#c0392b"'),
      line(PLOT.left, bottom, PLOT.right, bottom, 'stroke="#333"'),
      ...ticks.map(
        (value) =>
          line(x(value), bottom, x(value), bottom + 4, 'stroke="#333"') +
          text(x(value), bottom + 17, value.toLocaleString('en-GB').replaceAll(',', ' '), 'text-anchor="middle"'),
      ),
      ...points,
    ].join('\n')
  })
  const height = PLOT.top + PANELS.length * (PLOT.panel + PLOT.gap) + 16
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#222">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    ...panels,
    text(
      (PLOT.left + PLOT.right) / 2,
      height - 8,
      `bytes of the patch from ${sizes.base}'s bundle`,
      'text-anchor="middle"',
    ),
    '</svg>',
  ].join('\n')}\n`
}
