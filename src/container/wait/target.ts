import { connectTo } from '../connect/connect.ts'
import type { ContainerCore } from '../core.ts'
import { readLogs } from '../logs/logs.ts'
import { logSource } from '../logs/source.ts'
import { hasHealthCheck } from '../lifecycle/wait-condition.ts'
import type { WaitLine, WaitTarget } from './strategy.ts'

/** This container, to be waited for. */
export function waitTarget(core: ContainerCore): WaitTarget {
  return {
    name: core.record.name,
    checksHealth: hasHealthCheck(core),
    until: (look, options) => core.until(look, options),
    logs: (signal) => sinceStart(core, signal),
    async tail(lines) {
      const last: WaitLine[] = []
      for await (const line of readLogs(logSource(core), { tail: lines })) last.push(line)
      return last
    },
    connect: (port, signal) => connectTo(core, port, { signal }),
  }
}

/** Not what an earlier run of a container that was started again has written. */
async function* sinceStart(core: ContainerCore, signal: AbortSignal): AsyncGenerator<WaitLine> {
  const source = logSource(core)
  const since = await core.until((state) => state?.startedAt, {
    signal,
    what: `waiting for ${core.record.name} to be started`,
  })
  for await (const line of readLogs(source, { follow: true, signal })) {
    // In nanoseconds, of one form: compared as text.
    if (line.timestamp >= since) yield line
  }
}
