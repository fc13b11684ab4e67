import { keelsonError } from '../../errors.ts'
import { printable, show } from '../../util/printable.ts'
import { howItEnded, leaf, type WaitOptions } from './leaf.ts'
import { NotReady, type WaitStrategy } from './strategy.ts'

export interface WaitLogOptions extends WaitOptions {
  /** Default: both. */
  stream?: 'stdout' | 'stderr'
  /** In so many lines. Default 1. */
  times?: number
}

export function waitForLog(
  pattern: string | RegExp,
  { times = 1, ...options }: WaitLogOptions = {},
): WaitStrategy {
  if (!Number.isInteger(times) || times < 1) {
    throw keelsonError('KEELSON_INVALID_OPTION', `times is ${String(times)}.`, {
      option: 'times',
      hint: 'It is 1 or more.',
    })
  }
  const matches = matcher(pattern)
  const shown = typeof pattern === 'string' ? JSON.stringify(printable(pattern)) : String(pattern)
  const often = times === 1 ? '' : ` ${times} times`
  const description = `a line with ${shown} in ${options.stream ?? 'the log'}${often}`
  // Not ended by the container's end: its last line may come after the news of that.
  return leaf(description, options, async (target, signal) => {
    let found = 0
    for await (const { stream, text } of target.logs(signal)) {
      if (options.stream !== undefined && stream !== options.stream) continue
      if (matches(text) && ++found === times) return
    }
    const why = await target.until(howItEnded, { signal, what: `waiting for ${description}` })
    throw new NotReady(`${why}, and had written it ${found} times`)
  })
}

function matcher(pattern: string | RegExp): (text: string) => boolean {
  if (typeof pattern !== 'string' && !(pattern instanceof RegExp)) {
    throw keelsonError('KEELSON_INVALID_OPTION', `A line cannot hold ${show(pattern)}.`, {
      option: 'pattern',
      hint: 'Give text or a regular expression.',
    })
  }
  if (typeof pattern === 'string') return (text) => text.includes(pattern)
  // A global expression would go on behind its last match, in another line.
  const expression = new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''))
  return (text) => expression.test(text)
}
