import { parseDigest, type Digest } from '../oci/digest.ts'
import { KeelsonError } from '../errors.ts'
import { ApiError } from './api-error.ts'

/** What a path of the distribution API names. */
export type Route =
  | { kind: 'base' }
  | { kind: 'token' }
  | { kind: 'catalog' }
  | { kind: 'tags'; repository: string }
  | { kind: 'manifest'; repository: string; tag?: string; digest?: Digest }
  | { kind: 'blob'; repository: string; digest: Digest }
  | { kind: 'uploads'; repository: string }
  | { kind: 'upload'; repository: string; upload: string }
  | { kind: 'referrers'; repository: string; digest: Digest }

/** "Pulling manifests" of the OCI distribution specification gives both expressions. */
const NAME = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/
const MAX_NAME = 255

/** The token endpoint lies outside of the API's `/v2/`. */
export const TOKEN_PATH = '/token'

/**
 * Reads the path of a request (without its query).
 *
 * @throws an {@link ApiError} as the specification's table of error codes has it.
 */
export function parseRoute(path: string): Route {
  if (path === TOKEN_PATH) return { kind: 'token' }
  if (path === '/v2/' || path === '/v2') return { kind: 'base' }
  if (path === '/v2/_catalog') return { kind: 'catalog' }
  if (!path.startsWith('/v2/')) throw notFound(path)
  const parts = path.slice('/v2/'.length).split('/')
  // A name may itself have components called "blobs" or "manifests", so paths are read from their end.
  const last = parts.at(-1) ?? ''
  const [before, verb] = [parts.at(-3), parts.at(-2)]
  if (before === 'blobs' && verb === 'uploads') {
    const repository = parseName(parts.slice(0, -3))
    return last === ''
      ? { kind: 'uploads', repository }
      : { kind: 'upload', repository, upload: last }
  }
  if (verb === 'blobs' && last === 'uploads') {
    return { kind: 'uploads', repository: parseName(parts.slice(0, -2)) }
  }
  if (verb === 'tags' && last === 'list') {
    return { kind: 'tags', repository: parseName(parts.slice(0, -2)) }
  }
  if (verb === 'blobs' || verb === 'referrers') {
    const repository = parseName(parts.slice(0, -2))
    const digest = readDigest(last)
    return verb === 'blobs'
      ? { kind: 'blob', repository, digest }
      : { kind: 'referrers', repository, digest }
  }
  if (verb === 'manifests') {
    const repository = parseName(parts.slice(0, -2))
    if (last.includes(':')) return { kind: 'manifest', repository, digest: readDigest(last) }
    if (!TAG.test(last)) {
      throw new ApiError(404, 'MANIFEST_UNKNOWN', 'not a tag: 1 to 128 of A-Z a-z 0-9 _ . -')
    }
    return { kind: 'manifest', repository, tag: last }
  }
  throw notFound(path)
}

/** True for a repository name of the specification. */
export function isRepositoryName(name: string): boolean {
  return name.length <= MAX_NAME && NAME.test(name)
}

/** True for a tag of the specification. */
export function isTag(tag: string): boolean {
  return TAG.test(tag)
}

/**
 * A digest that a client sent.
 *
 * @throws an {@link ApiError} `DIGEST_INVALID`
 */
export function readDigest(text: string): Digest {
  try {
    return parseDigest(text)
  } catch (error) {
    if (!KeelsonError.is(error)) throw error
    throw new ApiError(400, 'DIGEST_INVALID', error.message)
  }
}

function parseName(parts: string[]): string {
  const name = parts.join('/')
  if (!isRepositoryName(name)) {
    throw new ApiError(400, 'NAME_INVALID', 'not a repository name of the specification', { name })
  }
  return name
}

function notFound(path: string): ApiError {
  return new ApiError(404, 'UNSUPPORTED', 'no such endpoint', { path })
}
