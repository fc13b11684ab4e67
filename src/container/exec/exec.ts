import { keelsonError } from '../../errors.ts'
import type { TerminalSize } from '../../runtime/monitor-protocol.ts'
import type { MonitorClient } from '../../runtime/monitor.ts'
import { abortedError } from '../../util/abort.ts'
import { parseDuration } from '../../util/duration.ts'
import { parseSize } from '../../util/size.ts'
import { startTimer } from '../../util/timer.ts'
import { Output } from '../run/output.ts'
import { runFailure, type Ending, type RunResult } from '../run/result.ts'
import { abortSignal, refuseUnknown } from '../normalize/call.ts'
import { flag } from '../normalize/values.ts'
import { failedRun, type RunningProcess } from '../run/run.ts'
import { feed, openInput, standardInput, type Input } from '../run/stdio.ts'
import { PROCESS_OPTIONS, type ExecOptions, type ProcessOptions } from './options.ts'
import type { PlannedExec } from './plan.ts'
import { killExec, startExec } from './start.ts'

const DEFAULT_MAX_OUTPUT = 16 * 1024 * 1024
const EXEC_OPTIONS = [
  ...PROCESS_OPTIONS,
  ...'tty stdin timeout signal maxOutput collect reject'.split(' '),
]

/** What executing in one container takes. */
export interface ExecTarget {
  /** @throws when the container does not run */
  monitor(): Promise<MonitorClient>
  plan(
    command: readonly string[],
    options: ProcessOptions & { tty?: boolean | TerminalSize },
  ): Promise<PlannedExec>
  warn(code: string, message: string): void
}

/** Executes a program in a running container and waits for its end. */
export function execIn(
  target: ExecTarget,
  command: string | readonly string[],
  options: ExecOptions = {},
): RunningProcess {
  let run: Running
  try {
    run = begin(command, options)
  } catch (error) {
    return failedRun(error)
  }
  const { input, stdout, stderr } = run
  return Object.defineProperties(settle(target, run), {
    stdin: { value: input.writable },
    stdout: { get: () => stdout.stream },
    stderr: { get: () => stderr.stream },
  }) as RunningProcess
}

function begin(command: string | readonly string[], options: ExecOptions): Running {
  refuseUnknown(options, EXEC_OPTIONS, 'exec()')
  const { stdin, timeout, collect, maxOutput = DEFAULT_MAX_OUTPUT } = options
  flag('tty', options.tty, false)
  flag('reject', options.reject, true)
  abortSignal(options.signal)
  const output = {
    collect: flag('collect', collect, true),
    limit: parseSize(maxOutput, 'maxOutput'),
  }
  return {
    started: performance.now(),
    command: typeof command === 'string' ? [command] : command,
    options,
    timeout: timeout === undefined ? undefined : parseDuration(timeout, 'timeout'),
    input: openInput(standardInput(stdin)),
    stdout: new Output(output),
    stderr: new Output(output),
  }
}

interface Running {
  started: number
  command: readonly string[]
  options: ExecOptions
  timeout: number | undefined
  input: Input
  stdout: Output
  stderr: Output
}

async function settle(target: ExecTarget, run: Running): Promise<RunResult> {
  try {
    return await carryOut(target, run)
  } finally {
    run.stdout.end()
    run.stderr.end()
  }
}

async function carryOut(target: ExecTarget, run: Running): Promise<RunResult> {
  const { options, stdout, stderr } = run
  const { signal } = options
  if (signal?.aborted) throw abortedError(signal, 'the execution')
  const monitor = await target.monitor()
  const plan = await target.plan(run.command, options)
  let ending: Ending | undefined
  let id: string | undefined
  const end = (why: Ending) => {
    if (ending !== undefined) return
    ending = why
    if (id !== undefined) void killExec(monitor, id)
  }
  const abort = () => end('abort')
  const overflow = () => end('overflow')
  const stopTimer =
    run.timeout === undefined ? () => {} : startTimer(run.timeout, () => end('timeout'))
  signal?.addEventListener('abort', abort, { once: true })
  try {
    const started = await startExec(
      monitor,
      plan,
      options.stdin === undefined ? 'null' : 'pipe',
      (given) => {
        id = given
        if (ending !== undefined) void killExec(monitor, id)
      },
    ).catch((error: unknown) => {
      throw startError(error, ending, run)
    })
    for (const warning of started.warnings) target.warn('exec-start', warning)
    if (run.input.source !== undefined && started.stdin !== undefined) {
      // Not waited for: a stream that never ends must not outlive the program that reads it.
      feed(run.input.source, started.stdin).catch(overflow)
    }
    const drained = [
      stdout.drain(started.stdout, overflow),
      ...(started.stderr === undefined ? [] : [stderr.drain(started.stderr, overflow)]),
    ]
    const ended = await started.exited
    await Promise.all(drained)
    const result: RunResult = {
      ...ended,
      timedOut: ending === 'timeout',
      stdout: stdout.text(),
      stderr: stderr.text(),
      durationMs: performance.now() - run.started,
    }
    const failure = runFailure(result, {
      ending,
      command: plan.process.args[0] ?? '',
      timeout: run.timeout,
      reason: signal?.reason,
    })
    const always = ending !== undefined && ending !== 'timeout'
    if (failure !== undefined && ((options.reject ?? true) || always)) throw failure
    return result
  } finally {
    stopTimer()
    signal?.removeEventListener('abort', abort)
  }
}

function startError(error: unknown, ending: Ending | undefined, run: Running): unknown {
  const { signal } = run.options
  if (ending === 'abort' && signal !== undefined) return abortedError(signal, 'the execution')
  if (ending !== 'timeout') return error
  return keelsonError(
    'KEELSON_TIMEOUT',
    `${run.command[0]} did not start within ${run.timeout} ms.`,
    { cause: error, hint: 'Raise timeout.' },
  )
}
