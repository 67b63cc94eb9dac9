import { SCENES } from '../firmware-sim/scene.ts'
import { loadSoundBank, type SoundBank } from '../firmware-sim/sound-bank.ts'
import { CommandFailure } from './failure.ts'

/** Loads the sounds of the scenes. A folder that is no bank, or lacks a noise some scene needs, is refused before anything runs. */
export function openSoundBank(folder: string): SoundBank {
  const hint = 'a sound bank has keyword/<label>, other and noise/<kind> with WAV files; zoo/bank is one'
  let bank: SoundBank
  try {
    bank = loadSoundBank(folder)
  } catch (cause) {
    throw new CommandFailure(cause instanceof Error ? cause.message : String(cause), { hint, cause })
  }
  const needed = new Set(
    SCENES.flatMap(({ calm, raised }) => [...calm.steady, ...calm.bursts, ...raised.steady, ...raised.bursts]),
  )
  const missing = [...needed].filter((kind) => (bank.noises.get(kind)?.length ?? 0) === 0)
  if (missing.length === 0) return bank
  throw new CommandFailure(`${folder}: no noise for ${missing.map((kind) => `noise/${kind}`).join(', ')}`, { hint })
}
