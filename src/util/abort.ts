import { keelsonError, KeelsonError } from '../errors.ts'

/**
 * What a call rejects with when its caller's signal ended it, `AbortSignal.timeout()` among them: `KEELSON_ABORTED` with the signal's reason
 * as the `cause`. `KEELSON_TIMEOUT` is for the `timeout` options of calls alone. A reason that is a Keelson error already is passed on.
 * @internal
 */
export function abortedError(signal: AbortSignal, what: string): KeelsonError {
  const reason: unknown = signal.reason
  if (KeelsonError.is(reason)) return reason
  const timedOut = reason instanceof DOMException && reason.name === 'TimeoutError'
  const why = timedOut ? 'aborted: its signal gave it no more time' : 'aborted'
  return keelsonError('KEELSON_ABORTED', `${sentence(what)} was ${why}.`, { cause: reason })
}

/** @internal */
export function throwIfAborted(signal: AbortSignal | undefined, what: string): void {
  if (signal?.aborted === true) throw abortedError(signal, what)
}

/**
 * Waits for work that several callers share, and lets one of them leave without stopping it for the others.
 * @internal
 */
export async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  what: string,
): Promise<T> {
  if (signal === undefined) return await work
  // Also when we leave at once: then nobody else may be there to hear of a failure.
  work.catch(() => {})
  throwIfAborted(signal, what)
  let leave: (() => void) | undefined
  try {
    return await new Promise<T>((resolve, reject) => {
      leave = () => reject(abortedError(signal, what))
      signal.addEventListener('abort', leave, { once: true })
      work.then(resolve, reject)
    })
  } finally {
    if (leave !== undefined) signal.removeEventListener('abort', leave)
  }
}

function sentence(what: string): string {
  return what.slice(0, 1).toUpperCase() + what.slice(1)
}
