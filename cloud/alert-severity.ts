/** P0: devices cannot be updated, or harm goes on that nothing stops; P1: act now; P2: today; P3: there is time. */
export const ALERT_SEVERITIES = ['P0', 'P1', 'P2', 'P3'] as const
export type AlertSeverity = (typeof ALERT_SEVERITIES)[number]
