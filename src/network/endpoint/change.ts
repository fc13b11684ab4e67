/** Networks that a running container joins and leaves. */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { helperFailure } from '../../runtime/connection.ts'
import type { NetworkChange } from '../../runtime/network-protocol.ts'
import type { Network } from '../network.ts'
import type { NetworkPlaces } from '../places.ts'
import type { NetworkRecord } from '../record.ts'
import {
  attachedEndpoint,
  attachedFile,
  encodeAttached,
  endpointOf,
  type Attached,
} from './attached.ts'
import { inOrder } from './endpoint.ts'
import { giveBack, joinNetwork, type Attachment, type Joining } from './join.ts'
import { planChange, type JoinedEndpoint, type Networking } from './plan.ts'

/** A container that runs, whose networks nobody else changes meanwhile. */
export interface Running extends Joining {
  attached: Attached
  resolvers: readonly string[]
  /** The networks that it is on, by id: none is removed while it is. */
  network: (id: string) => Promise<Network>
  /** Carries it out. */
  change: (change: NetworkChange) => Promise<void>
}

/** Joins one more. On failure all is as it was. */
export async function joinAnother(
  places: NetworkPlaces,
  container: Running,
  attachment: Attachment,
): Promise<Attached> {
  const { attached } = container
  const before = await endpointsOf(container)
  const joined = await joinNetwork(places, container, attachment, attached.nextIndex)
  try {
    const after = inOrder([...before, joined])
    const nextIndex = attached.nextIndex + 1
    return await change(places, container, { before, after, nextIndex, force: false })
  } catch (error) {
    // Else nobody has said that it was not done: the next engine that opens finds out.
    if (helperFailure(error) !== undefined) {
      await giveBack([...joined.claims.names, ...joined.claims.addresses])
    }
    throw error
  }
}

/** Leaves one. @param force what cannot be taken away is left */
export async function leaveOne(
  places: NetworkPlaces,
  container: Running,
  network: Pick<NetworkRecord, 'id'>,
  { force }: { force: boolean },
): Promise<Attached> {
  const before = await endpointsOf(container)
  const after = before.filter((each) => each.network.id !== network.id)
  const { nextIndex } = container.attached
  return await change(places, container, { before, after, nextIndex, force })
}

async function change(
  places: NetworkPlaces,
  container: Running,
  { before, after, nextIndex, force }: Change,
): Promise<Attached> {
  const { attached, resolvers } = container
  const networking = (endpoints: readonly JoinedEndpoint[]): Networking => {
    return { container: container.id, endpoints, ports: attached.ports, resolvers }
  }
  const { undoFile, ...planned } = planChange(places, networking(before), networking(after))
  if (undoFile !== undefined) await mkdir(dirname(undoFile.path), { recursive: true, mode: 0o700 })
  const changed = { endpoints: after.map(attachedEndpoint), ports: attached.ports, nextIndex }
  await container.change({
    ...planned,
    force,
    files: [
      ...(undoFile === undefined ? [] : [undoFile]),
      { path: attachedFile(container.owner), text: encodeAttached(changed) },
    ],
  })
  return changed
}

interface Change {
  before: JoinedEndpoint[]
  after: JoinedEndpoint[]
  nextIndex: number
  force: boolean
}

async function endpointsOf({ id, attached, network }: Running): Promise<JoinedEndpoint[]> {
  return await Promise.all(
    attached.endpoints.map(async (endpoint) => {
      const { record } = await network(endpoint.network)
      return { network: record, container: id, ...endpointOf(endpoint) }
    }),
  )
}
