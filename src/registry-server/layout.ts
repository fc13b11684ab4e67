import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { keelsonError } from '../errors.ts'
import { decodeDescriptor, type Descriptor } from '../oci/descriptor.ts'
import { parseDocument } from '../oci/document.ts'
import type { Digest } from '../oci/digest.ts'
import { isIndexMediaType, isManifestMediaType, MEDIA_TYPES } from '../oci/media-types.ts'
import type { Blobs } from './blobs.ts'
import { isMissing } from './directory-blobs.ts'
import { readManifest } from './manifest-document.ts'
import { Repositories, type Repository } from './repositories.ts'
import { isRepositoryName, isTag } from './route.ts'

const REF_NAME = 'org.opencontainers.image.ref.name'
/** For manifests without a tag, which `ref.name` cannot give a repository. */
const REPOSITORY = 'io.keelson.registry.repository'
const MAX_INDEX_BYTES = 64 * 1024 * 1024
const MAX_MANIFESTS = 100_000

/** Where an entry of `index.json` is found through the API. */
interface Name {
  repository: string
  tag?: string
}

/** An OCI image layout directory as the repositories of a registry. */
export class Layout {
  readonly repositories = new Repositories()
  readonly #directory: string
  readonly #blobs: Blobs
  /** The repository of names that are a mere tag. */
  readonly #ownName: string
  #saved: Promise<void> = Promise.resolve()

  private constructor(directory: string, blobs: Blobs) {
    this.#directory = resolve(directory)
    this.#blobs = blobs
    const name = basename(this.#directory).toLowerCase()
    this.#ownName = isRepositoryName(name) ? name : 'image'
  }

  /**
   * Reads `index.json`. With `create`, a directory that is not a layout yet becomes one.
   *
   * @throws `KEELSON_INVALID_OPTION` when it is no layout; `KEELSON_MANIFEST_INVALID`
   */
  static async open(directory: string, blobs: Blobs, create: boolean): Promise<Layout> {
    const layout = new Layout(directory, blobs)
    const index = join(directory, 'index.json')
    let content: Buffer
    try {
      content = await readFile(index)
    } catch (cause) {
      if (!isMissing(cause) || !create) {
        throw keelsonError('KEELSON_INVALID_OPTION', `${directory} is not an OCI image layout`, {
          hint: 'it must have index.json and blobs/; leave "readonly" out to have it made',
          cause,
        })
      }
      await mkdir(join(directory, 'blobs'), { recursive: true })
      await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
      await layout.save()
      return layout
    }
    const entries = parseDocument(content, 'index.json', MAX_INDEX_BYTES).optional('manifests')
    for (const entry of entries?.elements(MAX_MANIFESTS) ?? []) {
      const descriptor = decodeDescriptor(entry)
      const { repository, tag } = layout.#name(descriptor)
      const target = layout.repositories.obtain(repository)
      await layout.#load(target, descriptor)
      if (tag !== undefined && target.manifests.has(descriptor.digest)) {
        target.tags.set(tag, descriptor.digest)
      }
    }
    return layout
  }

  /** Writes `index.json` anew. Calls are carried out one after the other. */
  save(): Promise<void> {
    this.#saved = this.#saved.then(() => this.#write())
    return this.#saved
  }

  async #write(): Promise<void> {
    const document = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: this.repositories
        .entries()
        .flatMap(([name, repository]) => this.#entries(name, repository)),
    }
    const path = join(this.#directory, 'index.json')
    await writeFile(`${path}.new`, JSON.stringify(document), { flush: true })
    await rename(`${path}.new`, path)
  }

  #entries(name: string, { manifests, tags }: Repository): Descriptor[] {
    const tagged = [...tags].map(([tag, digest]) => ({
      ...listed(manifests.get(digest)?.descriptor),
      annotations: { [REF_NAME]: name === this.#ownName ? tag : `${name}:${tag}` },
    }))
    const reached = new Set<Digest>(tags.values())
    for (const { children } of manifests.values()) {
      for (const { digest } of children) reached.add(digest)
    }
    const untagged = [...manifests.values()]
      .filter(({ descriptor }) => !reached.has(descriptor.digest))
      .map(({ descriptor }) => ({
        ...listed(descriptor),
        annotations: { [REPOSITORY]: name },
      }))
    return [...tagged, ...untagged]
  }

  /** A manifest and everything below it. What a partial layout lacks is left out. */
  async #load(repository: Repository, descriptor: Descriptor): Promise<void> {
    const { digest, mediaType } = descriptor
    if (repository.manifests.has(digest)) return
    if (!isIndexMediaType(mediaType) && !isManifestMediaType(mediaType)) return
    if ((await this.#blobs.size(digest)) === undefined) return
    const manifest = readManifest(await buffer(this.#blobs.open(digest)), mediaType, digest)
    repository.manifests.set(digest, manifest)
    for (const blob of manifest.blobs) repository.blobs.add(blob)
    for (const child of manifest.children) await this.#load(repository, child)
  }

  #name(descriptor: Descriptor): Name {
    const refName = descriptor.annotations?.[REF_NAME]
    if (refName === undefined) {
      const repository = descriptor.annotations?.[REPOSITORY] ?? ''
      return { repository: isRepositoryName(repository) ? repository : this.#ownName }
    }
    if (isTag(refName)) return { repository: this.#ownName, tag: refName }
    return splitName(refName) ?? { repository: this.#ownName }
  }
}

/** `busybox:1`, `127.0.0.1:5000/team/app:2` or `docker.io/library/busybox:1`; the registry is left out. */
function splitName(refName: string): Name | undefined {
  const bare = refName.replace(/@.*$/, '')
  const slash = bare.indexOf('/')
  const first = bare.slice(0, Math.max(slash, 0))
  const path = /[.:]/.test(first) || first === 'localhost' ? bare.slice(slash + 1) : bare
  const colon = path.indexOf(':')
  const repository = colon < 0 ? path : path.slice(0, colon)
  const tag = colon < 0 ? undefined : path.slice(colon + 1)
  if (!isRepositoryName(repository)) return undefined
  return tag !== undefined && isTag(tag) ? { repository, tag } : { repository }
}

function listed(
  descriptor: Descriptor | undefined,
): Pick<Descriptor, 'mediaType' | 'digest' | 'size'> {
  if (descriptor === undefined) throw new Error('a tag without a manifest')
  const { mediaType, digest, size } = descriptor
  return { mediaType, digest, size }
}
