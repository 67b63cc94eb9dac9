import { LIMITS } from '../../../contract/limits.ts'
import { blockCodec, getCodec } from '../../../contract/messages.ts'
import { blockTopic, type DeviceId, devicePrefix, type SiteId } from '../../../contract/topics.ts'

/** QoS-1 PUBLISH: fixed header, topic length, packet id; and the four bytes of its PUBACK. */
const MQTT_OVERHEAD_BYTES = 11

/** Whose topics a message goes over. */
export interface AirAddress {
  readonly site: string
  readonly device: string
}

/** Bytes on the air of one message, with its topic.
 *  @param blockSha256 the artifact's hash, which is a level of a block's topic */
export function messageAirBytes(
  { site, device }: AirAddress,
  kind: string,
  payloadBytes: number,
  blockSha256?: string,
): number {
  const [siteId, deviceId] = [site as SiteId, device as DeviceId]
  const topicBytes =
    blockSha256 === undefined
      ? devicePrefix(siteId, deviceId).length + kind.length
      : blockTopic(siteId, deviceId, blockSha256).length
  return payloadBytes + topicBytes + MQTT_OVERHEAD_BYTES
}

/** Bytes on the air of one block of an artifact and of the request for it. */
export function blockAirBytes(address: AirAddress, sha256: string, offset: number, artifactBytes: number): number {
  const length = Math.min(LIMITS.blockBytes, artifactBytes - offset)
  const request = getCodec.encode({ sha256: new Uint8Array(32), offset, length })
  const answer = blockCodec.encode({
    offset,
    totalBytes: artifactBytes,
    data: new Uint8Array(length),
    check: new Uint8Array(8),
  })
  return messageAirBytes(address, 'get', request.length) + messageAirBytes(address, 'block', answer.length, sha256)
}

/** Bytes on the air of a download from an offset on, when every block comes at the first request. */
export function downloadAirBytes(address: AirAddress, sha256: string, offset: number, artifactBytes: number): number {
  let bytes = 0
  for (let at = offset; at < artifactBytes; at += LIMITS.blockBytes) {
    bytes += blockAirBytes(address, sha256, at, artifactBytes)
  }
  return bytes
}
