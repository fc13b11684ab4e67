import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import type { Readable } from 'node:stream'
import type { Descriptor } from '../../src/oci/descriptor.ts'

/** Where to push to. */
export interface PushTarget {
  /** `http://127.0.0.1:PORT` or https. */
  url: string
  repository: string
  tag: string
  auth?: { username: string; password: string }
  ca?: string
}

/** Anything that has the `url` of a registry and perhaps certificates: a `DockerRegistry` or a `Registry`. */
interface RegistryLike {
  url: string
  certificates?: { ca: { cert: string } } | undefined
}

/**
 * Pushes an image of a layout directory as it lies there, byte for byte, so that the digests are the layout's.
 *
 * @param name the image's `org.opencontainers.image.ref.name`
 * @returns the descriptor of what was pushed
 */
export async function pushLayout(
  layout: string,
  name: string,
  registry: RegistryLike,
  target: { repository?: string; tag?: string; auth?: PushTarget['auth'] } = {},
): Promise<Descriptor> {
  const index = await readJson<{ manifests: Descriptor[] }>(join(layout, 'index.json'))
  const root = index.manifests.find(
    ({ annotations }) => annotations?.['org.opencontainers.image.ref.name'] === name,
  )
  if (root === undefined) throw new Error(`${layout} has no ${name}`)
  const [repository = name, tag = 'latest'] = name.split(':')
  const push: PushTarget = {
    url: registry.url,
    repository: target.repository ?? repository,
    tag: target.tag ?? tag,
    ...(target.auth === undefined ? {} : { auth: target.auth }),
    ...(registry.certificates === undefined ? {} : { ca: registry.certificates.ca.cert }),
  }
  await pushManifest(layout, root, push, push.tag)
  return { mediaType: root.mediaType, digest: root.digest, size: root.size }
}

interface Document {
  config?: Descriptor
  layers?: Descriptor[]
  manifests?: Descriptor[]
}

async function pushManifest(
  layout: string,
  descriptor: Descriptor,
  target: PushTarget,
  reference: string,
): Promise<void> {
  const path = blobPath(layout, descriptor)
  const { config, layers = [], manifests = [] } = await readJson<Document>(path)
  for (const child of manifests) await pushManifest(layout, child, target, child.digest)
  for (const blob of config === undefined ? layers : [config, ...layers]) {
    await pushBlob(target, blob, () => createReadStream(blobPath(layout, blob)))
  }
  await exchange(target, 'PUT', `/v2/${target.repository}/manifests/${reference}`, 201, {
    headers: { 'content-type': descriptor.mediaType, 'content-length': (await stat(path)).size },
    body: createReadStream(path),
  })
}

/** Pushes one blob in one request. */
export async function pushBlob(
  target: PushTarget,
  { digest, size }: Descriptor,
  open: () => Readable,
): Promise<void> {
  const begun = await exchange(target, 'POST', `/v2/${target.repository}/blobs/uploads/`, 202)
  const location = new URL(begun.headers.location ?? '', target.url)
  location.searchParams.set('digest', digest)
  await exchange(target, 'PUT', location.pathname + location.search, 201, {
    headers: { 'content-type': 'application/octet-stream', 'content-length': size },
    body: open(),
  })
}

async function exchange(
  target: PushTarget,
  method: string,
  path: string,
  expected: number,
  { headers, body }: { headers?: Record<string, string | number>; body?: Readable } = {},
): Promise<IncomingMessage> {
  const send = target.url.startsWith('https:') ? httpsRequest : httpRequest
  const { auth, ca } = target
  const outgoing = send(new URL(path, target.url), {
    method,
    headers: headers ?? { 'content-length': 0 },
    ...(auth === undefined ? {} : { auth: `${auth.username}:${auth.password}` }),
    ...(ca === undefined ? {} : { ca }),
  })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.on('response', resolve).on('error', reject)
  })
  if (body === undefined) outgoing.end()
  else await pipeline(body, outgoing)
  const answer = await answered
  const said = await text(answer)
  if (answer.statusCode !== expected) {
    throw new Error(`${method} ${path}: ${answer.statusCode} ${said}`)
  }
  return answer
}

function blobPath(layout: string, { digest }: Descriptor): string {
  return join(layout, 'blobs', digest.replace(':', '/'))
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(path, 'utf8')) as T
}
