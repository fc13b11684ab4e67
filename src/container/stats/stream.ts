import { abortedError, throwIfAborted } from '../../util/abort.ts'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { readStats, type Sample, type StatsSource } from './read.ts'
import type { Stats } from './stats.ts'

export interface StatsOptions {
  /** `false`: one sample. Default `true`: as long as the container runs, over restarts by its policy. */
  stream?: boolean
  /** From one sample to the next. Default 1 s. */
  interval?: Duration
  signal?: AbortSignal
}

/** A container whose numbers are read. */
export interface StatsTarget {
  /** Where they are now; waits while it is restarted. `undefined` when it has ended. */
  source(signal: AbortSignal | undefined): Promise<StatsSource | undefined>
  /** Resolves when it has ended. */
  ended(signal: AbortSignal): Promise<unknown>
}

const WHAT = 'reading the statistics'

/**
 * Samples of what a container uses: the first at once, then one an interval, until it ends. Who reads more slowly gets fewer samples,
 * never old ones.
 *
 * @throws `KEELSON_INVALID_OPTION` at once; while iterating `KEELSON_ABORTED`, `KEELSON_PERMISSION`, `KEELSON_IO`
 */
export function streamStats(
  target: StatsTarget,
  { stream = true, interval = 1000, signal }: StatsOptions = {},
): AsyncGenerator<Stats, void, undefined> {
  return iterate(target, { stream, every: parseDuration(interval, 'interval'), signal })
}

async function* iterate(
  target: StatsTarget,
  { stream, every, signal }: { stream: boolean; every: number; signal: AbortSignal | undefined },
): AsyncGenerator<Stats, void, undefined> {
  throwIfAborted(signal, WHAT)
  const left = new AbortController()
  const end = target.ended(left.signal).catch(() => undefined)
  try {
    for (let before: Sample | undefined; ;) {
      const source = await target.source(signal)
      if (source === undefined) return
      // Nothing between two runs of a container that is restarted.
      const sample = await readStats(source, before)
      if (sample !== undefined) yield sample.stats
      if (!stream) return
      before = sample
      await pause((sample?.at ?? performance.now()) + every - performance.now(), end, signal)
    }
  } finally {
    left.abort()
  }
}

/** Ends early when the container does. */
async function pause(
  milliseconds: number,
  end: Promise<unknown>,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal, WHAT)
  let timer: NodeJS.Timeout | undefined
  let leave: (() => void) | undefined
  try {
    await new Promise<unknown>((resolve, reject) => {
      timer = setTimeout(resolve, Math.max(0, milliseconds))
      void end.then(resolve)
      if (signal === undefined) return
      leave = () => reject(abortedError(signal, WHAT))
      signal.addEventListener('abort', leave, { once: true })
    })
  } finally {
    clearTimeout(timer)
    if (leave !== undefined) signal?.removeEventListener('abort', leave)
  }
}
