/** A fault that was once made on purpose, or could have been, and that no test noticed then. */
export interface ListedFault {
  readonly name: string
  readonly file: string
  /** stands in the file once */
  readonly find: string
  readonly change: string
  /** test files that must notice it; undefined: any of those that concern its file */
  readonly noticedBy?: readonly string[]
}
