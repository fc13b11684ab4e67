import { keelsonError, type ErrorCode, type KeelsonError } from '../../errors.ts'
import type { HelperEvent } from '../../runtime/protocol.ts'
import { signalName } from '../../util/signals.ts'

/** How a program ended, and what it wrote. */
export interface RunResult {
  /** `null` when a signal ended it. */
  exitCode: number | null
  /** Name of the signal that ended it: `SIGKILL`. */
  signal: string | null
  /** The kernel killed a process of the container because of its memory limit. */
  oomKilled: boolean
  /** `timeout` passed. */
  timedOut: boolean
  /** UTF-8; empty when not collected. */
  stdout: string
  stderr: string
  /** From the call to the end. Milliseconds. */
  durationMs: number
}

/** Why a run was ended from outside. */
export type Ending = 'timeout' | 'abort' | 'overflow' | 'close'

type ExitEvent = Extract<HelperEvent, { event: 'exit' }>

export function runResult(
  exit: ExitEvent,
  rest: Pick<RunResult, 'timedOut' | 'stdout' | 'stderr' | 'durationMs'>,
): RunResult {
  return { ...howItEnded(exit), ...rest }
}

export function howItEnded(
  exit: Pick<ExitEvent, 'code' | 'signal' | 'oomKilled'>,
): Pick<RunResult, 'exitCode' | 'signal' | 'oomKilled'> {
  return {
    exitCode: exit.code,
    signal: exit.signal === null ? null : signalName(exit.signal),
    oomKilled: exit.oomKilled,
  }
}

/** The error that a result stands for, of the same shape; undefined when all went well. */
export function runFailure(
  result: RunResult,
  context: {
    ending: Ending | undefined
    command: string
    timeout: number | undefined
    reason: unknown
  },
): KeelsonError | undefined {
  const { command, ending } = context
  const fail = (code: ErrorCode, message: string, hint?: string, cause?: unknown) =>
    keelsonError(code, message, { ...result, command, hint, cause })
  switch (ending) {
    case 'timeout':
      return fail(
        'KEELSON_TIMEOUT',
        `${command} ran longer than ${context.timeout} ms and was killed.`,
        'Raise timeout, or look at stdout and stderr for what it was doing.',
      )
    case 'abort':
      return fail(
        'KEELSON_ABORTED',
        `The run of ${command} was aborted.`,
        undefined,
        context.reason,
      )
    case 'close':
      return fail('KEELSON_CLOSED', `The engine was closed while ${command} ran.`)
    case 'overflow':
      return fail(
        'KEELSON_MAX_OUTPUT',
        `${command} wrote more than may be collected and was killed.`,
        'Raise maxOutput, or read the streams with collect: false.',
      )
    case undefined:
      break
  }
  if (result.oomKilled && (result.exitCode !== 0 || result.signal !== null)) {
    return fail(
      'KEELSON_OUT_OF_MEMORY',
      `${command} was killed at its memory limit.`,
      'Raise memory.',
    )
  }
  if (result.signal !== null)
    return fail('KEELSON_KILLED', `${command} was ended by ${result.signal}.`)
  if (result.exitCode === 0) return undefined
  const said = result.stderr.trim().split('\n').at(-1) ?? ''
  return fail(
    'KEELSON_EXIT_NONZERO',
    `${command} ended with exit code ${result.exitCode}${said === '' ? '.' : `: ${said.slice(0, 200)}`}`,
    'With reject: false the result is returned instead.',
  )
}
