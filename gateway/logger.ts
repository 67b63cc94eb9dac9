/** The part of pino's logger that the gateway uses. */
export interface GatewayLogger {
  info(context: object, message: string): void
  warn(context: object, message: string): void
  error(context: object, message: string): void
}
