/** Front ends that `kinglet model features` computes; a file of its own, so that `--help` loads none of them. */
export const FRONT_ENDS = ['micro', 'log-mel', 'mfcc'] as const
export type FrontEnd = (typeof FRONT_ENDS)[number]
