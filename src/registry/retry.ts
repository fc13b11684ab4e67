import { setTimeout as sleep } from 'node:timers/promises'
import type { RetryPolicy } from './options.ts'
import { abortedError } from '../util/abort.ts'

export const DEFAULT_RETRY: RetryPolicy = {
  attempts: 5,
  base: 250,
  max: 10_000,
  maxRetryAfter: 60_000,
  pause: rest,
}

/** Does `attempt` until it succeeds, fails for good, or has failed `policy.attempts` times. */
export async function retrying<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isTransient(error) || failures >= policy.attempts) throw error
      const pause = pauseAfter(failures, error, policy, Math.random())
      if (pause === undefined) throw error
      await policy.pause(pause, signal)
    }
  }
}

/** Whether the same request may well succeed a little later. */
export function isTransient(error: unknown): boolean {
  return error instanceof Error && 'transient' in error && error.transient === true
}

/**
 * How long to pause after the n-th failure in a row, or undefined to give up: the registry's own wish if it has one,
 * else doubling pauses, each shortened at random so that many clients do not come back together.
 *
 * @param random between 0 and 1
 */
export function pauseAfter(
  failures: number,
  error: unknown,
  policy: RetryPolicy,
  random: number,
): number | undefined {
  if (error instanceof Error && 'retryAfter' in error && typeof error.retryAfter === 'number') {
    return error.retryAfter > policy.maxRetryAfter ? undefined : error.retryAfter
  }
  const full = Math.min(policy.max, policy.base * 2 ** (failures - 1))
  return full * (1 - random / 2)
}

async function rest(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    throw signal?.aborted === true ? abortedError(signal, 'waiting for the registry') : error
  }
}
