import type { MonitorState } from '../../runtime/monitor-protocol.ts'
import { exitOf } from '../lifecycle/monitor-state.ts'
import { isActive } from '../lifecycle/state.ts'
import { timeoutOf, whileRunning, type WaitOptions } from './leaf.ts'
import { NotReady, type WaitStrategy } from './strategy.ts'

export interface WaitExitOptions extends WaitOptions {
  /** With this exit code; another is a failure. Default: however it ends. */
  code?: number
}

export function waitForHealthy(options: WaitOptions = {}): WaitStrategy {
  const what = 'its health check to succeed'
  return whileRunning(what, options, async (target, signal) => {
    if (!target.checksHealth) throw new NotReady('it has no health check')
    const why = await target.until((state) => verdict(state), {
      signal,
      what: `waiting for ${what}`,
    })
    if (why !== 'healthy') throw new NotReady(why)
  })
}

function verdict(state: MonitorState | undefined): string | undefined {
  if (state === undefined || !isActive(state.status)) return undefined
  if (state.health?.status === 'healthy') return 'healthy'
  if (state.health?.status !== 'unhealthy') return undefined
  return `its health check failed ${state.health.failingStreak} times in a row`
}

export function waitForExit(options: WaitExitOptions = {}): WaitStrategy {
  const { code } = options
  const what = code === undefined ? 'its end' : `its end with exit code ${code}`
  return {
    description: what,
    ...timeoutOf(options),
    wait: async (target, signal) => {
      const exit = await target.until(
        (state, removed) => {
          const over = state === undefined ? removed : removed || !isActive(state.status)
          return over ? exitOf(state) : undefined
        },
        { signal, what: `waiting for ${what}` },
      )
      if (code === undefined || exit.exitCode === code) return
      throw new NotReady(
        `it ended ${exit.signal === null ? `with exit code ${exit.exitCode}` : `by ${exit.signal}`}`,
      )
    },
  }
}
