import type { Interval } from './intervals.ts'

const WIDTH = 900
const HEIGHT = 560
const PLOT = { left: 70, top: 70, right: 720, bottom: 490 }
/** Told apart by people who see few colours too. */
const COLOURS = ['#4477aa', '#66ccee', '#228833', '#ccbb44', '#ee6677', '#aa3377', '#888888', '#dd8844']
/** Left of the least rate that can be counted stands what has none at all. */
const NONE_GAP = 40

/** A setting of a detector and what it costs. */
export interface DrawnPoint {
  readonly smoothingWindows: number
  /** on the scale on which it is set */
  readonly threshold: number
  readonly missShare: number
  readonly missInterval: Interval
  readonly falsePerHour: number
  readonly falseInterval: Interval
}

export interface CurveDrawing {
  readonly title: string
  readonly subtitle: string
  /** of the two axes */
  readonly falseWords: string
  readonly missWords: string
  readonly negativeHours: number
  readonly maxFalsePerHour: number
  readonly own: DrawnPoint
  readonly proposal: DrawnPoint | null
  readonly points: readonly DrawnPoint[]
}

/** Draws misses against false events an hour, a line for each number of windows, and the bundle's own setting and the proposed one with
 *  their intervals.
 *  @returns an SVG document without scripts, fonts or links */
export function curveSvg(drawing: CurveDrawing): string {
  const { points, own, proposal, negativeHours, maxFalsePerHour } = drawing
  const least = 1 / negativeHours
  const most = Math.max(10 * least, ...points.map(({ falsePerHour }) => falsePerHour))
  const decades = { from: Math.floor(Math.log10(least)), to: Math.ceil(Math.log10(most)) }
  const logLeft = PLOT.left + NONE_GAP
  const x = (perHour: number): number => {
    if (perHour <= 0) return PLOT.left + NONE_GAP / 3
    const share = (Math.log10(perHour) - decades.from) / (decades.to - decades.from)
    return logLeft + Math.min(1, Math.max(0, share)) * (PLOT.right - logLeft)
  }
  const y = (share: number): number => PLOT.bottom - share * (PLOT.bottom - PLOT.top)
  const smoothing = [...new Set(points.map(({ smoothingWindows }) => smoothingWindows))]
  const marked: readonly (readonly [DrawnPoint, string, string])[] = [
    [own, 'as packed', '#000000'],
    ...(proposal === null ? [] : [[proposal, 'proposed', '#bb1111'] as const]),
  ]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#222222">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(PLOT.left, 28, drawing.title, 'font-size="16"'),
    text(PLOT.left, 48, drawing.subtitle, 'fill="#666666"'),
    ...rateTicks(decades, x),
    ...[0, 0.2, 0.4, 0.6, 0.8, 1].flatMap((share) => [
      line(PLOT.left, y(share), PLOT.right, y(share), 'stroke="#eeeeee"'),
      text(PLOT.left - 8, y(share) + 4, `${100 * share} %`, 'text-anchor="end" fill="#666666"'),
    ]),
    line(x(maxFalsePerHour), PLOT.top, x(maxFalsePerHour), PLOT.bottom, 'stroke="#bb1111" stroke-dasharray="6 4"'),
    text(x(maxFalsePerHour) + 5, PLOT.top + 12, `wanted: ${maxFalsePerHour} an hour`, 'fill="#bb1111"'),
    ...smoothing.flatMap((windows, i) => {
      const some = points.filter(({ smoothingWindows }) => smoothingWindows === windows)
      const path = some.map((point) => `${fixed(x(point.falsePerHour))} ${fixed(y(point.missShare))}`).join('L')
      const colour = COLOURS[i % COLOURS.length]
      const at = PLOT.top + 16 + 20 * i
      return [
        `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="1.6"/>`,
        line(PLOT.right + 16, at - 4, PLOT.right + 40, at - 4, `stroke="${colour}" stroke-width="3"`),
        text(PLOT.right + 46, at, `mean of ${windows} window${windows === 1 ? '' : 's'}`),
      ]
    }),
    ...marked.flatMap(([point, name, colour], i) => cross(point, name, colour, i, x, y)),
    `<path d="M${PLOT.left} ${PLOT.top}V${PLOT.bottom}H${PLOT.right}" fill="none" stroke="#222222"/>`,
    text((PLOT.left + PLOT.right) / 2, PLOT.bottom + 42, drawing.falseWords, 'text-anchor="middle"'),
    `<text transform="translate(20 ${(PLOT.top + PLOT.bottom) / 2}) rotate(-90)" text-anchor="middle">${drawing.missWords}</text>`,
    '</svg>',
    '',
  ].join('\n')
}

function rateTicks({ from, to }: { readonly from: number; readonly to: number }, x: (perHour: number) => number) {
  const none = [
    text(x(0), PLOT.bottom + 18, 'none', 'text-anchor="middle" fill="#666666"'),
    line(x(0), PLOT.top, x(0), PLOT.bottom, 'stroke="#eeeeee"'),
  ]
  const ticks = Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i)).flatMap((perHour) => [
    line(x(perHour), PLOT.top, x(perHour), PLOT.bottom, 'stroke="#eeeeee"'),
    text(x(perHour), PLOT.bottom + 18, String(Number(perHour.toPrecision(1))), 'text-anchor="middle" fill="#666666"'),
  ])
  return [...none, ...ticks]
}

/** A setting with its intervals, and its name beside the plot. */
function cross(
  point: DrawnPoint,
  name: string,
  colour: string,
  at: number,
  x: (perHour: number) => number,
  y: (share: number) => number,
): readonly string[] {
  const { falsePerHour, falseInterval, missShare, missInterval, threshold, smoothingWindows } = point
  const stroke = `stroke="${colour}" stroke-width="1.5"`
  const legend = PLOT.bottom - 60 + 44 * at
  return [
    line(x(falseInterval.low), y(missShare), x(falseInterval.high), y(missShare), stroke),
    line(x(falsePerHour), y(missInterval.low), x(falsePerHour), y(missInterval.high), stroke),
    `<circle cx="${fixed(x(falsePerHour))}" cy="${fixed(y(missShare))}" r="5" fill="${colour}"/>`,
    `<circle cx="${PLOT.right + 26}" cy="${legend - 4}" r="5" fill="${colour}"/>`,
    text(PLOT.right + 38, legend, name),
    text(PLOT.right + 38, legend + 16, `${threshold} over ${smoothingWindows}`, 'fill="#666666"'),
  ]
}

const fixed = (value: number): string => value.toFixed(1)
const line = (x1: number, y1: number, x2: number, y2: number, style: string): string =>
  `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" ${style}/>`
const text = (x: number, y: number, words: string, style = ''): string =>
  `<text x="${fixed(x)}" y="${fixed(y)}" ${style}>${words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`
