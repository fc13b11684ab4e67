import { keelsonError, type KeelsonError } from '../errors.ts'
import type { HelperFailure } from '../runtime/protocol.ts'

/** What this host's kernel has not got, of what a network needs; `undefined` for failures of any other kind. */
export function linkFailure(
  { step, errno }: HelperFailure,
  facts: object,
): KeelsonError | undefined {
  const kind = /^make (bridge|veth|macvlan) /.exec(step)?.[1]
  if (kind === undefined || errno !== 'EOPNOTSUPP') return undefined
  return keelsonError('KEELSON_UNSUPPORTED', `The kernel of this host has no ${kind} interfaces.`, {
    ...facts,
    hint: `Load the kernel module ${kind}.`,
  })
}
