import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import { KeelsonError } from '../../errors.ts'
import type { ExecPlan } from '../../runtime/monitor-protocol.ts'
import type { MonitorClient } from '../../runtime/monitor.ts'
import type { StdioEvent } from '../../runtime/protocol.ts'
import { deferred } from '../../util/deferred.ts'
import { startFailure } from '../failure.ts'
import type { ContainerExit } from '../lifecycle/monitor-state.ts'
import { howItEnded } from '../run/result.ts'
import { openPipes, type Pipes } from '../run/stdio.ts'
import type { PlannedExec } from './plan.ts'

/** A program that runs in a container. */
export interface StartedExec {
  id: string
  pid: number
  warnings: string[]
  /** Rejects only when the monitor is gone. */
  exited: Promise<ContainerExit>
  /** With a terminal, both ends of it. */
  stdin: Socket | undefined
  /** Ends when the program has ended and nothing more of it is to be read. */
  stdout: AsyncIterable<Buffer>
  stderr: AsyncIterable<Buffer> | undefined
}

/**
 * Executes a program in a container and connects its streams.
 *
 * @param onStarting told the id before anything can be heard of the exec, so that it can be killed
 */
export async function startExec(
  monitor: MonitorClient,
  { process, seccomp }: PlannedExec,
  stdin: ExecPlan['stdio']['stdin'],
  onStarting: (id: string) => void,
): Promise<StartedExec> {
  const id = randomBytes(8).toString('hex')
  const exited = deferred<ContainerExit>()
  exited.promise.catch(() => {})
  let pipes: Pipes | undefined
  let broken: unknown
  const unwatch = monitor.watchExec(id, (event) => {
    if (event.event === 'exec-exit') {
      forget()
      exited.resolve(howItEnded(event))
    } else {
      try {
        pipes = connect(monitor, event)
      } catch (error) {
        broken = error
      }
    }
  })
  const unlisten = monitor.onClose((reason) => {
    unwatch()
    exited.reject(reason)
  })
  const forget = () => {
    unwatch()
    unlisten()
  }
  onStarting(id)
  try {
    const stdio = { stdin, stdout: 'pipe', stderr: 'pipe' } as const
    const { pid, warnings } = await monitor.request('exec', {
      exec: id,
      process,
      stdio,
      bound: true,
      ...(seccomp !== undefined && { seccomp }),
    })
    if (broken !== undefined) throw broken
    const started = { id, pid, warnings, exited: exited.promise }
    if (process.terminal) {
      const terminal = await attachTerminal(monitor, id)
      return { ...started, stdin: terminal, stdout: terminal, stderr: undefined }
    }
    if (pipes === undefined) throw new Error('The monitor has not told of any pipes.')
    const { stdin: input, stdout, stderr } = pipes
    return {
      ...started,
      stdin: input,
      stdout: untilOver(stdout, exited.promise),
      stderr: untilOver(stderr, exited.promise),
    }
  } catch (error) {
    forget()
    for (const pipe of Object.values(pipes ?? {}) as Socket[]) pipe.destroy()
    await killExec(monitor, id)
    const failure = startFailure(error, process)
    throw KeelsonError.is(failure) ? failure : error
  }
}

/** Kills it and all that it has started. It may have ended, or not be there yet: then its start is what fails. */
export async function killExec(monitor: MonitorClient, exec: string): Promise<void> {
  await monitor.request('exec-signal', { exec, all: true }).catch(() => {})
}

function connect(monitor: MonitorClient, event: StdioEvent) {
  try {
    return openPipes(event)
  } finally {
    monitor.release(event.container)
  }
}

async function attachTerminal(monitor: MonitorClient, exec: string): Promise<Socket> {
  return await monitor.attach({ stream: 'terminal', exec })
}

/**
 * What comes out of a pipe, until its end, or until it is empty after the program's end: something that was started in the background
 * may hold it open for long.
 */
async function* untilOver(pipe: Socket, exited: Promise<unknown>): AsyncGenerator<Buffer> {
  let over = false
  let waiting: (() => void) | undefined
  const wake = () => waiting?.()
  const end = async () => {
    await settled()
    over = true
    wake()
  }
  exited.then(end, end)
  pipe.on('readable', wake).on('end', wake).on('close', wake)
  try {
    for (;;) {
      const chunk = pipe.read() as Buffer | null
      if (chunk !== null) {
        yield chunk
        continue
      }
      if (over || pipe.readableEnded || pipe.destroyed) return
      await new Promise<void>((resolve) => (waiting = resolve))
    }
  } finally {
    pipe.destroy()
  }
}

/** What the program wrote before its end is in the pipe by now, and in this process after a turn of the event loop or two. */
async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
}
