import type { IncomingMessage } from 'node:http'
import type { Descriptor } from '../oci/descriptor.ts'
import { digestOf, type Digest } from '../oci/digest.ts'
import { MAX_MANIFEST_BYTES } from '../oci/manifest.ts'
import { MEDIA_TYPES } from '../oci/media-types.ts'
import { empty, json, type Answer } from './answer.ts'
import { ApiError } from './api-error.ts'
import type { Blobs } from './blobs.ts'
import { readManifest } from './manifest-document.ts'
import { parseRange } from './range.ts'
import { Repositories, type Repository, type StoredManifest } from './repositories.ts'
import { readBody } from './request.ts'

type ManifestName = { repository: string; tag?: string; digest?: Digest }

/** Manifests, blobs and referrers: what the answers to their requests are. */
export class Content {
  readonly #blobs: Blobs
  readonly #repositories: Repositories
  /** Called after a change of what the repositories name. */
  readonly #save: () => Promise<void>

  constructor(blobs: Blobs, repositories: Repositories, save: () => Promise<void>) {
    this.#blobs = blobs
    this.#repositories = repositories
    this.#save = save
  }

  getManifest(name: ManifestName, request: IncomingMessage): Answer {
    const repository = this.#repositories.get(name.repository)
    const { descriptor } = findManifest(repository, name)
    const { mediaType, digest, size } = descriptor
    const accept = request.headers.accept
    if (accept !== undefined && !accepts(accept, mediaType)) {
      throw new ApiError(404, 'MANIFEST_UNKNOWN', `it is ${mediaType}, which Accept excludes`)
    }
    return {
      status: 200,
      headers: { 'content-type': mediaType, 'docker-content-digest': digest, etag: `"${digest}"` },
      body: { size, open: () => this.#blobs.open(digest) },
    }
  }

  async putManifest(name: ManifestName, request: IncomingMessage): Promise<Answer> {
    const content = await readBody(request, MAX_MANIFEST_BYTES)
    const mediaType = (request.headers['content-type'] ?? '').split(';')[0]?.trim() ?? ''
    const manifest = readManifest(content, mediaType, digestOf(content))
    const { digest } = manifest.descriptor
    if (manifest.descriptor.mediaType !== mediaType) {
      throw new ApiError(
        400,
        'MANIFEST_INVALID',
        'Content-Type is not the media type of a manifest',
      )
    }
    if (name.digest !== undefined) {
      const actual = digestOf(content, name.digest.startsWith('sha512:') ? 'sha512' : 'sha256')
      if (actual !== name.digest) {
        throw new ApiError(400, 'DIGEST_INVALID', 'the manifest does not have this digest', {
          actual,
        })
      }
      manifest.descriptor.digest = name.digest
    }
    const repository = this.#repositories.obtain(name.repository)
    this.#refuseDangling(repository, manifest.blobs, manifest.children)
    await this.#keepManifest(repository, manifest, content, name.tag)
    const stored = manifest.descriptor.digest
    return empty(201, {
      location: `/v2/${name.repository}/manifests/${stored}`,
      'docker-content-digest': name.digest ?? digest,
      ...(manifest.subject === undefined ? {} : { 'oci-subject': manifest.subject }),
    })
  }

  async deleteManifest(name: ManifestName): Promise<Answer> {
    const repository = this.#repositories.get(name.repository)
    const { digest } = findManifest(repository, name).descriptor
    if (name.tag !== undefined) {
      repository.tags.delete(name.tag)
    } else {
      repository.manifests.delete(digest)
      for (const [tag, tagged] of repository.tags) {
        if (tagged === digest) repository.tags.delete(tag)
      }
      await this.#collect(digest)
    }
    await this.#save()
    return empty(202)
  }

  async getBlob(name: string, digest: Digest, request: IncomingMessage): Promise<Answer> {
    const size = await this.#blobSize(name, digest)
    const headers = {
      'content-type': 'application/octet-stream',
      'docker-content-digest': digest,
      'accept-ranges': 'bytes',
      etag: `"${digest}"`,
    }
    const condition = request.headers['if-range']
    const mayBePartial = condition === undefined || condition === headers.etag
    const range = mayBePartial ? parseRange(request.headers.range, size) : undefined
    if (range === 'unsatisfiable') {
      throw new ApiError(416, 'SIZE_INVALID', `the blob has ${size} bytes`, null, {
        'content-range': `bytes */${size}`,
      })
    }
    if (range === undefined) {
      return { status: 200, headers, body: { size, open: () => this.#blobs.open(digest) } }
    }
    const { start, end } = range
    return {
      status: 206,
      headers: { ...headers, 'content-range': `bytes ${start}-${end}/${size}` },
      body: { size: end - start + 1, open: () => this.#blobs.open(digest, range) },
    }
  }

  async deleteBlob(name: string, digest: Digest): Promise<Answer> {
    await this.#blobSize(name, digest)
    this.#repositories.get(name).blobs.delete(digest)
    await this.#collect(digest)
    return empty(202)
  }

  /** The answer to a blob that has been received or mounted. */
  linkBlob(name: string, digest: Digest): Answer {
    this.#repositories.obtain(name).blobs.add(digest)
    return empty(201, {
      location: `/v2/${name}/blobs/${digest}`,
      'docker-content-digest': digest,
    })
  }

  hasBlob(name: string, digest: Digest): boolean {
    return this.#repositories.find(name)?.blobs.has(digest) === true
  }

  getReferrers(name: string, digest: Digest, query: URLSearchParams): Answer {
    const repository = this.#repositories.find(name)
    const wanted = query.get('artifactType')
    const manifests = [...(repository?.manifests.values() ?? [])]
      .filter((manifest) => manifest.subject === digest)
      .map((manifest) => manifest.descriptor)
      .filter(({ artifactType }) => wanted === null || artifactType === wanted)
    return json(
      200,
      { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests },
      wanted === null ? {} : { 'oci-filters-applied': 'artifactType' },
      MEDIA_TYPES.ociIndex,
    )
  }

  /** Bytes straight into a repository, with no request. */
  async addBlob(name: string, content: Uint8Array): Promise<Digest> {
    const digest = digestOf(content)
    await this.#write(content, digest)
    this.linkBlob(name, digest)
    return digest
  }

  /** A manifest straight into a repository, whatever it is. */
  async addManifest(
    name: string,
    tag: string | undefined,
    content: Uint8Array,
    mediaType: string,
  ): Promise<Descriptor> {
    const descriptor = { mediaType, digest: digestOf(content), size: content.length }
    const repository = this.#repositories.obtain(name)
    await this.#keepManifest(repository, { descriptor, children: [] }, content, tag)
    return descriptor
  }

  async #keepManifest(
    repository: Repository,
    manifest: StoredManifest,
    content: Uint8Array,
    tag: string | undefined,
  ): Promise<void> {
    const { descriptor, children, subject } = manifest
    await this.#write(content, descriptor.digest)
    repository.manifests.set(descriptor.digest, {
      descriptor,
      children,
      ...(subject === undefined ? {} : { subject }),
    })
    if (tag !== undefined) repository.tags.set(tag, descriptor.digest)
    await this.#save()
  }

  async #write(content: Uint8Array, digest: Digest): Promise<void> {
    const writer = await this.#blobs.begin()
    await writer.append(content)
    await writer.commit(digest)
  }

  /** Removes bytes that no repository names any more. */
  async #collect(digest: Digest): Promise<void> {
    if (!this.#repositories.refersTo(digest)) await this.#blobs.remove(digest)
  }

  async #blobSize(name: string, digest: Digest): Promise<number> {
    const repository = this.#repositories.get(name)
    const size = repository.blobs.has(digest) ? await this.#blobs.size(digest) : undefined
    if (size === undefined) {
      throw new ApiError(404, 'BLOB_UNKNOWN', 'no such blob in this repository', { digest })
    }
    return size
  }

  #refuseDangling(repository: Repository, blobs: Digest[], children: Descriptor[]): void {
    const missing = [
      ...blobs.filter((digest) => !repository.blobs.has(digest)),
      ...children.map(({ digest }) => digest).filter((digest) => !repository.manifests.has(digest)),
    ]
    if (missing.length > 0) {
      throw new ApiError(
        404,
        'MANIFEST_BLOB_UNKNOWN',
        'it names content that is not in this repository',
        { missing },
      )
    }
  }
}

function findManifest(repository: Repository, { tag, digest }: ManifestName): StoredManifest {
  const wanted = digest ?? repository.tags.get(tag ?? '')
  const manifest = wanted === undefined ? undefined : repository.manifests.get(wanted)
  if (manifest === undefined) {
    throw new ApiError(404, 'MANIFEST_UNKNOWN', 'no such manifest in this repository', {
      reference: digest ?? tag,
    })
  }
  return manifest
}

/** `Accept` without its weights: a type, `type/*` or everything. */
function accepts(header: string, mediaType: string): boolean {
  const family = `${mediaType.split('/')[0] ?? ''}/*`
  return header
    .split(',')
    .map((entry) => entry.split(';')[0]?.trim())
    .some((type) => type === mediaType || type === family || type === '*/*')
}
