/** What the options of every call are checked for. */
import { keelsonError } from '../../errors.ts'
import { nearest } from '../../util/nearest.ts'
import { show } from '../../util/printable.ts'
import { invalid } from './values.ts'

/** @throws `KEELSON_INVALID_OPTION` for what is no object, or has a name that is not among `known`, with the nearest that is */
export function refuseUnknown(options: object, known: readonly string[], call: string): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `${call} takes an object of options, not ${show(options)}.`,
      { hint: `The options are ${known.join(', ')}.` },
    )
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    const near = nearest(name, known)
    throw invalid(
      name,
      `is not an option of ${call}`,
      near ? `Did you mean ${near}?` : `The options are ${known.join(', ')}.`,
    )
  }
}

/** @throws `KEELSON_INVALID_OPTION` */
export function abortSignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal
  throw invalid('signal', `must be an AbortSignal, not ${show(signal)}`)
}
