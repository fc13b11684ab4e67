import type { IncomingMessage } from 'node:http'
import { KeelsonError } from '../errors.ts'
import { failure, json, type Answer } from './answer.ts'
import { ApiError } from './api-error.ts'
import type { Authorization } from './authorization.ts'
import type { Content } from './content.ts'
import type { Repositories } from './repositories.ts'
import { page, readBody } from './request.ts'
import { isRepositoryName, readDigest, type Route } from './route.ts'
import type { Uploads } from './uploads.ts'

const MAX_FORM_BYTES = 64 * 1024

/** The parts of a registry that answers are made with. */
export interface Parts {
  authorization: Authorization
  repositories: Repositories
  content: Content
  uploads: Uploads
  readonly: boolean
}

/** A request, and what its URL says. */
export interface Incoming {
  request: IncomingMessage
  method: string
  path: string
  query: URLSearchParams
  route: Route
  /** `http://host:port` as the client knows it. */
  origin: string
}

/** The answer to a request that is let through: methods by endpoint, as in the specification's table of endpoints. */
export async function dispatch(parts: Parts, incoming: Incoming): Promise<Answer> {
  const { authorization, repositories, content, readonly } = parts
  const { request, method, path, query, route, origin } = incoming
  if (route.kind === 'token') {
    const form = method === 'POST' ? await readBody(request, MAX_FORM_BYTES) : undefined
    return authorization.issue(
      request,
      form === undefined ? query : new URLSearchParams(form.toString()),
    )
  }
  authorization.check(request, route, origin)
  const reads = method === 'GET' || method === 'HEAD'
  if (readonly && !reads) throw new ApiError(405, 'UNSUPPORTED', 'this registry is read-only')
  switch (route.kind) {
    case 'base':
      if (reads) return json(200, {})
      break
    case 'catalog':
      if (reads) {
        const { names, headers } = page(repositories.names(), path, query)
        return json(200, { repositories: names }, headers)
      }
      break
    case 'tags':
      if (reads) {
        const { tags } = repositories.get(route.repository)
        const { names, headers } = page([...tags.keys()].sort(), path, query)
        return json(200, { name: route.repository, tags: names }, headers)
      }
      break
    case 'referrers':
      if (reads) return content.getReferrers(route.repository, route.digest, query)
      break
    case 'manifest':
      if (reads) return content.getManifest(route, request)
      if (method === 'PUT') return content.putManifest(route, request)
      if (method === 'DELETE') return content.deleteManifest(route)
      break
    case 'blob':
      if (reads) return content.getBlob(route.repository, route.digest, request)
      if (method === 'DELETE') return content.deleteBlob(route.repository, route.digest)
      break
    case 'uploads':
      if (method === 'POST') return beginUpload(parts, incoming, route.repository)
      break
    case 'upload':
      return continueUpload(parts, incoming, route)
  }
  throw notAllowed(method)
}

/** The answer to a request that failed. */
export function answerOfError(error: unknown): Answer {
  if (error instanceof ApiError) return failure(error)
  const invalid = KeelsonError.is(error) && error.code.startsWith('KEELSON_MANIFEST_')
  if (invalid) return failure(new ApiError(400, 'MANIFEST_INVALID', error.message))
  return failure(new ApiError(500, 'UNKNOWN', error instanceof Error ? error.message : 'failed'))
}

async function beginUpload(
  { authorization, content, uploads }: Parts,
  { request, query }: Incoming,
  repository: string,
): Promise<Answer> {
  const mount = query.get('mount')
  const from = query.get('from')
  if (mount !== null && from !== null && isRepositoryName(from)) {
    const digest = readDigest(mount)
    if (content.hasBlob(from, digest) && authorization.mayPull(request, from)) {
      return content.linkBlob(repository, digest)
    }
    // "If a registry does not support cross-repository mounting or is unable to mount the requested blob": an upload begins.
    return uploads.begin(repository)
  }
  const whole = query.get('digest')
  if (whole === null) return uploads.begin(repository)
  const digest = readDigest(whole)
  await uploads.monolithic(repository, digest, request)
  return content.linkBlob(repository, digest)
}

async function continueUpload(
  { content, uploads }: Parts,
  { request, method, query }: Incoming,
  { repository, upload }: { repository: string; upload: string },
): Promise<Answer> {
  switch (method) {
    case 'GET':
    case 'HEAD':
      return uploads.status(upload, repository)
    case 'PATCH':
      return uploads.append(upload, repository, request)
    case 'PUT': {
      const digest = readDigest(query.get('digest') ?? '')
      await uploads.finish(upload, repository, digest, request)
      return content.linkBlob(repository, digest)
    }
    case 'DELETE':
      return uploads.cancel(upload, repository)
    default:
      throw notAllowed(method)
  }
}

function notAllowed(method: string): ApiError {
  return new ApiError(405, 'UNSUPPORTED', `${method} means nothing here`)
}
