import { rename } from 'node:fs/promises'
import type { Descriptor } from '../../oci/descriptor.ts'
import { parseDigest, type Digest } from '../../oci/digest.ts'
import { DocumentNode, parseDocument } from '../../oci/document.ts'
import type { ExecutionParameters } from '../../oci/image-config.ts'
import { keelsonError } from '../../errors.ts'
import type { PreparedRootfs } from '../../snapshot/snapshotter.ts'
import { readRecord, writeRecord } from '../../store/records.ts'
import { FULL_ID } from './places.ts'
import type { ClaimedIds } from '../namespaces/id-claims.ts'
import type { NormalizedCreate } from '../normalize/create.ts'

/** All that is known of a container before it runs: `container.json`. */
export interface ContainerRecord {
  version: 1
  id: string
  name: string
  /** RFC 3339. */
  createdAt: string
  image: RecordedImage
  options: NormalizedCreate
  /** The image's and the caller's. */
  labels: Record<string, string>
  /** The engine that made it, and that a bound one ends with. */
  owner: { engine: string; directory: string }
  /** Directory of its runs, on tmpfs. */
  run: string
  rootfs: PreparedRootfs
  /** With `userns: 'auto'`: its range, until it is removed. */
  ids?: ClaimedIds
}

/** What of its image a container needs although the image's name may come to mean another. */
export interface RecordedImage {
  /** As it was asked for. */
  reference: string
  id: Digest
  digest: Digest
  descriptor: Descriptor
  parameters: ExecutionParameters
  chain: Digest[]
  platform: { os: string; architecture: string; variant?: string }
}

const MAX_BYTES = 16 * 1024 * 1024

/** Replaces the record: whole or not at all, and after a power cut too for a container that is to outlive one. */
export async function saveRecord(path: string, record: ContainerRecord): Promise<void> {
  await writeRecord(path, encodeRecord(record), { durable: record.options.detached })
}

/** `undefined` when there is none. @throws `KEELSON_CONTAINER_RECORD` for what is no record */
export async function loadRecord(path: string): Promise<ContainerRecord | undefined> {
  const bytes = await readRecord(path)
  return bytes === undefined ? undefined : decodeRecord(bytes, path)
}

/** Variables that are to be removed (`undefined`) are kept as `null`, which JSON has. */
export function encodeRecord(record: ContainerRecord): string {
  const { env } = record.options
  const kept = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, value ?? null]))
  return JSON.stringify({ ...record, options: { ...record.options, env: kept } })
}

/** @throws `KEELSON_CONTAINER_RECORD` */
export function decodeRecord(bytes: Uint8Array, path: string): ContainerRecord {
  try {
    const node = parseDocument(bytes, 'container record', MAX_BYTES)
    const version = node.required('version').integer()
    if (version !== 1) throw new Error(`It has version ${version}, which this version cannot read.`)
    const id = node.required('id').string()
    if (!FULL_ID.test(id)) throw new Error(`It has the id ${JSON.stringify(id)}.`)
    const image = node.required('image')
    const options = node.required('options')
    const rootfs = node.required('rootfs')
    const owner = node.required('owner')
    return {
      // What the checks below do not name was written by this version, too.
      ...(node.value as ContainerRecord),
      version,
      id,
      name: node.required('name').string(),
      createdAt: node.required('createdAt').string(),
      image: {
        ...(image.value as RecordedImage),
        id: parseDigest(image.required('id').string()),
        digest: parseDigest(image.required('digest').string()),
        chain: image
          .required('chain')
          .elements(1024)
          .map((each) => parseDigest(each.string())),
      },
      options: {
        ...(options.value as NormalizedCreate),
        env: decodeEnvironment(options.required('env')),
        detached: options.required('detached').boolean(),
        autoRemove: options.required('autoRemove').boolean(),
      },
      labels: node.required('labels').strings(65536),
      owner: {
        engine: owner.required('engine').string(),
        directory: owner.required('directory').string(),
      },
      run: node.required('run').string(),
      rootfs: {
        ...(rootfs.value as PreparedRootfs),
        remove: rootfs
          .required('remove')
          .elements(16)
          .map((each) => each.string()),
      },
    }
  } catch (cause) {
    throw keelsonError('KEELSON_CONTAINER_RECORD', `The record ${path} cannot be read.`, {
      cause,
      path,
      hint: 'A newer version wrote it, or the disk damaged it; the cause says what is wrong with it.',
    })
  }
}

function decodeEnvironment(node: DocumentNode): Record<string, string | undefined> {
  return Object.fromEntries(
    node.entries(65536).map(([name, { value }]) => {
      if (value !== null && typeof value !== 'string') throw node.invalid(`has no text for ${name}`)
      return [name, value ?? undefined]
    }),
  )
}

/** Moves a container's directory to another name; false when it is not there (any more). */
export async function moveDirectory(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return false
    throw error
  }
}
