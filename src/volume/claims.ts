import { readFile, rm, stat } from 'node:fs/promises'
import { writeRecord } from '../store/records.ts'
import type { VolumePlaces } from './places.ts'
import { entriesOf } from './record.ts'

/** Whose use of a volume ends with whose directories, in the order in which the container passes through them. */
export interface VolumeUser {
  container: string
  owners: string[]
}

/** Writes down that a container uses a volume. The caller holds the volume's lock. */
export async function claimVolume(
  places: VolumePlaces,
  name: string,
  { container, owners }: VolumeUser,
): Promise<void> {
  // Whole or not at all: one without owners is taken for what a crash has left.
  await writeRecord(places.user(name, container), JSON.stringify(owners), { durable: false })
}

/** The containers that use a volume, or may come to. */
export async function volumeUsers(
  { places, isOver }: { places: VolumePlaces; isOver: (user: VolumeUser) => boolean },
  name: string,
): Promise<string[]> {
  const users = await claims(places, name)
  const live = await Promise.all(users.map(async (user) => !isOver(user) && (await lives(user))))
  return users.filter((_, index) => live[index]).map(({ container }) => container)
}

/** Forgets the uses of containers that are no more. */
export async function sweepUsers(places: VolumePlaces, name: string): Promise<void> {
  for (const user of await claims(places, name)) {
    if (!(await lives(user))) await rm(places.user(name, user.container), { force: true })
  }
}

async function claims(places: VolumePlaces, name: string): Promise<VolumeUser[]> {
  const containers = await entriesOf(places.users(name))
  return await Promise.all(
    containers
      .filter((container) => /^[0-9a-f]{64}$/.test(container))
      .map(async (container) => {
        const text = await readFile(places.user(name, container), 'utf8').catch(() => '')
        return { container, owners: parseOwners(text) }
      }),
  )
}

/** One that a power cut has emptied is nobody's: no container runs any more. */
function parseOwners(text: string): string[] {
  try {
    const owners: unknown = JSON.parse(text)
    return Array.isArray(owners) ? owners.filter((each) => typeof each === 'string') : []
  } catch {
    return []
  }
}

async function lives({ owners }: VolumeUser): Promise<boolean> {
  for (const owner of owners) {
    const there = await stat(owner).then(
      () => true,
      () => false,
    )
    if (there) return true
  }
  return false
}
