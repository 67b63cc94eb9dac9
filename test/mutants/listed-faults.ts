// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the source of other files

import type { Mutant } from './mutations.ts'

/** A fault that was once made on purpose, or could have been, and that no test noticed then. */
export interface ListedFault {
  readonly name: string
  readonly file: string
  /** stands in the file once */
  readonly find: string
  readonly change: string
}

export const LISTED_FAULTS: readonly ListedFault[] = [
  {
    name: 'the gateway acknowledges without a sync of its log',
    file: 'gateway/store/store.ts',
    find: 'fdatasync(this.#descriptor, (error) => {',
    change: 'setImmediate((error?: Error) => {',
  },
  {
    name: 'the gateway acknowledges before the medium has it',
    file: 'gateway/store/group-commit.ts',
    find: '    this.#sync.after((error) => {\n      for (const work of committed) work.done(error)\n    })',
    change:
      '    setImmediate(() => {\n      for (const work of committed) work.done()\n    })\n    this.#sync.after(() => {})',
  },
  {
    name: 'one sync serves what was committed after it began',
    file: 'gateway/store/store.ts',
    find: '    const waiting = this.#waiting\n    this.#waiting = []\n    this.#running = true\n    fdatasync(this.#descriptor, (error) => {\n',
    change:
      '    this.#running = true\n    fdatasync(this.#descriptor, (error) => {\n      const waiting = this.#waiting\n      this.#waiting = []\n',
  },
  {
    name: "the gateway's store forgets its log at a checkpoint that was not synced",
    file: 'gateway/store/store.ts',
    find: "'synchronous = NORMAL'",
    change: "'synchronous = OFF'",
  },
  {
    name: 'the cloud answers before the disk',
    file: 'cloud/store/database.ts',
    find: "'synchronous = FULL'",
    change: "'synchronous = NORMAL'",
  },
  {
    name: "an artifact of the gateway's cache is not synced",
    file: 'gateway/downloads/artifact-cache.ts',
    find: 'await writeFileDurablyAsync(join(this.#folder, sha256), content)',
    change: "await (await import('node:fs/promises')).writeFile(join(this.#folder, sha256), content)",
  },
  {
    name: 'an artifact of the cloud is not synced',
    file: 'cloud/registry/artifact-folder.ts',
    find: 'await writeFileDurablyAsync(path, data, { aside })',
    change: "await (await import('node:fs/promises')).writeFile(path, data)",
  },
  {
    name: 'the seed of a key is not synced',
    file: 'cloud/trust/seed-file.ts',
    find: 'writeFileDurably(path, `${bytesToHex(seed)}\\n`, { mode: 0o600 })',
    change: "process.getBuiltinModule('node:fs').writeFileSync(path, `${bytesToHex(seed)}\\n`, { mode: 0o600 })",
  },
  {
    name: 'a renewed service token is not synced',
    file: 'gateway/cloud-link/service-token.ts',
    find: 'writeFileDurably(path, `${this.#held.token}\\n`, { mode: 0o600 })',
    change: "process.getBuiltinModule('node:fs').writeFileSync(path, `${this.#held.token}\\n`)",
  },
  {
    name: 'a secret that others can read stays so',
    file: 'platform/secret-rights.ts',
    find: '    chmodSync(path, 0o600)\n',
    change: '',
  },
  {
    name: "a device's flash file is open to all",
    file: 'device/node/flash-file.ts',
    find: 'new FileAside(path, { mode: 0o600 })',
    change: 'new FileAside(path)',
  },
  {
    name: 'a renewed service token is open to whom the old one was',
    file: 'gateway/cloud-link/service-token.ts',
    find: '`${this.#held.token}\\n`, { mode: 0o600 })',
    change: '`${this.#held.token}\\n`)',
  },
  {
    name: 'who says nothing keeps his place',
    file: 'gateway/broker/strangers.ts',
    find: '      stranger.end()\n',
    change: '',
  },
  {
    name: 'places are given up by whoever came first, not by who holds the most',
    file: 'gateway/broker/strangers.ts',
    find: 'const [largest] = this.#networks.at(-1) ?? []',
    change: 'const [largest] = this.#held.keys()',
  },
  {
    name: 'a request that never ends holds a place to the cloud',
    file: 'gateway/broker/identity-relay.ts',
    find: 'const body = await readBody(incoming)',
    change: 'const body = await this.#turnstile.pass(network, () => readBody(incoming))',
  },
  {
    name: 'a request may take for ever',
    file: 'gateway/broker/request-deadlines.ts',
    find: 'requestTimeout: 20_000',
    change: 'requestTimeout: 0',
  },
  {
    name: 'at the turnstile one party goes on until nobody of it waits',
    file: 'gateway/broker/turnstile.ts',
    find: '      this.#waiting.delete(party)\n',
    change: '      if (waiting.length === 0) this.#waiting.delete(party)\n',
  },
  {
    name: 'one device may fill the wake queue',
    file: 'gateway/store/pending-wakes.ts',
    find: ' || this.#rows.of(wake.device) >= DEVICE_WAKES_MAX',
    change: '',
  },
  {
    name: "one device's events push out those of others",
    file: 'gateway/store/spool.ts',
    find: '    if (this.#eventRows.of(device) > DEVICE_ROWS_MAX) {',
    change: '    if (this.#eventRows.of(device) > 1e9) {',
  },
  {
    name: "one device's reports push out those of others",
    file: 'gateway/store/spool.ts',
    find: '    if (this.#reportRows.of(device) > DEVICE_ROWS_MAX) {',
    change: '    if (this.#reportRows.of(device) > 1e9) {',
  },
  {
    name: 'the oldest verdicts go, whoever has the most',
    file: 'gateway/store/spool.ts',
    find: 'ORDER BY rank DESC, booked LIMIT ?',
    change: 'ORDER BY booked LIMIT ?',
  },
  {
    name: 'a device that invents models takes all groups',
    file: 'gateway/store/aggregation.ts',
    find: '    if (own.size >= DEVICE_GROUPS_MAX) return false\n',
    change: '',
  },
  {
    name: 'who asks most gets the downloads of all',
    file: 'gateway/downloads/allowance.ts',
    find: '(mayTake || left > this.#total.burstBytes / 2)',
    change: '(mayTake || left >= 1)',
  },
  {
    name: 'a device that floods is taken from as fast as it sends',
    file: 'gateway/broker/device-link.ts',
    find: '    if (left >= 1) {\n      accept()\n      return\n    }\n',
    change: '    if (left >= Number.NEGATIVE_INFINITY) {\n      accept()\n      return\n    }\n',
  },
  {
    name: 'a device that does not read holds the places of deliveries',
    file: 'gateway/broker/downlink.ts',
    find: 'client === undefined || client.conn.writableNeedDrain',
    change: 'client === undefined',
  },
  {
    name: 'new certificates are read and not used',
    file: 'gateway/broker/broker.ts',
    find: '      server.setSecureContext(tlsServerOptions(tls))\n',
    change: '      tlsServerOptions(tls)\n',
  },
  {
    name: 'keep-alive 0 is answered with a code that is reserved',
    file: 'gateway/broker/broker.ts',
    find: 'keepaliveLimit: 0,',
    change: 'keepaliveLimit: limits.keepaliveSecondsMax - 1,',
  },
  {
    name: "a device's metadata is not synced",
    file: 'device/node/trust-folder.ts',
    find: 'await writeFileDurablyAsync(join(this.#dir, metadataFile(role)), bytes)',
    change: "await (await import('node:fs/promises')).writeFile(join(this.#dir, metadataFile(role)), bytes)",
  },
  {
    name: 'an output has its name before its bytes are on the medium',
    file: 'cli/output-file.ts',
    find: '      this.#file.commit()\n',
    change: "      process.getBuiltinModule('node:fs').renameSync(this.#aside, this.path)\n",
  },
  {
    name: 'a durable file has its name before its bytes are on the medium',
    file: 'platform/durable-file.ts',
    find: '    fsyncSync(this.fd)\n    renameDurably(this.#aside, this.#path)',
    change: '    renameDurably(this.#aside, this.#path)\n    fsyncSync(this.fd)',
  },
  {
    name: 'a report of an earlier boot confirms a trial',
    file: 'device/core/agent/agent.ts',
    find: "message?.kind === 'report' && state.reporting.firstReportId > 0 && id >= state.reporting.firstReportId",
    change: "message?.kind === 'report'",
  },
  {
    name: 'a boot that was overtaken goes on before it reads the flash',
    file: 'device/core/host.ts',
    find: '    await previous?.dispose()\n    if (reset !== this.#reset) return ok(undefined)\n',
    change: '    await previous?.dispose()\n',
  },
  {
    name: 'a boot that was overtaken goes on after it has read the flash',
    file: 'device/core/host.ts',
    find: '    if (reset !== this.#reset) {\n      if (booted.ok)',
    change: '    if (reset < 0) {\n      if (booted.ok)',
  },
  {
    name: 'a boot that was overtaken goes on writing',
    file: 'device/core/host.ts',
    find: 'isVoid: () => reset !== this.#reset,',
    change: 'isVoid: () => false,',
  },
  {
    name: 'NaN is quantized silently',
    file: 'model/engine/window-codec.ts',
    find: '    if (Number.isNaN(value)) notANumber = true\n',
    change: '',
  },
  {
    name: 'NaN is copied silently',
    file: 'model/engine/window-codec.ts',
    find: 'window instanceof Float32Array && hasNaN(window) ? refusedNaN(io) : ok(null)',
    change: 'ok(null)',
  },
  {
    name: 'a topic has no bound',
    file: 'contract/topics.ts',
    find: 'topic.length > LIMITS.topicBytes',
    change: 'topic.length > 1_000_000',
  },
  {
    name: '429 of the cloud drops rows',
    file: 'gateway/cloud-link/uplink.ts',
    find: '[401, 403, 404, 408, 429]',
    change: '[401, 403, 404, 408]',
  },
  {
    name: '408 of the cloud drops rows',
    file: 'gateway/cloud-link/uplink.ts',
    find: '[401, 403, 404, 408, 429]',
    change: '[401, 403, 404, 429]',
  },
  {
    name: 'late devices count as evidence',
    file: 'cloud/rollout/evidence.ts',
    find: 'rows.filter(({ late }) => !late)',
    change: 'rows',
  },
  {
    name: 'the comparison starts after more than half',
    file: 'cloud/rollout/evidence.ts',
    find: '2 * starts.length < heard.length',
    change: '2 * starts.length <= heard.length',
  },
  {
    name: "a new device is admitted at the next stage's share",
    file: 'cloud/rollout/engine.ts',
    find: 'isExposed(bucket, open.percents[open.stage - 1] ?? 0)',
    change: 'isExposed(bucket, open.percents[open.stage] ?? 100)',
  },
  {
    name: 'spent challenges are unbounded',
    file: 'cloud/trust/challenges.ts',
    find: 'this.#spent.size >= SPENT_MAX',
    change: 'this.#spent.size < 0',
  },
  {
    name: 'spent challenges are never forgotten',
    file: 'cloud/trust/challenges.ts',
    find: '      this.#spent.delete(spent)\n',
    change: '',
  },
  {
    name: 'old tokens live on after a new enrolment',
    file: 'cloud/trust/device-identities.ts',
    find: '      if (ended > 0 || device.enrolledMs !== now) identities.revokeTokens(device.name, now)\n',
    change: '',
  },
  {
    name: 'a device that was imported keeps its long token when it enrols',
    file: 'cloud/trust/device-identities.ts',
    find: 'if (ended > 0 || device.enrolledMs !== now)',
    change: 'if (ended > 0)',
  },
  {
    name: 'the issuer of a service token is not checked',
    file: 'cloud/trust/tokens.ts',
    find: '          issuer: ISSUER,\n',
    change: '',
  },
  {
    name: 'the audience of a service token is not checked',
    file: 'cloud/trust/tokens.ts',
    find: '          audience: CLOUD_AUDIENCE,\n',
    change: '',
  },
  {
    name: 'retired keys are not revoked',
    file: 'cloud/store/identity-store.ts',
    find: "WHERE device = ? AND state != 'revoked'",
    change: "WHERE device = ? AND state = 'active'",
  },
  {
    name: 'a claim is good twice, for two that try at once',
    file: 'cloud/store/identity-store.ts',
    find: 'WHERE id = ? AND used_ms IS NULL',
    change: 'WHERE id = ?',
  },
  {
    name: 'a second level of delegation is accepted',
    file: 'release/repository-review.ts',
    find: 'if (document.content.delegations !== undefined) {',
    change: 'if (document.content.version < 0) {',
  },
  {
    name: 'there is no fast-forward recovery',
    file: 'contract/tuf/trusted-set.ts',
    find: "      this.#drop('timestamp')\n      this.#drop('snapshot')\n",
    change: '',
  },
  {
    name: "the verifier's threshold is another",
    file: 'gateway/verifier.ts',
    find: 'this.#threshold = model.threshold ?? 0.5',
    change: 'this.#threshold = 0.5',
  },
  {
    name: 'a wake right at the threshold is rejected',
    file: 'gateway/verifier.ts',
    find: 'posterior >= this.#threshold',
    change: 'posterior > this.#threshold',
  },
  {
    name: 'a device token of the very millisecond of a revocation lives on',
    file: 'gateway/broker/revocations.ts',
    find: 'issuedMs <= beforeMs',
    change: 'issuedMs < beforeMs',
  },
  {
    name: 'a service token of the very millisecond of a revocation lives on',
    file: 'cloud/store/token-store.ts',
    find: 'issuedMs <= row.beforeMs',
    change: 'issuedMs < row.beforeMs',
  },
]

/** @throws when the text that the fault changes does not stand in the source exactly once: mend the list */
export function located({ name, file, find, change }: ListedFault, source: string): Mutant {
  const start = source.indexOf(find)
  if (start < 0 || source.indexOf(find, start + 1) >= 0)
    throw new Error(`${file}: what "${name}" changes is not there once`)
  return { file, start, end: start + find.length, text: change, line: source.slice(0, start).split('\n').length }
}
