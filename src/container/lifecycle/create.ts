import { randomBytes } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Image } from '../../image/image.ts'
import type { Images } from '../../image/images.ts'
import { storageError } from '../../store/errno.ts'
import { syncDirectory } from '../../store/records.ts'
import { abortedError, throwIfAborted } from '../../util/abort.ts'
import { computeConfig } from '../config/config.ts'
import { findImage } from '../config/image.ts'
import type { ContainersContext } from '../containers-context.ts'
import type { CreateOptions } from '../options/create-options.ts'
import { claimName } from '../record/names.ts'
import { claimIds } from '../namespaces/id-claims.ts'
import { pinPeers } from '../namespaces/peers.ts'
import { normalizeCreateOptions } from '../normalize/create.ts'
import type { OciConfig } from '../config/oci-runtime.ts'
import { CLAIM, RECORD, type ContainerPlaces } from '../record/places.ts'
import { planHealth, planStop } from './plan.ts'
import { prepareConfig } from '../config/prepare.ts'
import { claimVolumes, mountLocks, resolveMounts, type ClaimedVolumes } from '../config/volumes.ts'
import {
  encodeRecord,
  saveRecord,
  type ContainerRecord,
  type RecordedImage,
} from '../record/record.ts'

/** A container that was made, and the configuration it has as long as nothing of it is changed. */
export interface Created {
  record: ContainerRecord
  config: OciConfig
}

/**
 * Makes a container: its name, its writable layer, its record. Everything is checked first; on failure or abort nothing is left. It is
 * there for others from one rename on.
 */
export async function createContainer(
  context: ContainersContext,
  options: CreateOptions,
): Promise<Created> {
  const asked = normalizeCreateOptions(options)
  const pinned = await pinPeers(asked, context.run.peer)
  // From before the look: a sweep must not take the image between that and the record.
  await using _ = await context.lease()
  const image = await recordedImage(context.images, options)
  const mounts = await resolveMounts(context.run, pinned, image.parameters, options.signal)
  const normalized = { ...pinned, mounts }
  throwIfAborted(options.signal, 'Creating the container')
  const { places, run } = context
  const id = randomBytes(32).toString('hex')
  const record: ContainerRecord = {
    version: 1,
    id,
    name: normalized.name ?? '',
    createdAt: new Date().toISOString(),
    image,
    options: normalized,
    labels: { ...image.parameters.Labels, ...normalized.labels },
    owner: { engine: context.engine, directory: run.directory },
    run: places.run(id),
    rootfs: { rootfs: [], remove: [], locks: [] },
  }
  const input = await prepareConfig(run, {
    id,
    options: normalized,
    image: runnable(image),
    bundle: record.run,
    stdin: normalized.openStdin,
    terminal: normalized.tty,
    everyController: true,
    ids: undefined,
  })
  // Whatever is wrong with the options shows here, before anything was made.
  const probe = computeConfig(input)
  planStop(normalized, image.parameters)
  planHealth(normalized, image.parameters, probe)
  const made: string[] = []
  let volumes: ClaimedVolumes | undefined
  try {
    const directory = begin(places, id, { engine: context.engine, directory: run.directory })
    made.push(directory)
    const claim = join(directory, CLAIM)
    record.name = await claimName(run.launcher, places, claim, normalized.name)
    made.push(places.name(record.name))
    if (normalized.userns === 'auto') {
      record.ids = await claimIds(places, { id, engine: run.directory })
      made.push(record.ids.path)
    }
    const user = { container: id, owners: [directory, places.directory(id)] }
    volumes = await claimVolumes(run, user, normalized, image.chain, options.signal)
    if (volumes !== undefined) record.options = { ...normalized, mounts: volumes.mounts }
    record.rootfs = await run.snapshotter.prepare(id, image.chain, {
      durable: normalized.detached,
      tmpfs: normalized.storage,
    })
    made.push(...record.rootfs.remove)
    record.rootfs.locks.push(...mountLocks(run, mounts))
    mkdirSync(join(directory, 'log'), { mode: 0o700 })
    if (normalized.detached) await saveRecord(join(directory, RECORD), record)
    else writeFileSync(join(directory, RECORD), encodeRecord(record), { mode: 0o600 })
    if (options.signal?.aborted) throw abortedError(options.signal, 'Creating the container')
    renameSync(directory, places.directory(id))
  } catch (error) {
    await volumes?.release()
    for (const path of made.toReversed()) rmSync(path, { recursive: true, force: true })
    throw storageError(error, 'create', places.records)
  }
  if (normalized.detached) {
    await syncDirectory(places.names)
    await syncDirectory(dirname(places.directory(id)))
  }
  const userns = record.ids?.mappings ?? input.userns
  const config = computeConfig({
    ...input,
    ...(volumes !== undefined && {
      options: { ...input.options, mounts: volumes.mounts },
      sources: volumes.sources,
    }),
    rootfs: record.rootfs,
    userns,
  })
  return { record, config }
}

/** As much of the image as preparing its containers takes. */
export function runnable({ digest, descriptor, parameters, chain }: RecordedImage) {
  return { digest, descriptor, config: { config: parameters }, chain }
}

async function recordedImage(images: Images, asked: CreateOptions): Promise<RecordedImage> {
  const { image } = asked
  const found = await findImage(images, asked)
  const { os, architecture, variant } = found.platform
  const named = typeof image === 'string' && !isIdOf(found, image)
  return {
    reference: named ? image : (found.references[0] ?? found.id),
    id: found.id,
    digest: found.digest,
    descriptor: found.descriptor,
    parameters: found.config.config,
    chain: [...found.chain],
    platform: { os, architecture, ...(variant !== undefined && { variant }) },
  }
}

function isIdOf({ id, digest }: Image, text: string): boolean {
  const prefix = text.startsWith('sha256:') ? text : `sha256:${text}`
  return id.startsWith(prefix) || digest.startsWith(prefix)
}

/** Makes the directory, which is never seen without the claim; until then its name tells whose it is. */
function begin(
  places: ContainerPlaces,
  id: string,
  { engine, directory }: { engine: string; directory: string },
): string {
  const making = places.making(engine, id)
  const creating = places.creating(id)
  try {
    mkdirSync(making, { mode: 0o700 })
    writeFileSync(join(making, CLAIM), JSON.stringify({ id, engine: directory }), { mode: 0o600 })
    renameSync(making, creating)
    return creating
  } catch (error) {
    rmSync(making, { recursive: true, force: true })
    throw storageError(error, 'create', creating)
  }
}
