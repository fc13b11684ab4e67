import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { ApiError } from './api-error.ts'

/** What a repository is made of. Bytes are kept apart, by digest; this says which of them may be seen under which name. */
export interface Repository {
  readonly blobs: Set<Digest>
  readonly manifests: Map<Digest, StoredManifest>
  readonly tags: Map<string, Digest>
}

/** A manifest or index, and what a list of referrers says of it. */
export interface StoredManifest {
  descriptor: Descriptor
  /** Of an index: the manifests that it lists. */
  children: Descriptor[]
  subject?: Digest
}

/** Every repository by name. A repository exists from its first upload on. */
export class Repositories {
  readonly #byName = new Map<string, Repository>()

  /** In lexical order. */
  names(): string[] {
    return [...this.#byName.keys()].sort()
  }

  entries(): [name: string, repository: Repository][] {
    return this.names().map((name) => [name, this.obtain(name)])
  }

  /** Makes the repository if it does not exist. */
  obtain(name: string): Repository {
    let repository = this.#byName.get(name)
    if (repository === undefined) {
      repository = { blobs: new Set(), manifests: new Map(), tags: new Map() }
      this.#byName.set(name, repository)
    }
    return repository
  }

  find(name: string): Repository | undefined {
    return this.#byName.get(name)
  }

  /** @throws an {@link ApiError} `NAME_UNKNOWN` */
  get(name: string): Repository {
    const repository = this.#byName.get(name)
    if (repository === undefined) {
      throw new ApiError(404, 'NAME_UNKNOWN', 'no such repository', { name })
    }
    return repository
  }

  /** True while any repository names these bytes, as a blob or as a manifest. */
  refersTo(digest: Digest): boolean {
    for (const { blobs, manifests } of this.#byName.values()) {
      if (blobs.has(digest) || manifests.has(digest)) return true
    }
    return false
  }
}
