import { keelsonError } from '../../errors.ts'
import type { ContainerCore } from '../core.ts'
import { isActive } from '../lifecycle/state.ts'
import type { LogSource } from './logs.ts'

/** The log of a container. @throws `KEELSON_INVALID_OPTION` when it keeps none */
export function logSource(core: ContainerCore): LogSource {
  const { record, context } = core
  if (record.options.logs.driver !== 'file') {
    throw keelsonError('KEELSON_INVALID_OPTION', `The container ${record.name} keeps no log.`, {
      container: record.id,
      option: 'logs',
      hint: 'Create it with logs: "file", or read its output by attach().',
    })
  }
  return {
    path: context.places.log(record.id),
    gone: () => core.gone(),
    mustBeThere: () => core.mustBeThere(),
    // One that was never started may still be: then it is followed from its first line.
    ended: async (signal) =>
      await core.until(
        (state, removed) =>
          removed || (state !== undefined && !isActive(state.status)) ? true : undefined,
        { signal, what: 'following the log' },
      ),
  }
}
