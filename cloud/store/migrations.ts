/** Numbered, never edited once released: a change is a new entry. */
export interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
}

const FLEET = `
CREATE TABLE devices (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  site TEXT NOT NULL,
  board TEXT NOT NULL,
  tags TEXT NOT NULL DEFAULT '[]',
  enrolled_ms INTEGER,             -- NULL: heard of through a gateway, never enrolled; takes part in no rollout
  last_seen_ms INTEGER NOT NULL DEFAULT 0,
  target INTEGER REFERENCES releases (id),
  rollout TEXT,                    -- tag of the assignment: which comparison, or NULL
  stage INTEGER NOT NULL DEFAULT 0,
  arm TEXT NOT NULL DEFAULT 'none',
  dirty INTEGER NOT NULL DEFAULT 0 -- 1: its assignment is to be signed anew
) STRICT;
CREATE INDEX devices_dirty ON devices (id) WHERE dirty = 1;
CREATE INDEX devices_target ON devices (target);

CREATE TABLE tokens (
  jti TEXT PRIMARY KEY,
  kind TEXT NOT NULL,              -- device | operator | gateway | viewer
  subject TEXT NOT NULL,
  issued_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_expiry ON tokens (expires_ms);

CREATE TABLE artifacts (
  sha256 TEXT PRIMARY KEY,
  bytes INTEGER NOT NULL,
  created_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE releases (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  sha256 TEXT NOT NULL UNIQUE REFERENCES artifacts (sha256),
  prefix TEXT NOT NULL UNIQUE,     -- first 8 bytes of sha256, hex: what reports carry
  bytes INTEGER NOT NULL,
  parent TEXT,                     -- sha256 of the bundle it was trained from
  state TEXT NOT NULL,
  document TEXT NOT NULL,          -- Signed<Release>
  registered_ms INTEGER NOT NULL,
  UNIQUE (name, version)
) STRICT;
CREATE UNIQUE INDEX one_production ON releases (state) WHERE state = 'production';

CREATE TABLE release_history (
  id INTEGER PRIMARY KEY,
  release INTEGER NOT NULL REFERENCES releases (id),
  from_state TEXT,
  to_state TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE INDEX release_history_release ON release_history (release);

CREATE TABLE assignments (
  device INTEGER PRIMARY KEY REFERENCES devices (id),
  seq INTEGER NOT NULL,
  cursor INTEGER NOT NULL UNIQUE,
  release INTEGER NOT NULL REFERENCES releases (id),
  issued_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  document TEXT NOT NULL
) STRICT;
CREATE INDEX assignments_expiry ON assignments (expires_ms);

CREATE TABLE audit (
  id INTEGER PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
`

const TELEMETRY = `
CREATE TABLE reports (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (device, boot, seq)
) STRICT, WITHOUT ROWID;

-- Latest report of each boot: counters are cumulative, so this is all that exact sums need.
CREATE TABLE boots (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  model TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  started_ms INTEGER NOT NULL,
  listening_ms INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  level INTEGER NOT NULL,
  battery_permille INTEGER NOT NULL,
  assignment_seq INTEGER NOT NULL,
  counters TEXT NOT NULL,
  level_ms TEXT NOT NULL,
  energy_mj TEXT NOT NULL,
  posterior_bins TEXT NOT NULL,
  noise_bins TEXT NOT NULL,
  PRIMARY KEY (device, boot)
) STRICT, WITHOUT ROWID;
CREATE INDEX boots_model ON boots (model, device);

-- Last report of each boot in each hour: enough to interpolate cumulative counters at any hour boundary.
CREATE TABLE device_hours (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  hour INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  model TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  uptime_ms INTEGER NOT NULL,
  listening_ms INTEGER NOT NULL,
  active_ms INTEGER NOT NULL,
  wakes INTEGER NOT NULL,
  gate_openings INTEGER NOT NULL,
  energy_mj INTEGER NOT NULL,
  radio_bytes INTEGER NOT NULL,
  noise_bins TEXT NOT NULL,
  PRIMARY KEY (device, boot, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX device_hours_hour ON device_hours (hour);

CREATE TABLE verdicts (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  hour INTEGER NOT NULL,
  model TEXT NOT NULL,
  confirmed INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  PRIMARY KEY (device, boot, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX verdicts_hour ON verdicts (hour);

CREATE TABLE events (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  received_ms INTEGER NOT NULL,
  code TEXT NOT NULL,
  model TEXT,
  error TEXT,
  detail TEXT,
  assignment_seq INTEGER,
  PRIMARY KEY (device, boot, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_model ON events (model, code, device) WHERE model IS NOT NULL;

CREATE TABLE aggregates (
  gateway TEXT NOT NULL,
  hour_ms INTEGER NOT NULL,
  model TEXT NOT NULL,
  board TEXT NOT NULL,
  site TEXT NOT NULL,
  rollout TEXT NOT NULL,
  stage INTEGER NOT NULL,
  arm TEXT NOT NULL,
  revision INTEGER NOT NULL,
  listening_ms INTEGER NOT NULL,
  active_ms INTEGER NOT NULL,
  wakes INTEGER NOT NULL,
  gate_openings INTEGER NOT NULL,
  confirmed INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  energy_mj INTEGER NOT NULL,
  radio_bytes INTEGER NOT NULL,
  PRIMARY KEY (gateway, hour_ms, model, board, site, rollout, stage, arm)
) STRICT, WITHOUT ROWID;

-- Sums over devices by hour and model, recomputed for the hours listed in dirty_hours.
CREATE TABLE fleet_hours (
  hour INTEGER NOT NULL,
  model TEXT NOT NULL,
  devices INTEGER NOT NULL,
  uptime_ms INTEGER NOT NULL,
  listening_ms INTEGER NOT NULL,
  active_ms INTEGER NOT NULL,
  wakes INTEGER NOT NULL,
  gate_openings INTEGER NOT NULL,
  confirmed INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  energy_mj INTEGER NOT NULL,
  radio_bytes INTEGER NOT NULL,
  PRIMARY KEY (hour, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE dirty_hours (hour INTEGER PRIMARY KEY) STRICT;

-- What each device did in the first hours on its present model: drift is measured against it.
CREATE TABLE baselines (
  device INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  listening_hours REAL NOT NULL,
  active_hours REAL NOT NULL,
  rejected INTEGER NOT NULL,
  noise_bins TEXT NOT NULL
) STRICT;

CREATE TABLE alerts (
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL,
  metric TEXT NOT NULL,
  model TEXT NOT NULL,
  state TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  resolved_ms INTEGER,
  ratio REAL NOT NULL,
  numbers TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_open_alert ON alerts (code, metric, model) WHERE state = 'open';
`

