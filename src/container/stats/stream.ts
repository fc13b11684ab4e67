import { abortedError, throwIfAborted } from '../../util/abort.ts'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { readStats, type Sample, type StatsSource } from './read.ts'
import type { Stats } from './stats.ts'

export interface StatsStreamOptions {
  /** From one sample to the next. Default 1 s. */
  interval?: Duration
  signal?: AbortSignal
}

/**
 * Samples of what a container uses: the first at once, then one an interval, for as long as it runs. Who reads more slowly gets fewer
 * samples, never old ones.
 *
 * @param ended resolves when the container has ended, and with it the stream
 * @throws `KEELSON_INVALID_OPTION`; `KEELSON_ABORTED` when the signal fires
 */
export async function* streamStats(
  source: StatsSource,
  ended: Promise<unknown>,
  { interval = 1000, signal }: StatsStreamOptions = {},
): AsyncGenerator<Stats, void, undefined> {
  const every = parseDuration(interval, 'interval')
  throwIfAborted(signal, 'reading the statistics')
  let before: Sample | undefined
  const end = ended.then(
    () => 'ended',
    () => 'ended',
  )
  do {
    const sample = await readStats(source, before)
    if (sample === undefined) return
    before = sample
    yield sample.stats
  } while ((await pause(before.at + every - performance.now(), end, signal)) !== 'ended')
}

/** Ends early when the container does. */
async function pause(
  milliseconds: number,
  end: Promise<string>,
  signal: AbortSignal | undefined,
): Promise<string> {
  throwIfAborted(signal, 'reading the statistics')
  let timer: NodeJS.Timeout | undefined
  let leave: (() => void) | undefined
  try {
    return await new Promise<string>((resolve, reject) => {
      timer = setTimeout(() => resolve('next'), Math.max(0, milliseconds))
      void end.then(resolve)
      if (signal === undefined) return
      leave = () => reject(abortedError(signal, 'reading the statistics'))
      signal.addEventListener('abort', leave, { once: true })
    })
  } finally {
    clearTimeout(timer)
    if (leave !== undefined) signal?.removeEventListener('abort', leave)
  }
}
