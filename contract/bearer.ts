/** @param header of a request: `Authorization`
 *  @returns the bearer token, or undefined when it brings none, or something else
 *  @see RFC 6750 section 2.1; RFC 9110 section 11.1: the scheme's case means nothing */
export const bearerToken = (header: string | undefined): string | undefined =>
  /^Bearer +([\w.-]+)$/i.exec(header ?? '')?.[1]
