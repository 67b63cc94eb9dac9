import type { ModelPlan, Placement } from '../../model/plan/arena-planner.ts'

/** What is drawn: a plan under a title. */
export interface PicturedPlan {
  readonly title: string
  readonly plan: Pick<ModelPlan, 'arenaBytes' | 'lowerBoundBytes' | 'placements' | 'steps' | 'inputs'>
}

const WIDTH = 1_120
const LEFT = 86
const RIGHT = 190
const PLOT_WIDTH = WIDTH - LEFT - RIGHT
const PLOT_HEIGHT = 420
const TOP = 46
const BOTTOM = 150
const PANEL_HEIGHT = TOP + PLOT_HEIGHT + BOTTOM
/** Of a letter of the picture's fonts, in pixels: what decides whether a label fits its rectangle. */
const LETTER = 6.2
/** Told apart by people who see few colours too; a buffer's colour says nothing but which buffer it is. */
const COLOURS = ['#4477aa', '#66ccee', '#228833', '#ccbb44', '#ee6677', '#aa3377', '#bbbbbb', '#dd8844']
/** Chosen: more operator names than this become unreadable, so only every n-th is written. */
const NAMES_MAX = 48

/** Draws plans of an arena over time, one under the other: steps from left to right, bytes upwards, each buffer a rectangle from the kernel
 *  that makes it to the last that reads it, at its offset. The arena's end and the lower bound are lines.
 *  @returns an SVG document without scripts, fonts or links */
export function arenaSvg(plans: readonly PicturedPlan[]): string {
  const height = PANEL_HEIGHT * plans.length
  const panels = plans.map((it, at) => `<g transform="translate(0 ${at * PANEL_HEIGHT})">\n${panel(it)}\n</g>`)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11" fill="#222222">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...panels,
    '</svg>',
    '',
  ].join('\n')
}

function panel({ title, plan }: PicturedPlan): string {
  const { arenaBytes, lowerBoundBytes, placements, steps, inputs } = plan
  const columns = Math.max(1, steps.length)
  // An eighth above the arena, so that its line does not touch the frame.
  const top = Math.max(16, (arenaBytes * 9) / 8)
  const x = (step: number): number => LEFT + (PLOT_WIDTH * step) / columns
  const y = (bytes: number): number => TOP + PLOT_HEIGHT - (PLOT_HEIGHT * bytes) / top
  const each = Math.ceil(columns / NAMES_MAX)
  const tick = niceTick(top / 6)
  const ticks = Array.from({ length: Math.floor(top / tick) + 1 }, (_, index) => index * tick)
  const marks = [
    mark(y(arenaBytes), `arena ${arenaBytes}`, '#bb1111', '', -1),
    mark(y(lowerBoundBytes), `lower bound ${lowerBoundBytes}`, '#1144bb', ' stroke-dasharray="6 4"', 1),
  ]
  return [
    `<text x="${LEFT}" y="22" font-size="15">${escaped(title)}</text>`,
    `<text x="${LEFT}" y="38" fill="#666666">bytes of the arena over the steps of one run</text>`,
    ...ticks.map(
      (bytes) =>
        `<line x1="${LEFT}" x2="${LEFT + PLOT_WIDTH}" y1="${fixed(y(bytes))}" y2="${fixed(y(bytes))}" stroke="#eeeeee"/>` +
        `<text x="${LEFT - 8}" y="${fixed(y(bytes) + 4)}" text-anchor="end" fill="#666666">${bytes}</text>`,
    ),
    ...placements.map((placement, index) =>
      rectangle(placement, index, index < inputs ? 'input' : (steps[placement.firstUse]?.opType ?? ''), x, y),
    ),
    `<path d="M${LEFT} ${TOP}V${TOP + PLOT_HEIGHT}H${LEFT + PLOT_WIDTH}" fill="none" stroke="#222222"/>`,
    ...steps.flatMap(({ opType }, step) => {
      if (step % each !== 0) return []
      const at = `${fixed(x(step + 0.5))} ${TOP + PLOT_HEIGHT + 12}`
      return [
        `<text transform="translate(${at}) rotate(-60)" text-anchor="end">${step} ${escaped(short(opType, 20))}</text>`,
      ]
    }),
    ...marks,
  ].join('\n')
}

function rectangle(
  { name, bytes, offset, firstUse, lastUse }: Placement,
  index: number,
  maker: string,
  x: (step: number) => number,
  y: (bytes: number) => number,
): string {
  const [left, width] = [x(firstUse), x(lastUse + 1) - x(firstUse)]
  const [up, height] = [y(offset + bytes), y(offset) - y(offset + bytes)]
  const colour = COLOURS[index % COLOURS.length] ?? '#bbbbbb'
  const about = `${name}: ${bytes} bytes at ${offset}, made by ${maker || 'nobody'}, steps ${firstUse} to ${lastUse}`
  // The longest of these that fits is written: the picture is of sizes, and a name that is cut short helps nobody.
  const label = [`${maker} ${bytes}`, String(bytes)].find((text) => text.length * LETTER < width - 6) ?? ''
  const written =
    label !== '' && height >= 12
      ? `<text x="${fixed(left + width / 2)}" y="${fixed(up + height / 2 + 4)}" text-anchor="middle">${escaped(label)}</text>`
      : ''
  return (
    `<g><title>${escaped(about)}</title><rect x="${fixed(left)}" y="${fixed(up)}" width="${fixed(width)}" height="${fixed(height)}" ` +
    `fill="${colour}" fill-opacity="0.55" stroke="#222222" stroke-width="0.6"/>${written}</g>`
  )
}

/** @param side 1 writes the label below the line, -1 above, so that two lines at one height can both be read */
function mark(at: number, label: string, colour: string, dashes: string, side: 1 | -1): string {
  const [from, to] = [LEFT, LEFT + PLOT_WIDTH]
  return (
    `<line x1="${from}" x2="${to}" y1="${fixed(at)}" y2="${fixed(at)}" stroke="${colour}" stroke-width="1.5"${dashes}/>` +
    `<text x="${to + 8}" y="${fixed(at + (side === 1 ? 13 : -4))}" fill="${colour}">${label}</text>`
  )
}

/** 1, 2 or 5 times a power of ten, of about the size given. */
function niceTick(about: number): number {
  const power = 10 ** Math.floor(Math.log10(about))
  const factor = [1, 2, 5, 10].find((it) => it * power >= about) ?? 10
  return Math.max(1, factor * power)
}

const fixed = (value: number): string => value.toFixed(1)
const short = (text: string, letters: number): string =>
  text.length <= letters ? text : `${text.slice(0, letters - 1)}…`

/** Names come from a file that nobody has checked: what XML forbids even as a reference becomes a replacement character. */
const escaped = (text: string): string =>
  text
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`)
