import type { NormalizedContainer } from '../normalize/normalize.ts'

/** What a container is called: as asked for; as the host, whose network it shares; by its id. */
export function hostnameOf(
  id: string,
  { hostname, network, uts }: Pick<NormalizedContainer, 'hostname' | 'network' | 'uts'>,
  host: string,
): string {
  return hostname ?? (network === 'host' || uts === 'host' ? host : id.slice(0, 12))
}
