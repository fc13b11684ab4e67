import { setTimeout as sleep } from 'node:timers/promises'
import type { MonitorState } from '../../runtime/monitor-protocol.ts'
import { unlessAborted } from '../../util/abort.ts'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { exitOf } from '../lifecycle/monitor-state.ts'
import { isActive } from '../lifecycle/state.ts'
import { NotReady, type WaitStrategy, type WaitTarget } from './strategy.ts'

/** What every strategy takes. */
export interface WaitOptions {
  /** How long this one may take, within the time that all of them have. Default: that. */
  timeout?: Duration
}

/** What a strategy does: `note` says what it last saw, for the error. */
export type WaitWork = (
  target: WaitTarget,
  signal: AbortSignal,
  note: (seen: string) => void,
) => Promise<void>

/** A strategy about a container that runs: it fails as soon as that has ended. */
export function whileRunning(
  description: string,
  options: WaitOptions,
  work: WaitWork,
): WaitStrategy {
  return leaf(description, options, async (target, signal, note) => {
    const ended = target.until(howItEnded, { signal, what: `waiting for ${description}` })
    const failure = ended.then((why) => {
      throw new NotReady(why)
    })
    failure.catch(() => {})
    await Promise.race([work(target, signal, note), failure])
  })
}

/** A strategy that is left at once when its signal fires, and whose work is stopped when it is no longer of use. */
export function leaf(description: string, options: WaitOptions, work: WaitWork): WaitStrategy {
  return {
    description,
    ...timeoutOf(options),
    wait: async (target, signal) => {
      const stop = new AbortController()
      const own = AbortSignal.any([signal, stop.signal])
      let seen: string | undefined
      const note = (text: string) => (seen = text)
      try {
        const working = work(target, own, note)
        await unlessAborted(working, own, `waiting for ${description}`)
      } catch (cause) {
        if (!signal.aborted || seen === undefined) throw cause
        throw new NotReady(seen, { timedOut: true, cause })
      } finally {
        stop.abort()
      }
    },
  }
}

/** In words; undefined while it runs, or may come to. */
export function howItEnded(state: MonitorState | undefined, removed: boolean): string | undefined {
  if (removed) return 'the container was removed'
  if (state === undefined || isActive(state.status)) return undefined
  const { exitCode, signal, oomKilled } = exitOf(state)
  const how = signal === null ? `with exit code ${exitCode}` : `by ${signal}`
  return `the container ended ${how}${oomKilled ? ', out of memory' : ''}`
}

export function timeoutOf({ timeout }: WaitOptions): { timeout?: number } {
  return timeout === undefined ? {} : { timeout: parseDuration(timeout, 'timeout') }
}

/** Process 1, when there is one. */
export function runningPid(target: WaitTarget, signal: AbortSignal): Promise<number> {
  return target.until((state) => (state !== undefined && state.pid > 0 ? state.pid : undefined), {
    signal,
    what: `waiting for ${target.name} to run`,
  })
}

const FIRST_PAUSE_MS = 10
const LONGEST_PAUSE_MS = 100

/** For what the kernel has no event: asks again and again, at first soon, then ten times a second. */
export async function poll(signal: AbortSignal, isSo: () => Promise<boolean>): Promise<void> {
  for (let pause = FIRST_PAUSE_MS; !(await isSo());) {
    await sleep(pause, undefined, { signal })
    pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)
  }
}
