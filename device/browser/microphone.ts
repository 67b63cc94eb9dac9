/** Opens the microphone. The browser's own clean-up is off: a model hears what its training heard.
 *  @param hear told of each tenth of a second, mono in [-1, 1], with the rate that the machine records at
 *  @throws what the browser says when there is none, or nobody allows it */
export async function openMicrophone(
  hear: (samples: Float32Array, rateHz: number) => void,
): Promise<{ readonly stop: () => void }> {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  })
  const context = new AudioContext()
  const stop = (): void => {
    for (const track of stream.getTracks()) track.stop()
    void context.close()
  }
  try {
    await context.audioWorklet.addModule('/microphone-worklet.js')
    const node = new AudioWorkletNode(context, 'kinglet-microphone', { numberOfOutputs: 0 })
    node.port.onmessage = ({ data }: MessageEvent<Float32Array>) => hear(data, context.sampleRate)
    context.createMediaStreamSource(stream).connect(node)
    await context.resume()
    return { stop }
  } catch (cause) {
    stop()
    throw cause
  }
}
