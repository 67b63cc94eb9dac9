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
    find: 'writeFileDurably(path, `${this.#held.token}\\n`, { mode: statSync(path).mode & 0o777 })',
    change: "process.getBuiltinModule('node:fs').writeFileSync(path, `${this.#held.token}\\n`)",
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
  {
    name: 'a signed word of an earlier rollout is an install of this one',
    file: 'cloud/store/rollout-store.ts',
    find: 'iif(coalesce(e.assignment_seq, 0) >= r.since_seq, e.model, NULL)',
    change: 'e.model',
  },
  {
    name: 'a signed word of an earlier rollout is evidence of this one',
    file: 'cloud/rollout/evidence.ts',
    find: ' && sinceSeq !== null && (word.assignmentSeq ?? 0) >= sinceSeq',
    change: '',
  },
  {
    name: 'a signed word of a failure in an earlier rollout counts in this one',
    file: 'cloud/store/rollout-store.ts',
    find: 'iif(e.attested = 1, coalesce(e.assignment_seq, 0) >= r.first_seq, e.time_ms >= ?)',
    change: 'iif(e.attested = 1, 1, e.time_ms >= ?)',
  },
  {
    name: 'a signed word of before a device was told to stay is an install after it',
    file: 'cloud/store/rollout-store.ts',
    find: 'iif(o.release = @release, coalesce(since_seq, @seq), NULL)',
    change: 'iif(o.release = @release, coalesce(since_seq, @seq), since_seq)',
  },
  {
    name: 'a signed word of an image on trial is an install',
    file: 'cloud/store/identity-store.ts',
    find: "   AND NOT (${row}.code = 'booted' AND coalesce(${row}.detail, '') IN (${literals(TRIAL_DETAILS)}))`",
    change: '   AND 1`',
  },
  {
    name: 'a signed word that is told late names what is accepted by then',
    file: 'device/core/agent/agent-install.ts',
    find: 'record.untoldSeq ?? record.assignmentSeq',
    change: 'record.assignmentSeq',
  },
  {
    name: 'a signed word that is told late is of the image that runs by then',
    file: 'device/core/agent/agent-install.ts',
    find: 'record.untoldModel ?? before.slice(0, 8)',
    change: 'untold === "reverted" ? before.slice(0, 8) : running',
  },
  {
    name: 'a signed report may say something else than was signed',
    file: 'cloud/trust/attestation.ts',
    find: '    LISTS.every((name) => report[name].every((value, i) => value === row[name][i]))',
    change: '    true',
  },
  {
    name: 'a signed report may lose its signature on the way',
    file: 'cloud/store/telemetry-store.ts',
    find: 'attested === 0 && (signs || row.signed !== undefined)',
    change: 'attested === 0 && row.signed !== undefined',
  },
  {
    name: 'more verdicts than signed wakes',
    file: 'cloud/store/telemetry-store.ts',
    find: 'if (!this.#bounds.allows({ device, boot, slot, gateway, model, verdicts })) return ',
    change: 'if (verdicts < 0) return ',
  },
  {
    name: 'more verdicts than signed wakes, said before the report',
    file: 'cloud/store/telemetry-store.ts',
    find: 'if (attested !== 1) return 1',
    change: 'return 1',
  },
  {
    name: 'verdicts that differ from a second judgement count nothing',
    file: 'cloud/telemetry/wake-audit.ts',
    find: 'if (exactLogE(differ, wakes, DIFFER_MAX) >= limit) {',
    change: 'if (wakes < 0) {',
  },
  {
    name: 'wakes that a gateway does not bring count nothing',
    file: 'cloud/telemetry/wake-audit.ts',
    find: 'if (devices.length > 0 && leastLogE >= limit) {',
    change: 'if (devices.length < 0) {',
  },
  {
    name: 'a wake is signed whatever it follows',
    file: 'contract/attested-report.ts',
    find: 'const message = byLink.get(wanted)',
    change: 'const message = byLink.get(wanted) ?? messages[index % messages.length]',
  },
  {
    name: 'one device fills the room of all for kept wakes',
    file: 'gateway/store/kept-wakes.ts',
    find: 'if (count > this.#most.device) {',
    change: 'if (count < 0) {',
  },
  {
    name: 'no signed word of a device that runs what a rollout assigns already',
    file: 'device/core/agent/agent-update.ts',
    find: '    if (isNew) tellAlreadyInstalled(step, assignment)\n',
    change: '',
  },
]

/** @throws when the text that the fault changes does not stand in the source exactly once: mend the list */
export function located({ name, file, find, change }: ListedFault, source: string): Mutant {
  const start = source.indexOf(find)
  if (start < 0 || source.indexOf(find, start + 1) >= 0)
    throw new Error(`${file}: what "${name}" changes is not there once`)
  return { file, start, end: start + find.length, text: change, line: source.slice(0, start).split('\n').length }
}
