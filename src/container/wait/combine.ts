import { startTimer } from '../../util/timer.ts'
import { keelsonError } from '../../errors.ts'
import { show } from '../../util/printable.ts'
import { timeoutOf, whileRunning, poll, type WaitOptions } from './leaf.ts'
import { isStrategy, NotReady, type WaitStrategy, type WaitTarget } from './strategy.ts'

/** One strategy within its own time. Rejects with {@link NotReady} when it failed or was not so in time. */
export async function carryOut(
  strategy: WaitStrategy,
  target: WaitTarget,
  signal: AbortSignal,
): Promise<void> {
  const { timeout } = strategy
  if (timeout === undefined) return await strategy.wait(target, signal)
  const late = new AbortController()
  const stopTimer = startTimer(timeout, () => late.abort())
  try {
    await strategy.wait(target, AbortSignal.any([signal, late.signal]))
  } catch (cause) {
    if (!late.signal.aborted || signal.aborted) throw cause
    const why = cause instanceof NotReady ? `: ${cause.message}` : ''
    throw new NotReady(`${strategy.description} took longer than ${timeout} ms${why}`, {
      timedOut: true,
      cause,
    })
  } finally {
    stopTimer()
  }
}

export function waitForAll(
  strategies: readonly WaitStrategy[],
  options: WaitOptions = {},
): WaitStrategy {
  return combined(strategies, ' and ', options, async (works) => {
    await Promise.all(works)
  })
}

export function waitForAny(
  strategies: readonly WaitStrategy[],
  options: WaitOptions = {},
): WaitStrategy {
  return combined(strategies, ' or ', options, async (works) => {
    try {
      await Promise.any(works)
    } catch (cause) {
      const errors: unknown[] = cause instanceof AggregateError ? cause.errors : [cause]
      const stranger = errors.find((error) => !(error instanceof NotReady))
      if (stranger !== undefined) throw stranger
      const why = errors.map((error) => (error as NotReady).message).join('; ')
      const timedOut = errors.some((error) => (error as NotReady).timedOut)
      throw new NotReady(why, { timedOut, cause })
    }
  })
}

/** All at once; those that are no longer of use are stopped. */
function combined(
  strategies: readonly WaitStrategy[],
  word: string,
  options: WaitOptions,
  settle: (works: Promise<void>[]) => Promise<void>,
): WaitStrategy {
  const known = Array.isArray(strategies) && strategies.every((each) => isStrategy(each))
  if (!known || strategies.length === 0) {
    throw keelsonError('KEELSON_INVALID_OPTION', 'There is nothing to wait for.', {
      hint: 'Give a list of one strategy or more: [wait.port(80), wait.healthy()].',
    })
  }
  return {
    description: strategies.map((each) => each.description).join(word),
    ...timeoutOf(options),
    wait: async (target, signal) => {
      const stop = new AbortController()
      const own = AbortSignal.any([signal, stop.signal])
      const works = strategies.map((each) => carryOut(each, target, own))
      try {
        await settle(works)
      } finally {
        stop.abort()
        await Promise.allSettled(works)
      }
    },
  }
}

export interface WaitUntilOptions extends WaitOptions {
  /** In words, for the error. Default `a function of the program`. */
  description?: string
}

export function waitForCondition(
  isSo: (options: { signal: AbortSignal }) => boolean | Promise<boolean>,
  options: WaitUntilOptions = {},
): WaitStrategy {
  if (typeof isSo !== 'function') {
    throw keelsonError('KEELSON_INVALID_OPTION', `${show(isSo)} is not a function.`, {
      hint: 'Give a function that returns true when it is so.',
    })
  }
  const description = options.description ?? 'a function of the program'
  return whileRunning(description, options, (_, signal, note) =>
    poll(signal, async () => {
      try {
        return await isSo({ signal })
      } catch (error) {
        note(`its last error was: ${error instanceof Error ? error.message : String(error)}`)
        return false
      }
    }),
  )
}
