import type { ContainerCore } from '../core.ts'
import type { Peer } from './peers.ts'

/** A container as those that join it see it, now. */
export async function peerOf(core: ContainerCore): Promise<Peer> {
  const { id, name, run, options } = await core.refresh()
  const [status, state] = [await core.status(), await core.state()]
  return {
    id,
    name,
    status,
    pid: state?.pid ?? 0,
    state: core.context.places.state(id),
    directory: run,
    options,
  }
}
