/** Feature windows of an endless stream, one every `hopFrames` frames of the front end. The caller pulls, because engines are asynchronous:
 *
 *      for (let at = 0; at < chunk.length; ) {
 *        at += stream.push(chunk, at)
 *        if (stream.windowReady()) stream.takeWindow(features)
 *      } */
export type FeatureStream = {
  readonly hopSamples: number
  /** Takes samples until they are used up or a window is due, whichever comes first.
   *  @param samples mono at the rate of the definition, in [-1, 1)
   *  @param from first sample to take, default 0
   *  @returns how many were taken; 0 while a window is due and not yet taken or skipped */
  readonly push: (samples: Float32Array, from?: number) => number
  /** Whether a window is due. */
  readonly windowReady: () => boolean
  /** Writes the due window, frame by frame, into `out`.
   *  @throws Error when no window is due: a caller's bug */
  readonly takeWindow: (out: Float32Array) => void
  /** Drops the due window, for a gate that found nothing to listen to. */
  readonly skipWindow: () => void
  /** Samples since the start or the last reset; the due window ends with the newest. */
  readonly samplesTaken: () => number
  /** Root mean square of the whole due (or last) window, of vectors less the mean of each channel: level for the noise floor's histogram. */
  readonly windowRms: () => number
  /** Root mean square of the newest hop alone: what a voice activity gate looks at. */
  readonly hopRms: () => number
  /** Forgets all audio, as after a gap in the input. */
  readonly reset: () => void
}
