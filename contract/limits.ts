/** Every bound of the contract, checked before anything is parsed or allocated. Each line says where its number is from:
 *  "spec" (a standard, or the design of the protocol, fixes it), "measured" (seen on real files, with head room) or "chosen" (with the reason).
 */
export const LIMITS = {
  /** spec: ids of devices, sites and gateways are one MQTT topic level; chosen length: a UUID has 36 characters, a serial number with its
   *  maker's prefix some more. */
  idLength: 64,
  /** chosen: names of releases, graphs, roles, boards and tags are read by people, and file names are made of them. */
  nameLength: 32,
  /** spec: the longest topic is kinglet/v1/{site}/{device}/block/{hash}, 211 bytes with ids of 64. */
  topicBytes: 224,
  /** spec: a report of the default set is at most this; `test/contract` holds the encoder to it. */
  reportDefaultBytes: 256,
  /** measured: link (18) and signature (67) of a device with a key. */
  reportSignedBytes: 85,
  /** measured: the default set, 64 signal numbers of 5 bytes with 3 of their list, and the signature are 664. */
  reportBytes: 700,
  /** measured: 490 bytes of features and 60 of fields; room for a 1 KiB feature map. */
  wakeBytes: 1_280,
  /** spec: MLPerf Tiny keyword spotting has 490; chosen bound for other front ends. */
  featureBytes: 1_024,
  /** chosen: a code, a hash, a short detail in any script, and 76 bytes of signature and counter. */
  eventBytes: 576,
  /** chosen: one short text for people. */
  eventDetailLength: 120,
  /** chosen: hash, offset, length. */
  getBytes: 64,
  /** chosen: fits any broker's default packet limit and a device's RAM; one radio burst. */
  blockBytes: 4_096,
  /** chosen: block payload and its CBOR fields. */
  blockMessageBytes: 4_096 + 64,
  /** spec: names in the manner of `12.root.json`; chosen length, with room for ten digits and a role name of 32. */
  metadataFileLength: 80,
  /** chosen: one metadata file of the image repository, what a device holds in RAM while it verifies. How many releases
   *  that is says TUF_LIMITS.targetsBytes; a repository that grows past it delegates. */
  metadataFileBytes: 64 * 1024,
  /** measured: 8 keys and 16 signatures are 5 kB; what is larger no device reads. */
  metadataRootBytes: 16 * 1024,
  /** chosen: keys or signatures of one metadata file; a rotated root is signed by old and new keys. */
  metadataSignatures: 16,
  /** spec: version numbers rise by one; chosen bound: one a second for 300 years, and no name past ten digits. */
  metadataVersion: 9_999_999_999,
  /** chosen: a file name and an offset. */
  metaGetBytes: 112,
  /** chosen: a block, its file name and CBOR fields. */
  metaMessageBytes: 4_096 + 160,
  /** measured: about 1.6 kB with a release document of two boards; head room for more boards and signatures. */
  assignmentBytes: 8_192,
  /** chosen: idle slots of the boards in `model/boards.ts` are larger; a DS-CNN bundle is about 0.1 MB. */
  bundleBytes: 4 * 1024 * 1024,
  /** chosen: what tensor maps read (ONNX_MAP_LIMITS, TFLITE_LIMITS). It bounds who makes and applies patches on a computer; a device
   *  takes what its slot holds. */
  patchImageBytes: 64 * 1024 * 1024,
  /** chosen: graphs of four levels, golden vectors, card, lineage; room to grow. */
  bundleSections: 32,
  /** chosen: 32 sections of at most about 100 bytes of table each. */
  bundleTocBytes: 4_096,
  /** measured: about 3 kB for a two-graph keyword spotter. */
  manifestBytes: 65_536,
  /** chosen: labels of one classifier. */
  labels: 64,
  labelLength: 32,
  /** chosen: three words on a shared front of two graphs, a voice detector, and lighter ones of them all. */
  graphs: 16,
  /** chosen: graphs of a pipeline, one after the other; openWakeWord has three. */
  pipelineGraphs: 4,
  /** chosen: states or constant inputs of a graph; an LSTM of two layers has four. */
  graphEnds: 8,
  /** chosen: TFLite's converter writes whole paths. */
  tensorNameLength: 256,
  /** chosen: no operator of the readers has more axes. */
  tensorRank: 8,
  /** chosen: a window of 65 536 values is 256 KiB of floats, more than the boards have. */
  windowValues: 65_536,
  /** chosen: what is kept between two graphs, in values as a window is, and in rows of one value each. */
  bufferValues: 65_536,
  bufferRows: 4_096,
  /** chosen: results of a golden run; a graph may give several rows a window, each of which ends a window of the next. */
  goldenResults: 1_024,
  /** chosen: enough to cover each label twice. */
  goldenVectors: 64,
  /** spec: full, gated, lite, sparse, hibernate. */
  ladderLevels: 5,
  /** chosen: wake words of a bundle, a voice detector and a sensor besides. */
  pipelines: 8,
  /** chosen: what one head has to say; the numbers of all fit a report. */
  signals: 8,
  /** chosen: four pipelines of a histogram, a mean and a few counts. */
  signalNumbers: 64,
  /** spec: at which a signal's number stays, so that the longest report has a bound: 49 days of a thousand a second. */
  signalNumber: 0xffff_ffff,
  /** chosen: 8 bins say as much about drift as the hourly report can afford. */
  histogramBins: 8,
  /** chosen: patches of one release: from the versions of the field, and a compact full image. */
  releasePatches: 16,
  /** chosen: boards named by one release document. */
  boards: 16,
  /** chosen: threshold signing with room for rotation. */
  signatures: 8,
  /** chosen: names a claim, and guesses nothing: its secret is a key of 32 bytes. */
  claimIdBytes: 8,
  /** spec: nonce of 16, time of 6 and truncated HMAC-SHA256 of 16 bytes (cloud/trust/challenges.ts). */
  challengeBytes: 38,
  /** chosen: a gateway serves a site or a few; what names more is wrong about itself, and a question of it stays short. */
  gatewaySites: 64,
  /** measured: a device token has about 400 characters. */
  tokenLength: 2_048,
  /** chosen: the largest request about identity is about 700 bytes of JSON. */
  identityBytes: 4_096,
  /** spec: sums stay exact in a double; a counter above this is refused as hostile. */
  counter: Number.MAX_SAFE_INTEGER,
  /** chosen: wakes of one check by the cloud, some 300 kB as hex; a device that wakes more often in two hours is not checked in them. */
  wakeCheckWakes: 256,
  /** spec: that many wakes of the largest size, and the JSON around them. */
  wakeAnswerBytes: 256 * (2 * 1_280 + 3) + 64,
  /** chosen: checks in one answer to a gateway. */
  wakeChecks: 16,
  /** chosen: rows of one ingest batch of a gateway. */
  ingestRows: 2_000,
  ingestBytes: 8 * 1024 * 1024,
} as const

