import { z } from '@hono/zod-openapi'
import { DEFAULT_GATE_POLICY, READ_ONLY } from '../rollout/gate-defaults.ts'
import { type GatePolicy, gatePolicySchema } from '../store/gate-policy.ts'
import type { PolicyTemplate } from '../store/policy-store.ts'
import type { Store } from '../store/store.ts'
import { fail } from './problem.ts'

const signalChanges = z.record(z.string(), z.record(z.string(), z.unknown()))

/** A policy with what a request changes. Of `metrics` it says all; `signals` changes some of them by name, and adds to them. */
export function policyOf(
  { signals, ...changes }: Record<string, unknown> = {},
  base: GatePolicy = DEFAULT_GATE_POLICY,
): GatePolicy {
  const { metrics = base.metrics } = changes
  const bySignal = signalChanges.safeParse(signals ?? {})
  if (!bySignal.success) {
    return fail('invalid-request', 'gate.signals: an object of fields by name, {"energyPerHour": {"marginRatio": 1.5}}')
  }
  const changed = Array.isArray(metrics) ? withSignals(metrics, bySignal.data) : metrics
  const parsed = gatePolicySchema.safeParse({ ...base, ...changes, metrics: changed })
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  return fail('invalid-request', `gate.${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'invalid'}`)
}

function withSignals(metrics: readonly unknown[], changes: z.infer<typeof signalChanges>): unknown[] {
  const named = new Map(Object.entries(changes))
  const changed = metrics.map((metric) => {
    const name = typeof metric === 'object' && metric !== null && 'name' in metric ? String(metric.name) : ''
    const change = named.get(name)
    named.delete(name)
    return change === undefined ? metric : { ...(metric as object), ...change, name }
  })
  return [...changed, ...[...named].map(([name, change]) => ({ ...READ_ONLY, ...change, name }))]
}

/** Looks up a policy that was kept.
 *  @param reference NAME for the newest version, or NAME@VERSION */
export function templateOf(store: Store, reference: string): PolicyTemplate {
  const [name = '', version] = reference.split('@')
  const found = store.policies.get(name, version === undefined ? undefined : Number(version))
  return found ?? fail('not-found', `no gate policy "${reference}": GET /v1/gate-policies lists them`)
}
