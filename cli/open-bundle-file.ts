import { readFileSync, statSync } from 'node:fs'
import { LIMITS } from '../contract/limits.ts'
import { type Board, modelRamBytes } from '../model/boards.ts'
import { type OpenedBundle, openBundle } from '../model/opened-bundle.ts'
import { bundleEngine } from './engines.ts'
import { CommandFailure, fileFailure } from './failure.ts'

/** Reads a bundle file, its size bounded first. */
export function readBundleFile(path: string): Uint8Array {
  try {
    const { size } = statSync(path)
    if (size > LIMITS.bundleBytes) {
      throw new CommandFailure(`${path}: too-large: ${size} bytes, a bundle has at most ${LIMITS.bundleBytes}`)
    }
    return readFileSync(path)
  } catch (cause) {
    throw cause instanceof CommandFailure ? cause : fileFailure(path, cause)
  }
}

/** Opens a bundle file as a device would, with all its checks.
 *  @param ramBytes what the board can give a model; Infinity for none in particular */
export async function openBundleFile(path: string, ramBytes: number): Promise<OpenedBundle> {
  const opened = await openBundle(readBundleFile(path), bundleEngine(), ramBytes)
  if (opened.ok) return opened.value
  const hint =
    opened.error.code === 'bundle-bad-magic'
      ? 'bundles are made by "kinglet model pack"; a bare ONNX file is no bundle'
      : undefined
  throw new CommandFailure(`${path}: ${opened.error.code}: ${opened.error.detail}`, hint === undefined ? {} : { hint })
}

/** Opens a bundle file for a board: one that it is packed for, with the memory that it has. A bundle that names no board is for all.
 *  @throws CommandFailure for another board: its memory, speed and energy were not checked when it was packed */
export async function openBundleForBoard(path: string, board: Board): Promise<OpenedBundle> {
  const bundle = await openBundleFile(path, modelRamBytes(board))
  const { boards } = bundle.manifest
  if (boards.length === 0 || boards.includes(board.name)) return bundle
  await bundle.dispose()
  throw new CommandFailure(`${path}: wrong-board: it is not packed for ${board.name}`, {
    hint: `its boards are ${boards.join(', ')}: choose one with --board, or pack it for ${board.name} too ("boards" in the pack file)`,
  })
}
