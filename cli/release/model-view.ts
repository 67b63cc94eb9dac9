/** A release as the cloud's registry shows it. */
export interface ModelView {
  readonly name: string
  readonly version: number
  readonly sha256: string
  readonly state: string
}
