// The package has no types of its own.
declare module 'bsdiff-node' {
  const bsdiff: {
    /** Writes the BSDIFF40 patch of two files. */
    diff(oldFile: string, newFile: string, patchFile: string): Promise<void>
    /** Applies a patch that is trusted: the native code believes its lengths. */
    patch(oldFile: string, newFile: string, patchFile: string): Promise<void>
  }
  export default bsdiff
}
