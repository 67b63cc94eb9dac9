/** A release as the cloud's registry shows it. */
export interface ModelView {
  readonly name: string
  readonly version: number
  readonly family: string
  readonly sha256: string
  readonly bytes: number
  readonly boards: readonly string[]
  readonly state: string
}
