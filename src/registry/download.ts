import { keelsonError, type KeelsonError } from '../errors.ts'
import { chunksOf, contentLength, readExplanation, type Reading } from './body.ts'
import { isConnectionError, isEnded, protocolFailure, statusFailure } from './failure.ts'
import type { RetryPolicy } from './options.ts'
import { isTransient, pauseAfter } from './retry.ts'
import type { Answer } from './transport.ts'

/** However much progress each brings: a server must not keep us for ever. */
const MAX_RESUMES = 100

export interface Download {
  /** For messages. */
  digest: string
  size: number
  offset: number
  /** Asks for the blob from `offset` on, with a Range header when it is not 0. */
  open(offset: number): Promise<Answer>
  retry: RetryPolicy
  reading: Reading
}

/**
 * The bytes of a blob from `offset` to exactly `size`. After a cut it goes on where it was, by Range, or by skipping what it has when the
 * server knows no ranges. Whether they are the right bytes, only the digest tells: that is for the caller to check.
 *
 * @throws `KEELSON_SIZE_MISMATCH` when the registry has more or fewer bytes, `KEELSON_BLOB_NOT_FOUND` and the other codes of registries.
 */
export async function* download(blob: Download): AsyncGenerator<Uint8Array> {
  const { size, retry, reading } = blob
  let position = blob.offset
  let failures = 0
  let answered = false
  let ranges = true
  for (let resumes = 0; position < size; resumes++) {
    const start = position
    try {
      const answer = await blob.open(ranges ? position : 0)
      answered = true
      if (answer.status === 416 && ranges) {
        answer.body.destroy()
        ranges = false
        continue
      }
      for await (const chunk of bytesFrom(answer, position, blob)) {
        position += chunk.length
        yield chunk
      }
      if (position < size) throw sizeFailure(blob, `ends after ${position} bytes`, answer, true)
    } catch (error) {
      // What ends a body that nobody told the length of may as well be lost.
      if (position === size && isTransient(error)) return
      const passing = isTransient(error) || (answered && isConnectionError(error))
      failures = position > start ? 1 : failures + 1
      const pause = pauseAfter(failures, error, retry, Math.random())
      if (isEnded(error) || !passing || failures >= retry.attempts) throw error
      if (resumes >= MAX_RESUMES || pause === undefined) throw error
      await retry.pause(pause, reading.signal)
    }
  }
}

/** The part of an answer that we do not have yet, and never more than the blob's size. */
async function* bytesFrom(
  answer: Answer,
  position: number,
  blob: Download,
): AsyncGenerator<Uint8Array> {
  let skip = await startOf(answer, position, blob)
  let left = blob.size - position
  for await (const chunk of chunksOf(answer, blob.reading)) {
    const fresh = chunk.subarray(Math.min(skip, chunk.length))
    skip -= chunk.length - fresh.length
    if (fresh.length > left) {
      throw sizeFailure(blob, `goes on after ${blob.size} bytes`, answer, false)
    }
    left -= fresh.length
    if (fresh.length > 0) yield fresh
  }
}

/** Checks what the headers promise; how many bytes to skip. */
async function startOf(answer: Answer, position: number, blob: Download): Promise<number> {
  try {
    return await checkHeaders(answer, position, blob)
  } catch (error) {
    answer.body.destroy()
    throw error
  }
}

async function checkHeaders(answer: Answer, position: number, blob: Download): Promise<number> {
  const registry = answer.url.host
  if (answer.status !== 200 && answer.status !== 206) {
    const explanation = await readExplanation(answer, blob.reading)
    throw statusFailure(answer, explanation, { kind: 'blob', name: blob.digest })
  }
  const encoding = answer.headers['content-encoding'] ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    throw protocolFailure(registry, 'compresses a blob on its way, which was not asked for')
  }
  const length = contentLength(answer)
  if (answer.status === 200) {
    if (length !== undefined && length !== blob.size) {
      throw sizeFailure(blob, `has ${length} bytes`, answer, false)
    }
    return position
  }
  const range = parseContentRange(answer.headers['content-range'])
  if (range === undefined || range.start !== position || position === 0) {
    throw protocolFailure(registry, 'sends another part of a blob than was asked for')
  }
  if (range.total !== undefined && range.total !== blob.size) {
    throw sizeFailure(blob, `has ${range.total} bytes`, answer, false)
  }
  if (range.end >= blob.size || (length !== undefined && length !== range.end - range.start + 1)) {
    throw protocolFailure(registry, 'sends a Content-Range that contradicts itself')
  }
  return 0
}

/** `bytes 5-9/10`, or with `*` for an unknown total (RFC 9110, 14.4). */
export function parseContentRange(
  header: string | undefined,
): { start: number; end: number; total: number | undefined } | undefined {
  const match = /^bytes ([0-9]{1,15})-([0-9]{1,15})\/([0-9]{1,15}|\*)$/i.exec(header?.trim() ?? '')
  if (match === null) return undefined
  const [start, end] = [Number(match[1]), Number(match[2])]
  const total = match[3] === '*' ? undefined : Number(match[3])
  return end < start || (total !== undefined && end >= total) ? undefined : { start, end, total }
}

function sizeFailure(
  blob: Download,
  what: string,
  answer: Answer,
  transient: boolean,
): KeelsonError {
  const registry = answer.url.host
  return keelsonError(
    'KEELSON_SIZE_MISMATCH',
    `The blob ${blob.digest} ${what} at the registry ${registry}, but must have ${blob.size}.`,
    {
      hint: 'The image is damaged there, or something on the way changes it.',
      registry,
      digest: blob.digest,
      size: blob.size,
      transient,
    },
  )
}
