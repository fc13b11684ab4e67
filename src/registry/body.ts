import { keelsonError, type KeelsonError } from '../errors.ts'
import { abortedError } from '../util/abort.ts'
import { connectionFailure, protocolFailure } from './failure.ts'
import type { Answer } from './transport.ts'

/** How a body is read. */
export interface Reading {
  /** Milliseconds to wait for a byte. */
  stall: number
  /** Milliseconds for all of it: against documents that come drop by drop. */
  total?: number
  signal: AbortSignal | undefined
}

/**
 * The body piece by piece. The stall timer runs only while we wait for the registry, never while the consumer is at work.
 * Leaving the loop early ends the connection.
 */
export async function* chunksOf(answer: Answer, reading: Reading): AsyncGenerator<Uint8Array> {
  const { body } = answer
  const iterator: AsyncIterator<unknown> = body[Symbol.asyncIterator]()
  let late: number | undefined
  const giveUp = (after: number) => () => {
    late = after
    body.destroy(new Error('too slow'))
  }
  const deadline =
    reading.total === undefined ? undefined : setTimeout(giveUp(reading.total), reading.total)
  try {
    for (;;) {
      const timer = setTimeout(giveUp(reading.stall), reading.stall)
      let next: IteratorResult<unknown>
      try {
        next = await iterator.next()
      } catch (error) {
        throw late === undefined
          ? readFailure(error, answer, reading)
          : lateFailure(answer, late, late === reading.stall)
      } finally {
        clearTimeout(timer)
      }
      if (next.done === true) return
      if (next.value instanceof Uint8Array) yield next.value
    }
  } finally {
    clearTimeout(deadline)
    body.destroy()
  }
}

/** Reads what nobody wants, if it is short, so that its connection can be used again. */
export async function discard(answer: Answer, signal: AbortSignal | undefined): Promise<void> {
  await readExplanation(answer, { stall: DISCARD_TIME, total: DISCARD_TIME, signal })
}

const DISCARD_TIME = 1000

/** The whole body, refused as soon as it is known to be longer than `limit`. */
export async function readBody(answer: Answer, limit: number, reading: Reading): Promise<Buffer> {
  const announced = contentLength(answer)
  const tooLong = () =>
    protocolFailure(answer.url.host, `sends more than the limit of ${limit} bytes`, { limit })
  if (announced !== undefined && announced > limit) {
    answer.body.destroy()
    throw tooLong()
  }
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of chunksOf(answer, reading)) {
    length += chunk.length
    if (length > limit) throw tooLong()
    chunks.push(chunk)
  }
  if (announced !== undefined && length !== announced) throw cutFailure(answer)
  return Buffer.concat(chunks)
}

/** The beginning of a body that only explains a failure. Whatever happens to it hides nothing. */
export async function readExplanation(answer: Answer, reading: Reading): Promise<string> {
  const chunks: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of chunksOf(answer, reading)) {
      chunks.push(chunk)
      length += chunk.length
      if (length > MAX_EXPLANATION) break
    }
  } catch (error) {
    if (reading.signal?.aborted === true) throw error
  }
  return Buffer.concat(chunks).toString('utf8')
}

const MAX_EXPLANATION = 64 * 1024

/** `Content-Length`, when there is one that makes sense. */
export function contentLength(answer: Answer): number | undefined {
  const value = answer.headers['content-length']
  return value !== undefined && /^[0-9]{1,15}$/.test(value) ? Number(value) : undefined
}

/** The connection ended before the body did. */
export function cutFailure(answer: Answer): KeelsonError {
  return keelsonError(
    'KEELSON_REGISTRY_UNREACHABLE',
    `The registry ${answer.url.host} ended its answer early.`,
    { hint: 'Check the network.', registry: answer.url.host, transient: true },
  )
}

/** One silence may pass; a whole document that came too slowly will do so again. */
function lateFailure(answer: Answer, after: number, transient: boolean): KeelsonError {
  return keelsonError(
    'KEELSON_REGISTRY_UNREACHABLE',
    `The registry ${answer.url.host} did not send its answer within ${after} ms.`,
    { hint: 'Check the network.', registry: answer.url.host, timeout: after, transient },
  )
}

function readFailure(error: unknown, answer: Answer, { signal }: Reading): KeelsonError {
  if (signal?.aborted === true) return abortedError(signal, `reading from ${answer.url.host}`)
  return connectionFailure(error, answer.url)
}