const ROLLOUTS = `
CREATE TABLE rollouts (
  id TEXT PRIMARY KEY,
  release INTEGER NOT NULL REFERENCES releases (id),
  previous INTEGER NOT NULL REFERENCES releases (id),
  state TEXT NOT NULL,             -- running | paused | rolled-back | completed
  percents TEXT NOT NULL,
  stage INTEGER NOT NULL,          -- from 1; 0 before the first
  stage_started_ms INTEGER NOT NULL,
  granted_hours REAL NOT NULL,
  policy TEXT NOT NULL,
  salt TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  ended_ms INTEGER,
  why TEXT NOT NULL,
  reading TEXT
) STRICT;
CREATE UNIQUE INDEX one_open_rollout ON rollouts ((1)) WHERE state IN ('running', 'paused');

CREATE TABLE rollout_devices (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  device INTEGER NOT NULL,
  bucket REAL NOT NULL,            -- salted hash in [0, 1): exposed while below the stage's share
  stage INTEGER,                   -- stage that exposed it, NULL: control
  late INTEGER NOT NULL DEFAULT 0, -- 1: enrolled after the stage began, so not randomised with it; no evidence from it
  z_false REAL,
  z_verified REAL,
  PRIMARY KEY (rollout, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_batches (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  stage INTEGER NOT NULL,
  metric TEXT NOT NULL,
  d REAL NOT NULL,
  variance REAL NOT NULL,
  PRIMARY KEY (rollout, stage, metric)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollout_stages (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  stage INTEGER NOT NULL,
  percent REAL NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  PRIMARY KEY (rollout, stage)
) STRICT, WITHOUT ROWID;
`

const METADATA = `
CREATE TABLE metadata (
  role TEXT NOT NULL,
  version INTEGER NOT NULL,
  content BLOB NOT NULL,           -- the file as it is served
  stored_ms INTEGER NOT NULL,
  PRIMARY KEY (role, version)
) STRICT, WITHOUT ROWID;

-- Highest version ever made or taken of each role: rises only, whatever becomes of the files.
CREATE TABLE metadata_versions (
  role TEXT PRIMARY KEY,
  version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER metadata_versions_rise BEFORE UPDATE ON metadata_versions WHEN NEW.version <= OLD.version
BEGIN SELECT RAISE(ABORT, 'a metadata version is never reused or lowered'); END;
`

