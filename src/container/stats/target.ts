import type { ContainerCore } from '../core.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { isActive } from '../lifecycle/state.ts'
import type { StatsTarget } from './stream.ts'

const WHAT = 'reading the statistics'

/** The numbers of this container. @param configOf gives its configuration */
export function statsTarget(core: ContainerCore, configOf: () => Promise<OciConfig>): StatsTarget {
  let begun = false
  return {
    async source(signal) {
      // What does not run at the beginning is an error; what ends later is the end.
      if (!begun) await core.mustAllow('read its processes')
      begun = true
      const pid = await core.until(
        (state, removed) => {
          if (removed || state === undefined || !isActive(state.status)) return 0
          return state.pid > 0 ? state.pid : undefined
        },
        { signal, what: WHAT },
      )
      if (pid === 0) return undefined
      const { keelson, linux } = await configOf()
      const ownNetwork = linux.namespaces.some(({ type }) => type === 'network')
      return { cgroups: keelson.cgroups, pid, ownNetwork }
    },
    ended: (signal) =>
      core.until(
        (state, removed) => removed || state === undefined || !isActive(state.status) || undefined,
        { signal, what: WHAT },
      ),
  }
}
