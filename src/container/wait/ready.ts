import { keelsonError, KeelsonError } from '../../errors.ts'
import { abortedError, throwIfAborted } from '../../util/abort.ts'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { printable, show } from '../../util/printable.ts'
import { startTimer } from '../../util/timer.ts'
import { refuseUnknown } from '../normalize/call.ts'
import { carryOut } from './combine.ts'
import { lookAround, type Seen } from './seen.ts'
import { isStrategy, NotReady, type WaitStrategy, type WaitTarget } from './strategy.ts'

export interface ReadyOptions {
  /** Default 60 s. */
  timeout?: Duration
  signal?: AbortSignal
}

const DEFAULT_TIMEOUT_MS = 60_000

/**
 * Waits until a container is what `strategy` says.
 *
 * @throws `KEELSON_WAIT_TIMEOUT` when it was not so in time, `KEELSON_WAIT_FAILED` when it cannot become so any more; both tell what there
 *   was to see: `logs`, `listening`, `exit`, `health`. `KEELSON_ABORTED`; `KEELSON_INVALID_OPTION`
 */
export async function waitUntilReady(
  target: WaitTarget,
  strategy: WaitStrategy,
  options: ReadyOptions = {},
): Promise<void> {
  if (!isStrategy(strategy)) {
    throw keelsonError('KEELSON_INVALID_OPTION', `ready() cannot wait for ${show(strategy)}.`, {
      option: 'strategy',
      hint: 'Give a strategy: wait.port(5432), wait.log("ready"), ...',
    })
  }
  refuseUnknown(options, ['timeout', 'signal'], 'ready()')
  const timeout = parseDuration(options.timeout ?? DEFAULT_TIMEOUT_MS, 'timeout')
  throwIfAborted(options.signal, `waiting for ${target.name}`)
  const late = new AbortController()
  const stopTimer = startTimer(timeout, () => late.abort())
  const own = AbortSignal.any([late.signal, ...(options.signal ? [options.signal] : [])])
  try {
    await carryOut(strategy, target, own)
  } catch (error) {
    if (options.signal?.aborted === true) {
      throw abortedError(options.signal, `waiting for ${target.name}`)
    }
    if (!late.signal.aborted && !(error instanceof NotReady)) throw error
    const failure = error instanceof NotReady ? error : undefined
    throw notReady(
      { target, strategy, timeout, timedOut: late.signal.aborted, failure },
      await lookAround(target),
    )
  } finally {
    stopTimer()
  }
}

interface Outcome {
  target: WaitTarget
  strategy: WaitStrategy
  timeout: number
  timedOut: boolean
  failure: NotReady | undefined
}

function notReady(outcome: Outcome, seen: Seen): KeelsonError {
  const { target, strategy, timeout, timedOut, failure } = outcome
  const { name } = target
  const late = timedOut || failure?.timedOut === true
  const limit = timedOut ? ` within ${timeout} ms` : ''
  const facts = [failure?.message, ...inWords(seen)].filter((each) => each !== undefined)
  return keelsonError(
    late ? 'KEELSON_WAIT_TIMEOUT' : 'KEELSON_WAIT_FAILED',
    `The container ${name} was not ready${limit}, waiting for ${strategy.description}: ${facts.join('; ')}.`,
    {
      hint: late
        ? 'Give it a longer `timeout`, or see in its logs what it waits for itself.'
        : 'Its logs say what it was doing.',
      cause: failure?.cause,
      waitingFor: strategy.description,
      ...seen,
    },
  )
}

function inWords({ listening, logs, health, exit }: Seen): string[] {
  const ports = listening.map(({ address, port, protocol }) => `${address}:${port}/${protocol}`)
  const last = logs.at(-1)
  return [
    ...(exit === undefined
      ? [ports.length > 0 ? `it listens on ${ports.join(', ')}` : 'it listens on no port']
      : []),
    ...(health === undefined ? [] : [`its health is ${health}`]),
    last === undefined ? 'it wrote nothing' : `its last words were "${printable(last.text)}"`,
  ]
}
