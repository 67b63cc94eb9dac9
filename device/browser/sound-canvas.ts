import { present } from '../../contract/present.ts'
import { BANDS } from './spectrogram.ts'

/** Colours of words; a bundle with more begins again. Chosen: apart in both themes. */
const COLOURS = [
  '#5b8f3a',
  '#d98a00',
  '#3f86c0',
  '#c2507a',
  '#7d62c4',
  '#2f9e93',
  '#a8742c',
  '#d0563f',
  '#6b7f91',
  '#98a820',
]
export const colourOf = (index: number): string => present(COLOURS[index % COLOURS.length], 'a colour')

/** The two pictures of what was heard, which move to the left as sound comes: columns of the spectrogram, and below them the posteriors of the
 *  windows in the same stretch. */
export class SoundCanvas {
  readonly #spectrogram: CanvasRenderingContext2D
  readonly #posteriors: CanvasRenderingContext2D
  #palette: readonly (readonly number[])[] = []
  #last: Float32Array | undefined
  #marked = false

  constructor(spectrogram: HTMLCanvasElement, posteriors: HTMLCanvasElement) {
    this.#spectrogram = present(spectrogram.getContext('2d'), 'a canvas to draw on')
    this.#posteriors = present(posteriors.getContext('2d'), 'a canvas to draw on')
    const theme = matchMedia('(prefers-color-scheme: dark)')
    const mix = (): void => {
      this.#palette = paletteOf(['--quiet-sound', '--mid-sound', '--loud-sound'])
    }
    theme.addEventListener('change', mix)
    mix()
  }

  /** Marks the moment in the next stretch that is drawn. */
  mark(): void {
    this.#marked = true
  }

  /** @param columns of the spectrogram, BANDS bytes each, lowest band first
   *  @param posteriors of the windows that were inferred in the stretch, one a label; none: the gate was shut
   *  @param waking labels that are drawn
   *  @param threshold of a wake, 0 to 1 */
  draw(columns: Uint8Array, posteriors: readonly Float32Array[], waking: readonly number[], threshold: number): void {
    const count = Math.floor(columns.length / BANDS)
    if (count === 0) return
    this.#drawColumns(columns, count)
    this.#drawPosteriors(count, posteriors, waking, threshold)
    this.#marked = false
  }

  #drawColumns(columns: Uint8Array, count: number): void {
    const { canvas } = this.#spectrogram
    this.#spectrogram.drawImage(canvas, -count, 0)
    const image = this.#spectrogram.createImageData(count, canvas.height)
    for (let x = 0; x < count; x++) {
      for (let y = 0; y < canvas.height; y++) {
        const band = Math.floor(((canvas.height - 1 - y) * BANDS) / canvas.height)
        const [red = 0, green = 0, blue = 0] = this.#palette[columns[x * BANDS + band] ?? 0] ?? []
        image.data.set([red, green, blue, 255], 4 * (y * count + x))
      }
    }
    this.#spectrogram.putImageData(image, canvas.width - count, 0)
  }

  #drawPosteriors(
    count: number,
    posteriors: readonly Float32Array[],
    waking: readonly number[],
    threshold: number,
  ): void {
    const context = this.#posteriors
    const { width, height } = context.canvas
    // The picture below has more points than the one above, for lines.
    const shift = count * (width / this.#spectrogram.canvas.width)
    context.globalCompositeOperation = 'copy'
    context.drawImage(context.canvas, -shift, 0)
    context.globalCompositeOperation = 'source-over'
    const y = (share: number) => height - 3 - share * (height - 8)
    const line = (colour: string, wide: number, points: readonly (readonly [number, number])[]): void => {
      context.strokeStyle = colour
      context.lineWidth = wide
      context.beginPath()
      for (const [at, value] of points) context.lineTo(at, y(value))
      context.stroke()
    }
    const soft = getComputedStyle(document.documentElement).getPropertyValue('--soft')
    context.setLineDash([4, 6])
    line(soft, 1, [
      [width - shift, threshold],
      [width, threshold],
    ])
    context.setLineDash([])
    const points = [this.#last, ...posteriors]
    const step = shift / Math.max(1, posteriors.length)
    if (posteriors.length > 0) {
      for (const label of waking) {
        const values = points.flatMap((values, i) =>
          values === undefined ? [] : [[width - shift + i * step, values[label] ?? 0] as const],
        )
        line(colourOf(label), 3, values)
      }
    }
    this.#last = posteriors.at(-1)
    if (this.#marked) {
      const gold = getComputedStyle(document.documentElement).getPropertyValue('--gold')
      line(gold, 3, [
        [width - 2, 0],
        [width - 2, 1],
      ])
    }
  }
}

/** 256 colours through three that the style sheet names, as #rrggbb. */
function paletteOf(names: readonly string[]): readonly (readonly number[])[] {
  const style = getComputedStyle(document.documentElement)
  const stops = names.map((name) =>
    [1, 3, 5].map((at) =>
      Number.parseInt(
        style
          .getPropertyValue(name)
          .trim()
          .slice(at, at + 2),
        16,
      ),
    ),
  )
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1)
    const from = Math.min(stops.length - 2, Math.floor(place))
    const [low = [], high = []] = [stops[from], stops[from + 1]]
    return low.map((value, channel) => Math.round(value + (place - from) * ((high[channel] ?? 0) - value)))
  })
}
