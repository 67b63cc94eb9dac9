import type { Database } from 'better-sqlite3'
import { chainAudit } from './chain-audit.ts'

/** Numbered, never edited once released: a change is a new entry. */
export interface Migration {
  readonly version: number
  readonly name: string
  readonly sql: string
  /** what SQL cannot compute, in the same transaction */
  readonly fill?: (db: Database) => void
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
  kind TEXT NOT NULL,              -- device, or a role of cloud/store/roles.ts
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

/** Time by the uptime of each boot instead of by clocks. `boot` columns hold, from here on, the number of the incarnation (0 for
 *  the first that was heard of) times 2^32 plus the boot; what is stored already is of incarnation 0, the one without a name. */
const SLOTS = `
CREATE TABLE incarnations (
  device INTEGER NOT NULL,
  incarnation INTEGER NOT NULL,    -- as the device says it; 0: a device that does not
  ordinal INTEGER NOT NULL,        -- by first arrival, from 0
  PRIMARY KEY (device, incarnation)
) STRICT, WITHOUT ROWID;
INSERT INTO incarnations SELECT DISTINCT device, 0, 0 FROM (
  SELECT device FROM boots UNION SELECT device FROM events UNION SELECT device FROM verdicts);

-- When a boot began, by what was received of it: the least of (time of receipt - uptime), and no later than the next boot allows.
CREATE TABLE boot_starts (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  heard_ms INTEGER NOT NULL,       -- by its own messages alone
  uptime_ms INTEGER NOT NULL,      -- the longest it told of
  started_ms INTEGER NOT NULL,
  PRIMARY KEY (device, boot)
) STRICT, WITHOUT ROWID;
INSERT INTO boot_starts SELECT device, boot, start, max(0, uptime), start FROM (
  SELECT b.device, b.boot, b.time_ms - b.started_ms AS uptime, max(0, coalesce((
    SELECT min(r.received_ms - json_extract(r.body, '$.uptimeMs')) FROM reports r WHERE r.device = b.device AND r.boot = b.boot
  ), b.started_ms)) AS start FROM boots b);
UPDATE reports SET time_ms = received_ms;

CREATE TABLE slot_boots (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  model TEXT NOT NULL,
  time_ms INTEGER NOT NULL,        -- started_ms + uptime_ms
  started_ms INTEGER NOT NULL,     -- of boot_starts
  uptime_ms INTEGER NOT NULL,
  base_hour INTEGER NOT NULL,      -- slot s of the boot is of the wall hour base_hour + s, that of the slot's middle
  last_hour INTEGER NOT NULL,      -- that of the newest report's slot
  listening_ms INTEGER NOT NULL,
  slot INTEGER NOT NULL,           -- flash slot of the image
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
INSERT INTO slot_boots SELECT b.device, b.boot, b.seq, b.model, s.started_ms + s.uptime_ms, s.started_ms, s.uptime_ms,
    (s.started_ms + 1800000) / 3600000, (s.started_ms + 1800000) / 3600000 + s.uptime_ms / 3600000, b.listening_ms, b.slot, b.level,
    b.battery_permille, b.assignment_seq, b.counters, b.level_ms, b.energy_mj, b.posterior_bins, b.noise_bins
  FROM boots b JOIN boot_starts s ON s.device = b.device AND s.boot = b.boot;

-- Newest report of each boot in each slot, an hour of the boot's uptime: enough to interpolate cumulative counters at any slot's end.
CREATE TABLE slot_hours (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  hour INTEGER NOT NULL,           -- boots.base_hour + slot
  seq INTEGER NOT NULL,
  model TEXT NOT NULL,
  received_ms INTEGER NOT NULL,
  uptime_ms INTEGER NOT NULL,
  listening_ms INTEGER NOT NULL,
  active_ms INTEGER NOT NULL,
  wakes INTEGER NOT NULL,
  gate_openings INTEGER NOT NULL,
  energy_mj INTEGER NOT NULL,
  radio_bytes INTEGER NOT NULL,
  overruns INTEGER NOT NULL,
  inferences INTEGER NOT NULL,
  inference_ms INTEGER NOT NULL,   -- 0: not measured
  noise_bins TEXT NOT NULL,
  PRIMARY KEY (device, boot, slot)
) STRICT, WITHOUT ROWID;
INSERT INTO slot_hours SELECT h.device, h.boot, h.uptime_ms / 3600000, b.base_hour + h.uptime_ms / 3600000, h.seq, h.model,
    coalesce(r.received_ms, h.time_ms), h.uptime_ms, h.listening_ms, h.active_ms, h.wakes, h.gate_openings, h.energy_mj, h.radio_bytes,
    coalesce(json_extract(r.body, '$.counters[6]'), 0), coalesce(json_extract(r.body, '$.counters[2]'), 0), 0, h.noise_bins
  FROM device_hours h JOIN slot_boots b ON b.device = h.device AND b.boot = h.boot
    LEFT JOIN reports r ON r.device = h.device AND r.boot = h.boot AND r.seq = h.seq WHERE true
  ON CONFLICT DO UPDATE SET seq = excluded.seq, model = excluded.model, received_ms = excluded.received_ms,
    uptime_ms = excluded.uptime_ms, listening_ms = excluded.listening_ms, active_ms = excluded.active_ms, wakes = excluded.wakes,
    gate_openings = excluded.gate_openings, energy_mj = excluded.energy_mj, radio_bytes = excluded.radio_bytes,
    overruns = excluded.overruns, inferences = excluded.inferences, noise_bins = excluded.noise_bins
  WHERE excluded.seq > slot_hours.seq;
DROP TABLE device_hours;
ALTER TABLE slot_hours RENAME TO device_hours;
CREATE INDEX device_hours_hour ON device_hours (hour);

-- Each gateway's own sums, since two gateways that hear one device each count some of its wakes. A gateway that counts by its hour of
-- receipt is 'name@hour' ('@hour' before names were kept): its hour is what is known, and the slot follows from it.
CREATE TABLE slot_verdicts (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  model TEXT NOT NULL,
  gateway TEXT NOT NULL,
  hour INTEGER,                    -- as of device_hours; NULL until it is known when the boot began
  confirmed INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  unjudged INTEGER NOT NULL,
  PRIMARY KEY (device, boot, slot, model, gateway)
) STRICT, WITHOUT ROWID;
INSERT INTO slot_verdicts SELECT v.device, v.boot, max(0, v.hour - coalesce(b.base_hour, v.hour)), v.model, '@' || v.hour, v.hour,
    v.confirmed, v.rejected, 0 FROM verdicts v LEFT JOIN slot_boots b ON b.device = v.device AND b.boot = v.boot;
DROP TABLE verdicts;
ALTER TABLE slot_verdicts RENAME TO verdicts;
CREATE INDEX verdicts_hour ON verdicts (hour);

DROP TABLE boots;
ALTER TABLE slot_boots RENAME TO boots;
CREATE INDEX boots_model ON boots (model, device);
CREATE INDEX boots_last_hour ON boots (last_hour);

ALTER TABLE events ADD COLUMN uptime_ms INTEGER;
ALTER TABLE fleet_hours ADD COLUMN unjudged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE aggregates ADD COLUMN unjudged INTEGER NOT NULL DEFAULT 0;
-- The hours around the change are summed anew by the new rule.
INSERT INTO dirty_hours SELECT DISTINCT hour FROM device_hours
  WHERE hour >= (SELECT max(hour) FROM device_hours) - 3 ON CONFLICT DO NOTHING;

-- Largest gap between two contacts of about the last fortnight, and when it ended.
ALTER TABLE devices ADD COLUMN gap_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN gap_at_ms INTEGER NOT NULL DEFAULT 0;
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

/** Service tokens that are refused, tokens by kind, since devices' are by far the most, and assignments by site. */
const SERVICES = `
CREATE TABLE service_revocations (
  subject TEXT PRIMARY KEY,
  before_ms INTEGER NOT NULL       -- tokens issued until then are refused
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_services ON tokens (kind, subject, expires_ms) WHERE kind <> 'device';

-- The site that the document was signed for: gateways ask for those of theirs.
ALTER TABLE assignments ADD COLUMN site TEXT NOT NULL DEFAULT '';
UPDATE assignments SET site = (SELECT site FROM devices WHERE id = device);
CREATE INDEX assignments_site ON assignments (site, cursor);

-- Assignments that a site's gateways are to drop, in the same order as those that they are to take.
CREATE TABLE departures (
  site TEXT NOT NULL,
  device TEXT NOT NULL,            -- by name: its row may be gone
  cursor INTEGER NOT NULL UNIQUE,
  PRIMARY KEY (site, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX departures_site ON departures (site, cursor);
CREATE TRIGGER assignment_departs AFTER DELETE ON assignments BEGIN
  INSERT INTO departures (site, device, cursor)
  SELECT OLD.site, name, 1 + max(
    OLD.cursor,
    (SELECT coalesce(max(cursor), 0) FROM assignments),
    (SELECT coalesce(max(cursor), 0) FROM departures))
  FROM devices WHERE id = OLD.device
  ON CONFLICT (site, device) DO UPDATE SET cursor = excluded.cursor;
END;
`

/** Contact, hold-back and each device's own past for gates; verdicts with what they were computed from; production by board. */
const GATES = `
ALTER TABLE rollout_devices DROP COLUMN z_false;
ALTER TABLE rollout_devices DROP COLUMN z_verified;
ALTER TABLE rollout_devices ADD COLUMN previous INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout_devices ADD COLUMN holdback INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout_devices ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout_devices ADD COLUMN entered_ms INTEGER;
ALTER TABLE rollout_devices ADD COLUMN control_entered_ms INTEGER;
ALTER TABLE rollout_devices ADD COLUMN silent_ms INTEGER;
ALTER TABLE rollout_devices ADD COLUMN bound_ms INTEGER NOT NULL DEFAULT 93600000;
ALTER TABLE rollout_devices ADD COLUMN past TEXT;
UPDATE rollout_devices SET previous = (SELECT previous FROM rollouts WHERE id = rollout),
  since_ms = (SELECT coalesce((SELECT started_ms FROM rollout_stages s WHERE s.rollout = rollout_devices.rollout
    AND s.stage = coalesce(rollout_devices.stage, 1)), (SELECT created_ms FROM rollouts WHERE id = rollout_devices.rollout)));

ALTER TABLE rollouts ADD COLUMN paused_since_ms INTEGER;
ALTER TABLE rollouts ADD COLUMN paused_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN plan TEXT NOT NULL DEFAULT '{"devices":0,"unheard":0,"holdback":0,"comparison":"control","history":{"devices":0,"hours":0},"stages":[],"proposal":null}';
-- The one margin is the former advance margin, and what a policy of before does not say is as it is by default now.
UPDATE rollouts SET reading = NULL, policy = json_patch(policy, '{"comparison":"control","ungated":false,"advisory":false,"holdbackShare":0,"undecided":"pause","watchHours":96,"afterHours":336}');
UPDATE rollouts SET policy = json_set(policy, '$.metrics', (
  SELECT json_group_array(json_object('name', json_extract(value, '$.name'), 'alphaRollback', json_extract(value, '$.alphaRollback'),
    'alphaAdvance', json_extract(value, '$.alphaAdvance'), 'marginRatio', json_extract(value, '$.marginRatio'),
    'planRatio', json_extract(value, '$.planRatio'))) FROM json_each(policy, '$.metrics')));

CREATE TABLE rollout_later (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  stage INTEGER NOT NULL,
  signal TEXT NOT NULL,
  log_e REAL NOT NULL,
  PRIMARY KEY (rollout, stage, signal)
) STRICT, WITHOUT ROWID;

-- What the gate said, and what it was computed from (deflated JSON).
CREATE TABLE gate_readings (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  at_ms INTEGER NOT NULL,
  verdict TEXT NOT NULL,
  reading TEXT NOT NULL,
  policy TEXT NOT NULL,
  input BLOB NOT NULL,
  PRIMARY KEY (rollout, at_ms)
) STRICT;
CREATE INDEX gate_readings_age ON gate_readings (at_ms, rollout);
CREATE INDEX boot_starts_age ON boot_starts (started_ms);

-- By hour of the day, so that a night is compared with nights; made anew from the hours of each device.
DROP TABLE baselines;
CREATE TABLE baselines (
  device INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  hours TEXT NOT NULL
) STRICT;

-- A release for some boards leaves the others on theirs, so several are in production.
DROP INDEX one_production;
CREATE INDEX releases_state ON releases (state);
-- 1: a person chose its model; no rollout moves it
ALTER TABLE devices ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
`

/** Gateways as those who may speak, with the sites that each may speak for; verdicts that can be taken back; what a gateway in quarantine has
 *  touched; where a device was before it moved. */
const GATEWAY_IDENTITY = `
-- unenrolled: heard of before gateways were enrolled; nothing of it is taken. revoked_ms and quarantined_ms are apart, since what a gateway
-- said may be in doubt when it is gone, too.
ALTER TABLE gateways ADD COLUMN enrolled_ms INTEGER;
ALTER TABLE gateways ADD COLUMN key_id TEXT;           -- NULL: it has a token and no key
ALTER TABLE gateways ADD COLUMN public_key TEXT;
ALTER TABLE gateways ADD COLUMN tokens_since_ms INTEGER NOT NULL DEFAULT 0; -- tokens issued before are refused
ALTER TABLE gateways ADD COLUMN revoked_ms INTEGER;
ALTER TABLE gateways ADD COLUMN quarantined_ms INTEGER;
ALTER TABLE gateways ADD COLUMN reason TEXT;           -- of the newest of the two
ALTER TABLE gateways ADD COLUMN refused INTEGER NOT NULL DEFAULT 0; -- rows of it that were refused, in all
CREATE UNIQUE INDEX gateways_key ON gateways (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX gateways_quarantined ON gateways (name) WHERE quarantined_ms IS NOT NULL;

-- By enrolment; of an unenrolled one what its rows named, which says nothing but where to look.
CREATE TABLE gateway_sites (
  gateway TEXT NOT NULL REFERENCES gateways (name),
  site TEXT NOT NULL,
  PRIMARY KEY (gateway, site)
) STRICT, WITHOUT ROWID;
INSERT INTO gateway_sites SELECT g.name, s.value FROM gateways g, json_each(g.sites) s;
ALTER TABLE gateways DROP COLUMN sites;

-- NULL: a claim of a device. Else of a gateway (its name stands in \`device\`): JSON list.
ALTER TABLE claims ADD COLUMN sites TEXT;

-- Which gateways have brought rows of a device.
CREATE TABLE gateway_devices (
  gateway TEXT NOT NULL,
  device INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  PRIMARY KEY (gateway, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX gateway_devices_device ON gateway_devices (device);
CREATE INDEX gateway_devices_age ON gateway_devices (last_ms);
INSERT INTO gateway_devices SELECT CASE instr(gateway, '@') WHEN 0 THEN gateway ELSE substr(gateway, 1, instr(gateway, '@') - 1) END AS name,
    device, 3600000 * coalesce(max(hour), 0) FROM verdicts WHERE instr(gateway, '@') <> 1 GROUP BY name, device;

-- Where a device was until when: what its former site's gateway still has of that time is taken.
CREATE TABLE device_moves (
  device INTEGER NOT NULL REFERENCES devices (id),
  site TEXT NOT NULL,
  left_ms INTEGER NOT NULL,
  PRIMARY KEY (device, site)
) STRICT, WITHOUT ROWID;

-- Rises with every change a gateway makes to its row; the counts of the highest stand.
ALTER TABLE verdicts ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
UPDATE verdicts SET revision = confirmed + rejected + unjudged;

-- Whose gateways are to hear of it; NULL: everybody's, of a device that was gone when sites were added.
ALTER TABLE revocations ADD COLUMN site TEXT;
UPDATE revocations SET site = (SELECT site FROM devices d WHERE d.name = revocations.name);
`

/** What a device signs counts for a rollout from the first assignment on that names its release: first of all, and since it was last told to
 *  run another. Of those exposed before: whatever is signed. */
const WORDS = `
ALTER TABLE rollout_devices ADD COLUMN first_seq INTEGER;
ALTER TABLE rollout_devices ADD COLUMN since_seq INTEGER;
UPDATE rollout_devices SET first_seq = 0, since_seq = 0 WHERE stage IS NOT NULL;

-- 1: reports of the device are signed; one that is not is none
ALTER TABLE device_keys ADD COLUMN signs_reports INTEGER NOT NULL DEFAULT 0;
-- of a signed report: the link of the newest wake (contract/attested-report.ts)
ALTER TABLE reports ADD COLUMN wake_link BLOB;

-- Slots of which the cloud asks a gateway for the wakes, with what the gateway had said of them by then. state: asked | judged | void.
-- wakes: verdicts compared, of which differ are others than the gateway's; wanting: 1 when wakes that the device signed were not brought
CREATE TABLE wake_checks (
  id INTEGER PRIMARY KEY,
  gateway TEXT NOT NULL,
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  confirmed INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  asked_ms INTEGER NOT NULL,
  state TEXT NOT NULL DEFAULT 'asked',
  wakes INTEGER NOT NULL DEFAULT 0,
  differ INTEGER NOT NULL DEFAULT 0,
  wanting INTEGER NOT NULL DEFAULT 0,
  UNIQUE (device, boot, slot, gateway)
) STRICT;
CREATE INDEX wake_checks_gateway ON wake_checks (gateway, state, id);
CREATE INDEX wake_checks_age ON wake_checks (asked_ms, id);
`

/** Service tokens one by one: who asked for each, whether it is revoked, and which key signs them. */
const TOKEN_RECORDS = `
ALTER TABLE tokens ADD COLUMN parent TEXT;         -- jti of the token that asked for it; NULL: the cloud itself, or one of before
ALTER TABLE tokens ADD COLUMN revoked_ms INTEGER;  -- NULL: it is not
CREATE INDEX tokens_of_services ON tokens (jti) WHERE kind <> 'device';
CREATE INDEX tokens_parent ON tokens (parent) WHERE parent IS NOT NULL;
CREATE TABLE token_key (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  kid TEXT NOT NULL
) STRICT;
`

/** What the pipelines of a bundle count, and what judges its wakes. */
const SIGNALS = `
CREATE TABLE pipeline_verdicts (
  device INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  model TEXT NOT NULL,
  pipeline INTEGER NOT NULL,       -- index in its bundle
  gateway TEXT NOT NULL,
  hour INTEGER,
  confirmed INTEGER NOT NULL,
  rejected INTEGER NOT NULL,
  unjudged INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  PRIMARY KEY (device, boot, slot, model, pipeline, gateway)
) STRICT, WITHOUT ROWID;
INSERT INTO pipeline_verdicts SELECT device, boot, slot, model, 0, gateway, hour, confirmed, rejected, unjudged, revision FROM verdicts;
DROP TABLE verdicts;
ALTER TABLE pipeline_verdicts RENAME TO verdicts;
CREATE INDEX verdicts_hour ON verdicts (hour);

ALTER TABLE aggregates ADD COLUMN signals TEXT; -- JSON list, contract/signals.ts; NULL: the model declares none

ALTER TABLE releases ADD COLUMN verifier TEXT;  -- sha256 of the bundle that judges its wakes; NULL: what gateways have does
`

/** What gates read of a device's signals. */
const DEVICE_SIGNALS = `
ALTER TABLE device_hours ADD COLUMN signals TEXT; -- as of the report, JSON list, contract/signals.ts; NULL: the model declares none
ALTER TABLE releases ADD COLUMN signals TEXT;     -- JSON list of { id, signals } by pipeline; NULL: it declares none
`

/** Families: what a release belongs to and a device follows. Of before there is one, `default`. */
const FAMILIES = `
ALTER TABLE releases ADD COLUMN family TEXT NOT NULL DEFAULT 'default';
ALTER TABLE devices ADD COLUMN family TEXT NOT NULL DEFAULT 'default';
ALTER TABLE claims ADD COLUMN family TEXT;        -- NULL: the claim is a gateway's
UPDATE claims SET family = 'default' WHERE sites IS NULL;
CREATE INDEX releases_family ON releases (family, state);
CREATE INDEX devices_family ON devices (family, name);
`

/** Several rollouts may be open, each device in one of them. */
const OPEN_ROLLOUTS = `
DROP INDEX one_open_rollout;
CREATE INDEX open_rollouts ON rollouts (created_ms) WHERE state IN ('running', 'paused');
CREATE TRIGGER one_rollout_a_device BEFORE INSERT ON rollout_devices
WHEN EXISTS (SELECT 1 FROM rollouts WHERE id = NEW.rollout AND state IN ('running', 'paused'))
  AND EXISTS (SELECT 1 FROM rollout_devices d JOIN rollouts r ON r.id = d.rollout WHERE d.device = NEW.device
    AND d.rollout <> NEW.rollout AND d.left_ms IS NULL AND r.state IN ('running', 'paused'))
BEGIN SELECT RAISE(ABORT, 'a device takes part in one rollout at a time'); END;
`

/** Each entry of the audit log names the hash of the one before. */
const AUDIT_CHAIN = `
ALTER TABLE audit ADD COLUMN prev TEXT;
ALTER TABLE audit ADD COLUMN hash TEXT;
`

/** Queries with a name. */
const GROUPS = `
CREATE TABLE groups (
  name TEXT PRIMARY KEY,
  query TEXT NOT NULL,
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL
) STRICT;
`

/** Slices of a rollout's fleet. */
const SLICES = `
ALTER TABLE rollout_devices ADD COLUMN board TEXT;       -- as of when it joined the rollout; NULL: it joined before there were slices
ALTER TABLE rollout_devices ADD COLUMN site TEXT;
ALTER TABLE rollout_devices ADD COLUMN environment TEXT; -- NULL also: it had reported no background level
CREATE TABLE rollout_slices (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  stage INTEGER NOT NULL,
  signal TEXT NOT NULL,
  slice INTEGER NOT NULL,          -- index in the rollout's plan
  d REAL,                          -- NULL: no batch
  variance REAL,
  log_e REAL NOT NULL,             -- of everybody exposed, as in rollout_later
  PRIMARY KEY (rollout, stage, signal, slice)
) STRICT, WITHOUT ROWID;
`

/** Gate policies by name. */
const POLICIES = `
CREATE TABLE gate_policies (
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  policy TEXT NOT NULL,            -- JSON, whole
  created_ms INTEGER NOT NULL,
  created_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (name, version)
) STRICT, WITHOUT ROWID;
ALTER TABLE rollouts ADD COLUMN policy_name TEXT; -- name@version that it was started with; NULL: none
`

/** Alerts about a part of the fleet, that somebody has taken on, and that a receiver was told of; signed reports by an index. */
const ALERTS = `
ALTER TABLE alerts ADD COLUMN cohort TEXT NOT NULL DEFAULT ''; -- as a query of devices; '': the whole fleet
DROP INDEX one_open_alert;
CREATE UNIQUE INDEX one_open_alert ON alerts (code, metric, model, cohort) WHERE state = 'open';
ALTER TABLE alerts ADD COLUMN acknowledged TEXT; -- JSON: ms, by, reason; NULL: by nobody
ALTER TABLE alerts ADD COLUMN told TEXT NOT NULL DEFAULT ''; -- the state that the receiver of alerts was told of
UPDATE alerts SET told = state;
CREATE INDEX alerts_untold ON alerts (id) WHERE told <> state;
CREATE INDEX alerts_open ON alerts (id) WHERE state = 'open';
-- Asked for every verdict: of a device that signs none, all of its reports were looked through.
CREATE INDEX reports_signed ON reports (device, boot, seq) WHERE wake_link IS NOT NULL;
`

/** Requests that carry a key, so that the same one is not done twice. */
const REQUESTS = `
CREATE TABLE requests (
  subject TEXT NOT NULL,           -- of the token
  key TEXT NOT NULL,
  fingerprint TEXT NOT NULL,       -- SHA-256 of method, path and body, hex
  at_ms INTEGER NOT NULL,
  took_effect INTEGER NOT NULL DEFAULT 0, -- set in the transaction of its first change
  status INTEGER,                  -- HTTP; NULL: not answered
  answer TEXT,                     -- JSON; NULL: none that may be kept
  PRIMARY KEY (subject, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (at_ms);
`

/** Alerts that nobody is told of for a while. */
const SILENCES = `
CREATE TABLE silences (
  id INTEGER PRIMARY KEY,
  code TEXT NOT NULL,              -- of alerts
  metric TEXT,                     -- NULL: any
  cohort TEXT,                     -- NULL: any; '': the whole fleet
  from_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  set_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  ended_ms INTEGER                 -- NULL: in force
) STRICT;
CREATE INDEX silences_in_force ON silences (code) WHERE ended_ms IS NULL;
CREATE INDEX silences_ended ON silences (ended_ms) WHERE ended_ms IS NOT NULL;
`

/** Baselines of any signal. Those that are there keep what they know: false wakes, duty cycle and noise. */
const BASELINE_SIGNALS = `
UPDATE baselines SET hours = (
  SELECT json_group_array(json(hour)) FROM (
    SELECT CASE WHEN type = 'null' THEN 'null' ELSE json_object(
      'uptimeMs', json_extract(value, '$.listeningMs'),
      'sums', json_object(
        'falseWakesPerHour', json_array(json_extract(value, '$.rejected'), json_extract(value, '$.listeningMs') / 3600000.0, 0, 0),
        'dutyCycle', json_array(json_extract(value, '$.activeMs') / 3600000.0, json_extract(value, '$.listeningMs') / 3600000.0, 0, 0)),
      'bins', json_object('noiseFloor', json_extract(value, '$.noiseBins'))) END AS hour
    FROM json_each(baselines.hours) ORDER BY key));
`

/** Roles of people. A token of before that was for an operator could do everything, and still can. */
const ROLES = `
UPDATE tokens SET kind = 'admin' WHERE kind <> 'device' AND kind = 'operator';
`

/** Risk of releases and families, who has approved a bundle, incidents. */
const GOVERNANCE = `
ALTER TABLE releases ADD COLUMN risk TEXT NOT NULL DEFAULT 'low';
CREATE TABLE family_risks (
  family TEXT PRIMARY KEY,
  risk TEXT NOT NULL,              -- its releases have this one at least
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE approvals (
  id INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL,            -- of the bundle
  approved_by TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  reason TEXT NOT NULL,
  ended_ms INTEGER                 -- NULL: it counts
) STRICT;
CREATE UNIQUE INDEX one_approval ON approvals (sha256, approved_by) WHERE ended_ms IS NULL;
CREATE TABLE incidents (
  id INTEGER PRIMARY KEY,
  severity TEXT NOT NULL,          -- P0 to P3
  title TEXT NOT NULL,
  family TEXT,                     -- NULL: any
  site TEXT,
  rollout TEXT,
  began_ms INTEGER NOT NULL,       -- from when on its timeline is read
  opened_ms INTEGER NOT NULL,
  opened_by TEXT NOT NULL,
  closed_ms INTEGER,               -- NULL: open
  closed_by TEXT,
  outcome TEXT                     -- what ended it
) STRICT;
CREATE TABLE incident_notes (
  id INTEGER PRIMARY KEY,
  incident INTEGER NOT NULL REFERENCES incidents (id),
  at_ms INTEGER NOT NULL,
  noted_by TEXT NOT NULL,
  words TEXT NOT NULL
) STRICT;
CREATE INDEX notes_of_incidents ON incident_notes (incident, id);
CREATE INDEX alerts_by_time ON alerts (since_ms);
`

/** Rollouts of devices that were chosen at the start, what devices keep by them, experiments, and how many install at once. */
const COHORTS = `
ALTER TABLE rollouts ADD COLUMN cohort TEXT;  -- query that chose its devices, '': all that there were; NULL: whoever is enrolled takes part
ALTER TABLE rollouts ADD COLUMN experiment_hours REAL; -- how long it lasts, then its devices go back; NULL: it is none
CREATE TABLE rollout_cohort (
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  device INTEGER NOT NULL REFERENCES devices (id),
  left_ms INTEGER,                 -- when it was removed or came to a board that the release is not for; NULL: it is in it
  PRIMARY KEY (rollout, device)
) STRICT, WITHOUT ROWID;
CREATE INDEX rollout_cohort_by_device ON rollout_cohort (device);
CREATE TABLE keeps (
  device INTEGER NOT NULL REFERENCES devices (id),
  rollout TEXT NOT NULL REFERENCES rollouts (id), -- whose release it keeps, beside production
  ended_by TEXT,                   -- a later rollout, or what else happened; NULL: it keeps it
  PRIMARY KEY (device, rollout)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_keep_a_device ON keeps (device) WHERE ended_by IS NULL;
CREATE INDEX keeps_by_rollout ON keeps (rollout);
CREATE INDEX keeps_ended ON keeps (ended_by) WHERE ended_by IS NOT NULL;
ALTER TABLE rollouts ADD COLUMN installing_max INTEGER;      -- devices that install at once; NULL: any number
ALTER TABLE rollouts ADD COLUMN installing_max_site INTEGER; -- the same of one site
CREATE INDEX devices_waiting ON devices (rollout) WHERE dirty = 2; -- for their turn to be told
CREATE TABLE install_turns (
  device INTEGER PRIMARY KEY REFERENCES devices (id),
  rollout TEXT NOT NULL REFERENCES rollouts (id),
  given_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX install_turns_by_rollout ON install_turns (rollout);
`

export const MIGRATIONS: readonly Migration[] = [
  { version: 1, name: 'fleet, registry, assignments, audit', sql: FLEET },
  { version: 2, name: 'telemetry', sql: TELEMETRY },
  { version: 3, name: 'rollouts', sql: ROLLOUTS },
  { version: 4, name: 'image repository', sql: METADATA },
  { version: 5, name: 'device identity', sql: IDENTITY },
  { version: 6, name: 'releases without signatures', sql: RELEASE_CONTENT },
  { version: 7, name: 'slots of uptime', sql: SLOTS },
  { version: 8, name: 'gateways, ages, devices that left', sql: OPERATIONS },
  { version: 9, name: 'gates of every stage', sql: GATES },
  { version: 10, name: 'service tokens', sql: SERVICES },
  { version: 11, name: 'gateways by enrolment', sql: GATEWAY_IDENTITY },
  { version: 12, name: 'what a signed word is about', sql: WORDS },
  { version: 13, name: 'records of service tokens', sql: TOKEN_RECORDS },
  { version: 14, name: 'signals, verifiers of releases', sql: SIGNALS },
  { version: 15, name: 'signals of devices', sql: DEVICE_SIGNALS },
  { version: 16, name: 'families', sql: FAMILIES },
  { version: 17, name: 'several open rollouts', sql: OPEN_ROLLOUTS },
  { version: 18, name: 'audit chain', sql: AUDIT_CHAIN, fill: chainAudit },
  { version: 19, name: 'saved groups', sql: GROUPS },
  { version: 20, name: 'slices of rollouts', sql: SLICES },
  { version: 21, name: 'named gate policies', sql: POLICIES },
  { version: 22, name: 'alerts of cohorts, acknowledged, told', sql: ALERTS },
  { version: 23, name: 'requests with a key', sql: REQUESTS },
  { version: 24, name: 'silences', sql: SILENCES },
  { version: 25, name: 'baselines of any signal', sql: BASELINE_SIGNALS },
  { version: 26, name: 'roles of people, risk, approvals, incidents', sql: ROLES + GOVERNANCE },
  { version: 27, name: 'rollouts of chosen devices, experiments, turns to install', sql: COHORTS },
]