const IDENTITY = `
CREATE TABLE claims (
  id TEXT PRIMARY KEY,
  public_key TEXT NOT NULL,        -- of the claim's key: its secret half is the claim and was never here
  device TEXT NOT NULL,
  site TEXT NOT NULL,
  board TEXT NOT NULL,
  tags TEXT NOT NULL,
  model TEXT,
  created_ms INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  expires_ms INTEGER NOT NULL,
  used_ms INTEGER                  -- NULL: not yet
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_expiry ON claims (expires_ms);

-- Every key a device ever had; none comes back, and none has two owners.
CREATE TABLE device_keys (
  key_id TEXT PRIMARY KEY,
  public_key TEXT NOT NULL,
  device INTEGER NOT NULL REFERENCES devices (id),
  state TEXT NOT NULL,             -- active | retired | revoked
  since_ms INTEGER NOT NULL,
  until_ms INTEGER                 -- NULL while active
) STRICT, WITHOUT ROWID;
CREATE INDEX device_keys_device ON device_keys (device);
CREATE UNIQUE INDEX one_active_key ON device_keys (device) WHERE state = 'active';

-- Tokens of a device that were issued before this are refused.
CREATE TABLE revocations (
  device INTEGER PRIMARY KEY REFERENCES devices (id),
  cursor INTEGER NOT NULL UNIQUE,
  before_ms INTEGER NOT NULL
) STRICT;

-- 1: signed by the device's key. 0: the device has a key and this is not signed by it. NULL: the device had none.
ALTER TABLE events ADD COLUMN attested INTEGER;
`

/** What a release is says the image repository; assignments only name it, so those of before are signed anew. */
const RELEASE_CONTENT = `
ALTER TABLE releases RENAME COLUMN document TO content;
UPDATE releases SET content = json_extract(content, '$.signed');
UPDATE devices SET dirty = 1 WHERE target IS NOT NULL;
`

/** Gateways that have sent telemetry, and indexes by age, so that what is old is found without reading what is not. */
const OPERATIONS = `
CREATE TABLE gateways (
  name TEXT PRIMARY KEY,
  first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,        -- of receipt of its last batch, by the cloud's clock
  rows INTEGER NOT NULL,           -- sent in all, repeated ones too
  sites TEXT NOT NULL              -- JSON list of the sites that its rows named
) STRICT, WITHOUT ROWID;

CREATE INDEX reports_time ON reports (time_ms);
CREATE INDEX boots_time ON boots (time_ms);
CREATE INDEX events_time ON events (time_ms);
CREATE INDEX events_code ON events (code, time_ms);
CREATE INDEX events_device_time ON events (device, time_ms);
CREATE INDEX aggregates_hour ON aggregates (hour_ms);
CREATE INDEX audit_time ON audit (at_ms);
CREATE INDEX alerts_resolved ON alerts (resolved_ms) WHERE state = 'resolved';
CREATE INDEX rollouts_ended ON rollouts (ended_ms) WHERE ended_ms IS NOT NULL;

-- NULL: takes part. Else it was revoked or removed then, and counts in no arm any more.
ALTER TABLE rollout_devices ADD COLUMN left_ms INTEGER;
CREATE INDEX rollout_devices_device ON rollout_devices (device);

ALTER TABLE devices ADD COLUMN removed_ms INTEGER; -- NULL: not. A removed device has no enrolment, target or assignment
-- What its next assignment is numbered above, when there is none any more: a device takes no number twice.
ALTER TABLE devices ADD COLUMN seq_floor INTEGER NOT NULL DEFAULT 0;

-- Hours of updates, as "Europe/Berlin 02:00-05:00": a device's own, else its site's, else any.
ALTER TABLE devices ADD COLUMN update_window TEXT;
CREATE TABLE sites (
  name TEXT PRIMARY KEY,
  update_window TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_subject ON tokens (subject);
CREATE INDEX devices_site ON devices (site);

-- Names of removed devices, until they are enrolled again: rows of them that still come are refused.
CREATE TABLE removals (
  name TEXT PRIMARY KEY,
  removed_ms INTEGER NOT NULL,
  seq_floor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- By name: tokens outlive the rows of a device that was erased.
CREATE TABLE revocations_by_name (
  name TEXT PRIMARY KEY,
  cursor INTEGER NOT NULL UNIQUE,
  before_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO revocations_by_name SELECT d.name, r.cursor, r.before_ms FROM revocations r JOIN devices d ON d.id = r.device;
DROP TABLE revocations;
ALTER TABLE revocations_by_name RENAME TO revocations;
`

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'fleet, registry, assignments, audit', sql: FLEET },
  { version: 2, name: 'telemetry', sql: TELEMETRY },
  { version: 3, name: 'rollouts', sql: ROLLOUTS },
  { version: 4, name: 'image repository', sql: METADATA },
  { version: 5, name: 'device identity', sql: IDENTITY },
  { version: 6, name: 'releases without signatures', sql: RELEASE_CONTENT },
  { version: 7, name: 'gateways, ages, devices that left', sql: OPERATIONS },
]
