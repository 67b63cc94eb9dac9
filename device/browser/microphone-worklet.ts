/** In the audio thread: gathers the microphone's sound, channels averaged, and hands it on by tenths of a second. */

/** What is used of an AudioWorkletGlobalScope, of which the types of pages know nothing.
 *  @see W3C Web Audio API, "AudioWorkletGlobalScope" */
interface WorkletScope {
  readonly sampleRate: number
  readonly AudioWorkletProcessor: new () => { readonly port: { postMessage(data: unknown, transfer: unknown[]): void } }
  registerProcessor(name: string, processor: unknown): void
}
const { sampleRate, AudioWorkletProcessor, registerProcessor } = globalThis as unknown as WorkletScope

class Microphone extends AudioWorkletProcessor {
  #gathered = new Float32Array(Math.round(sampleRate / 10))
  #used = 0

  /** @param inputs one input of channels of 128 samples each; none while nothing is connected */
  process([channels = []]: readonly (readonly Float32Array[])[]): boolean {
    const length = channels[0]?.length ?? 0
    for (let i = 0; i < length; i++) {
      let sum = 0
      for (const channel of channels) sum += channel[i] ?? 0
      this.#gathered[this.#used++] = sum / channels.length
      if (this.#used < this.#gathered.length) continue
      const { buffer } = this.#gathered
      this.port.postMessage(this.#gathered, [buffer])
      this.#gathered = new Float32Array(Math.round(sampleRate / 10))
      this.#used = 0
    }
    return true
  }
}
registerProcessor('kinglet-microphone', Microphone)