/** Bounds of update metadata. One table for a device and one for the public conformance suite, whose repositories are larger. */
export interface TufLimits {
  readonly rootBytes: number
  readonly timestampBytes: number
  readonly snapshotBytes: number
  /** of one role: the top-level targets or a delegated one */
  readonly targetsBytes: number
  /** new roots accepted in one cycle; the next cycle goes on from there */
  readonly rootRotations: number
  /** targets roles one search may visit */
  readonly rolesVisited: number
  /** keys of one role, and signatures of one document */
  readonly keysPerRole: number
  /** keys of one document */
  readonly keys: number
  /** delegations of one document */
  readonly delegations: number
  /** path patterns or hash prefixes of one delegation */
  readonly patterns: number
  /** nesting of objects and lists; the format itself needs 7 (delegations, roles, role, paths) */
  readonly jsonDepth: number
  /** UTF-16 units of a role name, a target path or a path pattern */
  readonly nameLength: number
  /** UTF-16 units of one public key; RSA 4096 as PEM has 800 */
  readonly keyLength: number
}

/** What a device reads. */
export const TUF_LIMITS: TufLimits = {
  /** measured: 11 Ed25519 keys and 8 signatures are 4.9 kB; room for a rotation with both sets signing. */
  rootBytes: 16 * 1024,
  /** measured: 502 bytes with one Ed25519 signature, hash and time; `test/unit/contract/tuf` holds it to 600. */
  timestampBytes: 2 * 1024,
  /** chosen: about 60 bytes a role with version only, so 32 roles take 2 kB; room for hashes. */
  snapshotBytes: 8 * 1024,
  /** measured (test/docs): a target with a release document of two boards is 473 bytes, and each of its patches 166 more, so a role has room for
   *  some 50 targets of four patches. */
  targetsBytes: 64 * 1024,
  /** chosen: a device in a drawer for five years of monthly rotations catches up in one cycle. */
  rootRotations: 64,
  /** spec: leaves the number to the application; 32 is what python-tuf and tuf-js take. */
  rolesVisited: 32,
  /** chosen: 8 people and 8 successors. */
  keysPerRole: 16,
  /** chosen: four roles of 8 keys, or as many delegations with keys of their own. */
  keys: 64,
  /** chosen: as many as can be visited. */
  delegations: 32,
  /** chosen: the models of one team, by pattern. */
  patterns: 64,
  /** chosen: room for a `custom` document below the targets. */
  jsonDepth: 16,
  /** chosen: fits a file name of 255 bytes for names of plain characters. */
  nameLength: 200,
  keyLength: 1_024,
}

/** What the conformance client reads. Sizes, rotations and visits are the defaults of python-tuf and tuf-js; the rest is chosen
 *  with room, since there the sizes are the real bound. */
export const TUF_LIMITS_CONFORMANCE: TufLimits = {
  rootBytes: 512_000,
  timestampBytes: 16_384,
  snapshotBytes: 2_000_000,
  targetsBytes: 5_000_000,
  rootRotations: 256,
  rolesVisited: 32,
  keysPerRole: 256,
  keys: 1_024,
  delegations: 4_096,
  patterns: 4_096,
  jsonDepth: 64,
  nameLength: 4_096,
  keyLength: 8_192,
}
