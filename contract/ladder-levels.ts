/** Ladder levels, best first. The number on the wire is the index. By themselves, so that who only names them loads no codec. */
export const LADDER_LEVELS = ['full', 'gated', 'lite', 'sparse', 'hibernate'] as const
export type LadderLevel = (typeof LADDER_LEVELS)[number]
