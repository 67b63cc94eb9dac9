import { AlertStore } from './alert-store.ts'
import { ApprovalStore } from './approval-store.ts'
import { AssignmentStore } from './assignment-store.ts'
import { AuditStore } from './audit-store.ts'
import { BaselineStore } from './baseline-store.ts'
import { CohortStore } from './cohort-store.ts'
import { openDatabase, openReader, type SqliteDatabase, shortenWal } from './database.ts'
import { DeviceChanges } from './device-changes.ts'
import { DeviceStore } from './device-store.ts'
import { EventStore } from './event-store.ts'
import { ExportStore } from './export-store.ts'
import { FleetStore } from './fleet-store.ts'
import { GatewayStore } from './gateway-store.ts'
import { GroupStore } from './group-store.ts'
import { IdentityStore } from './identity-store.ts'
import { IncidentStore } from './incident-store.ts'
import { InstallTurns } from './install-turns.ts'
import { MemberTargets } from './member-targets.ts'
import { MetadataStore } from './metadata-store.ts'
import { ModelStore } from './model-store.ts'
import { OutcomeStore } from './outcome-store.ts'
import { PolicyStore } from './policy-store.ts'
import { ReadingStore } from './reading-store.ts'
import { RequestStore } from './request-store.ts'
import { RolloutStore } from './rollout-store.ts'
import { SilenceStore } from './silence-store.ts'
import { TelemetryStore } from './telemetry-store.ts'
import { TokenStore } from './token-store.ts'
import { WakeCheckStore } from './wake-check-store.ts'

/** The cloud's whole state: one SQLite file, one store a subject. */
export class Store {
  readonly db: SqliteDatabase
  readonly devices: DeviceStore
  readonly groups: GroupStore
  readonly identities: IdentityStore
  readonly gateways: GatewayStore
  readonly tokens: TokenStore
  readonly models: ModelStore
  readonly approvals: ApprovalStore
  readonly assignments: AssignmentStore
  readonly audit: AuditStore
  readonly requests: RequestStore
  readonly telemetry: TelemetryStore
  readonly outcomes: OutcomeStore
  readonly fleet: FleetStore
  readonly events: EventStore
  readonly rollouts: RolloutStore
  readonly memberTargets: MemberTargets
  readonly cohorts: CohortStore
  readonly installTurns: InstallTurns
  readonly readings: ReadingStore
  readonly policies: PolicyStore
  readonly alerts: AlertStore
  readonly silences: SilenceStore
  readonly incidents: IncidentStore
  readonly exports: ExportStore
  readonly baselines: BaselineStore
  readonly metadata: MetadataStore
  readonly wakeChecks: WakeCheckStore
  readonly changes: DeviceChanges

  /** A second one beside the owner's, which only reads. */
  static reader(path: string): Store {
    return new Store(openReader(path))
  }

  /** @param file path of the database file, created when missing, or what was opened by `reader`
   *  @throws DatabaseTooNewError */
  constructor(file: string | SqliteDatabase, nowMs = 0) {
    this.db = typeof file === 'string' ? openDatabase(file, nowMs) : file
    this.gateways = new GatewayStore(this.db)
    this.tokens = new TokenStore(this.db)
    this.models = new ModelStore(this.db)
    this.approvals = new ApprovalStore(this.db)
    this.assignments = new AssignmentStore(this.db)
    this.devices = new DeviceStore(this.db, this.assignments)
    this.groups = new GroupStore(this.db)
    this.audit = new AuditStore(this.db)
    this.requests = new RequestStore(this.db)
    this.identities = new IdentityStore(this.db)
    this.telemetry = new TelemetryStore(this.db, this.identities)
    this.outcomes = new OutcomeStore(this.db, (device) => this.gateways.isHeldOut(device))
    this.events = new EventStore(this.db)
    this.fleet = new FleetStore(this.db)
    this.rollouts = new RolloutStore(this.db)
    this.memberTargets = new MemberTargets(this.db)
    this.cohorts = new CohortStore(this.db)
    this.installTurns = new InstallTurns(this.db)
    this.readings = new ReadingStore(this.db)
    this.policies = new PolicyStore(this.db)
    this.alerts = new AlertStore(this.db)
    this.silences = new SilenceStore(this.db)
    this.incidents = new IncidentStore(this.db)
    this.exports = new ExportStore(this.db)
    this.baselines = new BaselineStore(this.db)
    this.metadata = new MetadataStore(this.db)
    this.wakeChecks = new WakeCheckStore(this.db)
    this.changes = new DeviceChanges(this.db)
  }

  /** Runs `work` in one transaction: all of it happens, or, when it throws or the process dies, none. */
  atomically<T>(work: () => T): T {
    return this.db.transaction(() => this.requests.noting(work)).immediate()
  }

  /** Brings a write-ahead log that has grown behind a reader back to nothing. Costs nothing while it is short. */
  checkpoint(): void {
    shortenWal(this.db)
  }

  close(): void {
    this.db.close()
  }
}
