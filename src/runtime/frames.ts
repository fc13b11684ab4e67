import { keelsonError } from '../errors.ts'

/** Longest frame either side accepts; see `docs/helper-protocol.md`. */
const MAX_FRAME = 16 * 1024 * 1024
const HEADER = 4

/** One message as it goes over the wire. */
export function encodeFrame(message: object): Buffer {
  const body = JSON.stringify(message)
  const length = Buffer.byteLength(body)
  if (length > MAX_FRAME) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `The request to the helper has ${length} bytes; at most ${MAX_FRAME} can be sent.`,
      { hint: 'Pass large values as files or streams, not as options or environment.' },
    )
  }
  const frame = Buffer.allocUnsafe(HEADER + length)
  frame.writeUInt32LE(length, 0)
  frame.write(body, HEADER)
  return frame
}

/** Cuts a byte stream into messages, whatever the chunks it arrives in. */
export class FrameDecoder {
  #pending: Buffer = Buffer.alloc(0)

  /** What has arrived behind the messages that were given out. */
  get rest(): Buffer {
    return this.#pending
  }

  /** The messages that `chunk` completes, `most` of them. */
  push(chunk: Buffer, most = Number.POSITIVE_INFINITY): unknown[] {
    const messages: unknown[] = []
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    let start = 0
    while (messages.length < most && this.#pending.length - start >= HEADER) {
      const length = this.#pending.readUInt32LE(start)
      if (length > MAX_FRAME) {
        throw keelsonError('KEELSON_HELPER_FAILED', `The helper sent a frame of ${length} bytes.`)
      }
      const end = start + HEADER + length
      if (this.#pending.length < end) break
      messages.push(JSON.parse(this.#pending.toString('utf8', start + HEADER, end)))
      start = end
    }
    this.#pending = this.#pending.subarray(start)
    return messages
  }
}
