/** What crosses a wire or a flash boundary, for who writes another device, gateway or tool: messages and topics, bundles and their
 *  manifests, signed documents, the client of update metadata, patches, limits and error codes. Everything here is portable: no
 *  `node:` module, no clock and no randomness of its own. */
export { encodeEvent, readSignedEvent, type SignedEvent } from './attested-event.ts'
export type { Brand } from './brand.ts'
export { type BundleSection, decodeBundle, encodeBundle, hasBundleMagic } from './bundle.ts'
export { bytesEqual, bytesToHex, hexToBytes, sha256, sha256Hex } from './bytes.ts'
export type { Clock } from './clock.ts'
export { enrolmentMessage, eventMessage, rotationMessage, type Sign, tokenMessage } from './device-proof.ts'
export { type ClaimFile, claimFileSchema } from './enrolment.ts'
export { type ContractError, contractError, ERROR_CODES, type ErrorCode } from './errors.ts'
export { type Head, labelsOf } from './head.ts'
export { LADDER_LEVELS, type LadderLevel } from './ladder-levels.ts'
export { LIMITS, TUF_LIMITS, type TufLimits } from './limits.ts'
export {
  type BundleManifest,
  decodeGolden,
  encodeGolden,
  featuresSha256,
  type Golden,
  graphSection,
  type LadderStep,
  labelsOfPipeline,
  parseManifest,
  requirementSha256,
  SECTIONS,
} from './manifest.ts'
export type { WakePolicy } from './manifest-fields.ts'
export type { BundleInput, FeatureRecord, GraphEnds, Pipeline, PipelineLink, PipelineRun } from './manifest-v2.ts'
export type { MessageCodec } from './message-codec.ts'
export {
  type Block,
  blockCheck,
  blockCodec,
  COUNTER_NAMES,
  type CounterName,
  type Counters,
  type DeviceEvent,
  ENERGY_NAMES,
  type EnergyName,
  EVENT_CODES,
  type EventCode,
  encodeBlock,
  eventCodec,
  type Get,
  getCodec,
  type Meta,
  type MetaGet,
  metaCodec,
  metaGetCodec,
  NOISE_BIN_EDGES,
  POSTERIOR_BIN_EDGES,
  type Report,
  reportCodec,
  SCHEMA_VERSION,
  type Verdict,
  verdictCodec,
  type Wake,
  wakeCodec,
} from './messages.ts'
export { type MetadataFile, metadataFileName, parseMetadataFile, targetPathOf } from './metadata-file.ts'
export { PatchDecoder } from './patch/patch-decoder.ts'
export {
  isPatchImage,
  PATCH_HEADER_BYTES_MAX,
  PATCH_METHODS,
  type PatchHeader,
  type PatchImage,
  type PatchMethod,
  readPatchHeader,
} from './patch/patch-header.ts'
export type { PatchSlots } from './patch/patch-space.ts'
export { PATCH_STATE_BYTES, type PatchDecoderOptions } from './patch/patch-state.ts'
export { type SecureRandom, type SeededRandom, seededRandom } from './random.ts'
export {
  type Assignment,
  type AssignmentContext,
  agreesWithRepository,
  assignmentSchema,
  type Release,
  type ReleasePatch,
  releaseSchema,
  verifyAssignment,
} from './release.ts'
export { directorOf, releaseOfTarget } from './repository-target.ts'
export { err, ok, type Result } from './result.ts'
export { keyIdOf, type PublicKey, publicKeyOf, type Signed, type TrustedRole } from './signed.ts'
export { advanceFloor, effectiveNow, NO_TIME_FLOOR, raiseFloor, type TimeFloor } from './time-floor.ts'
export {
  blockTopic,
  type DeviceId,
  DOWNLINK_KINDS,
  type DownlinkKind,
  devicePrefix,
  type ParsedTopic,
  parseDeviceId,
  parseSiteId,
  parseTopic,
  type SiteId,
  topicOf,
  UPLINK_KINDS,
  type UplinkKind,
} from './topics.ts'
export { checkTarget, targetAddress } from './tuf/file-check.ts'
export type { RootMetadata, SnapshotMetadata, TargetFile, TargetsMetadata, TimestampMetadata } from './tuf/metadata.ts'
export type { Fetched, FetchStep } from './tuf/metadata-fetch.ts'
export { PORTABLE_SCHEMES, type SignatureScheme, type SignatureSchemes, schemeName } from './tuf/signature-scheme.ts'
export { type SearchStep, TargetSearch } from './tuf/target-search.ts'
export { type TrustedFiles, TrustedSet } from './tuf/trusted-set.ts'
export { beginUpdate, type CycleResult, UpdateCycle, type UpdateOptions, type UpdateStep } from './tuf/update-cycle.ts'
