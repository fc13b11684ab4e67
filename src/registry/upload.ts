import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import { keelsonError } from '../errors.ts'
import { discard, readExplanation, type Reading } from './body.ts'
import type { Exchange, Exchanger } from './exchange.ts'
import { protocolFailure, statusFailure } from './failure.ts'
import type { Endpoint } from './hosts.ts'
import type { RegistryAuth } from './options.ts'
import { redirectTarget } from './redirect.ts'
import type { Answer } from './transport.ts'

/** A repository that is written to, as whom. */
export interface PushTarget {
  exchanger: Exchanger
  endpoint: Endpoint
  repository: string
  auth: RegistryAuth | undefined
  signal: AbortSignal | undefined
  reading: Reading
}

export interface PushBlobOptions {
  auth?: RegistryAuth | undefined
  signal?: AbortSignal | undefined
  /** A repository of the same registry that may have the blob. */
  mountFrom?: string | undefined
  /** Bytes on their way; begins anew when the upload does. */
  onProgress?: (bytes: number) => void
}

/** One attempt ("Pushing blobs" of the OCI distribution specification). */
export async function uploadBlob(
  target: PushTarget,
  descriptor: Descriptor,
  source: () => AsyncIterable<Uint8Array>,
  { mountFrom, onProgress }: PushBlobOptions,
): Promise<'exists' | 'mounted' | 'uploaded'> {
  const { digest, size } = descriptor
  if (await hasBlob(target, digest)) return 'exists'
  const begun = await begin(target, digest, mountFrom)
  if (begun === 'mounted') return 'mounted'
  begun.searchParams.set('digest', digest)
  const answer = await ask(target, {
    url: begun,
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(size) },
    ...(size === 0 ? { body: '' } : { body: counted(source(), onProgress) }),
  })
  if (answer.status !== 201 && answer.status !== 204) throw await refused(target, answer, digest)
  await discard(answer, target.signal)
  return 'uploaded'
}

export async function putManifest(
  target: PushTarget,
  reference: Reference,
  { descriptor, bytes }: { descriptor: Descriptor; bytes: Uint8Array },
): Promise<void> {
  const { digest, mediaType } = descriptor
  const answer = await ask(target, {
    resource: `manifests/${reference.tag ?? digest}`,
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: bytes,
  })
  if (answer.status !== 201) throw await refused(target, answer, reference.toString())
  await discard(answer, target.signal)
  const stated = answer.headers['docker-content-digest']
  if (stated !== undefined && stated !== digest && String(stated).startsWith('sha256:')) {
    throw keelsonError(
      'KEELSON_DIGEST_MISMATCH',
      `The registry ${target.endpoint.host} keeps the manifest under another digest than it has.`,
      {
        expected: digest,
        actual: String(stated),
        hint: 'Something on the way changed it.',
      },
    )
  }
}

async function hasBlob(target: PushTarget, digest: Digest): Promise<boolean> {
  const answer = await ask(target, { resource: `blobs/${digest}`, method: 'HEAD', headers: {} })
  await discard(answer, target.signal)
  if (answer.status === 200) return true
  if (answer.status === 404) return false
  throw statusFailure(answer, '', { kind: 'upload', name: digest })
}

/** Where to send the bytes to; a registry that does not mount begins an upload by the same answer. */
async function begin(
  target: PushTarget,
  digest: Digest,
  mountFrom: string | undefined,
): Promise<URL | 'mounted'> {
  const { endpoint } = target
  const from = mountFrom === undefined ? undefined : endpoint.prefix + mountFrom
  const query =
    from === undefined ? '' : `?${new URLSearchParams({ mount: digest, from }).toString()}`
  const answer = await ask(target, {
    resource: `blobs/uploads/${query}`,
    method: 'POST',
    headers: { 'content-length': '0' },
    body: '',
    ...(from === undefined ? {} : { alsoPull: [from] }),
  })
  if (answer.status === 201 && from !== undefined) {
    await discard(answer, target.signal)
    return 'mounted'
  }
  if (answer.status !== 202) throw await refused(target, answer, digest)
  await discard(answer, target.signal)
  const { location } = answer.headers
  if (location === undefined) {
    throw protocolFailure(endpoint.host, 'begins an upload without saying where')
  }
  return redirectTarget([answer.url], location)
}

async function ask(
  target: PushTarget,
  question: Pick<Exchange, 'headers' | 'method' | 'body' | 'url' | 'alsoPull'> & {
    resource?: string
  },
): Promise<Answer> {
  const { exchanger, endpoint, repository, auth, signal } = target
  const { resource = '', ...more } = question
  return await exchanger.ask({ endpoint, repository, resource, push: true, auth, signal, ...more })
}

async function refused(target: PushTarget, answer: Answer, name: string) {
  const explanation = await readExplanation(answer, target.reading)
  return statusFailure(answer, explanation, { kind: 'upload', name })
}

async function* counted(
  source: AsyncIterable<Uint8Array>,
  onProgress: ((bytes: number) => void) | undefined,
): AsyncGenerator<Uint8Array, void> {
  let bytes = 0
  onProgress?.(0)
  for await (const chunk of source) {
    yield chunk
    bytes += chunk.length
    onProgress?.(bytes)
  }
}
