import { keelsonError } from '../errors.ts'
import type { Helper } from '../runtime/protocol.ts'

/** @throws `KEELSON_INVALID_OPTION` unless the host has the interface that a macvlan network is to be on */
export async function checkParent(
  helper: Helper,
  { name, parent }: { name: string; parent?: string | undefined },
): Promise<void> {
  const { links } = await helper.request('network.links', {})
  if (links.some((link) => link.name === parent)) return
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    `The host has no interface ${parent} for the network ${name}.`,
    {
      option: 'parent',
      network: name,
      hint: `Its interfaces are ${links.map((link) => link.name).join(', ')}.`,
    },
  )
}
