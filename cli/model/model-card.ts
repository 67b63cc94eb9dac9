import { CommandFailure } from '../failure.ts'

/** The model card of a file. @throws CommandFailure when it is no JSON object */
export function cardText(path: string, bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes)
  let card: unknown
  try {
    card = JSON.parse(text)
  } catch (cause) {
    throw new CommandFailure(
      `${path}: the model card is not JSON: ${cause instanceof Error ? cause.message : String(cause)}`,
      {
        hint: 'leave "card" out to have one made',
      },
    )
  }
  if (typeof card === 'object' && card !== null && !Array.isArray(card)) return text
  throw new CommandFailure(`${path}: the model card is no JSON object`, { hint: 'leave "card" out to have one made' })
}
