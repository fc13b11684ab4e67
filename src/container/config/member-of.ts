import type { KnownContainer } from '../../network/faults/members.ts'
import type { ContainerCore } from '../core.ts'

/** A container as networks know it. */
export async function memberOf(core: ContainerCore): Promise<KnownContainer> {
  const { id, name, options } = await core.refresh()
  const state = await core.state()
  const networks = Array.isArray(options.network) ? options.network : []
  return { id, name, pid: state?.pid ?? 0, networks: networks.map(({ network }) => network) }
}
