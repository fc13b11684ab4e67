import { readdir } from 'node:fs/promises'
import { keelsonError } from '../errors.ts'
import { parseDocument } from '../oci/document.ts'
import { converting, errnoOf } from '../store/errno.ts'
import { readRecord, writeRecord } from '../store/records.ts'
import type { AboutVolume } from './events.ts'
import type { VolumePlaces } from './places.ts'

/** All that is known of a volume: `volume.json`. */
export interface VolumeRecord {
  name: string
  /** RFC 3339. */
  createdAt: string
  driver: string
  options: Record<string, string>
  labels: Record<string, string>
  /** Of one that was made for a container without being named: it goes with that container unless it is to be kept. */
  anonymous?: { container: string; keep: boolean }
}

const MAX_BYTES = 1024 * 1024

export async function saveVolume(path: string, record: VolumeRecord): Promise<void> {
  await writeRecord(path, JSON.stringify({ version: 1, ...record }), { durable: true })
}

/** `undefined` when there is none. @throws `KEELSON_VOLUME_RECORD` */
export async function loadVolume(
  places: VolumePlaces,
  name: string,
): Promise<VolumeRecord | undefined> {
  const path = places.record(name)
  const bytes = await readRecord(path)
  return bytes && decode(bytes, path)
}

export async function loadVolumes(places: VolumePlaces): Promise<VolumeRecord[]> {
  const names = (await entriesOf(places.volumes)).filter((name) => !name.startsWith('.'))
  const records = await Promise.all(names.map((name) => loadVolume(places, name)))
  return records.filter((record) => record !== undefined)
}

/** None when there is no such directory. */
export async function entriesOf(directory: string): Promise<string[]> {
  return await converting('read', directory, async () => {
    try {
      return await readdir(directory)
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return []
      throw error
    }
  })
}

function decode(bytes: Uint8Array, path: string): VolumeRecord {
  try {
    const node = parseDocument(bytes, 'volume record', MAX_BYTES)
    if (node.required('version').integer() !== 1) throw new Error('It has another version.')
    const anonymous = node.optional('anonymous')
    return {
      name: node.required('name').string(),
      createdAt: node.required('createdAt').string(),
      driver: node.required('driver').string(),
      options: node.required('options').strings(256),
      labels: node.required('labels').strings(65536),
      ...(anonymous !== undefined && {
        anonymous: {
          container: anonymous.required('container').string(),
          keep: anonymous.required('keep').boolean(),
        },
      }),
    }
  } catch (cause) {
    throw keelsonError('KEELSON_VOLUME_RECORD', `The record ${path} cannot be read.`, {
      cause,
      path,
      hint: 'A newer version wrote it, or the disk damaged it; the cause says what is wrong with it.',
    })
  }
}

/** What every event tells of it. */
export function aboutVolume({ name, driver, labels }: VolumeRecord): AboutVolume {
  return { volume: name, driver, labels }
}
