import { keelsonError, KeelsonError, type ErrorCode } from '../errors.ts'
import { printable } from '../util/printable.ts'

/** What was asked for, in the words of messages. */
export interface Subject {
  kind: 'manifest' | 'blob' | 'token' | 'upload'
  /** `docker.io/library/alpine:3.22`, or a digest. */
  name: string
}

/** The one place where what goes wrong on the wire becomes a Keelson error: here failures of connections. */
export function connectionFailure(wrapped: unknown, url: URL): KeelsonError {
  // The client library's own error carries the whole request along, credentials and all: only what it wraps is kept.
  const error = innermost(wrapped)
  const code = errorCode(error)
  const registry = url.host
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    return keelsonError(
      'KEELSON_REGISTRY_UNREACHABLE',
      `The name of the registry ${registry} does not resolve.`,
      {
        hint: 'Check the spelling and the network.',
        cause: error,
        registry,
        transient: code === 'EAI_AGAIN',
      },
    )
  }
  if (CERTIFICATE_CODES.has(code) || /^(?:CERT_|ERR_TLS_CERT)/.test(code)) {
    return keelsonError(
      'KEELSON_REGISTRY_UNTRUSTED',
      `The certificate of the registry ${registry} cannot be verified (${code}).`,
      {
        hint: `Give its authority as registries: { '${registry}': { ca } } or in /etc/docker/certs.d/${registry}/ca.crt.`,
        cause: error,
        registry,
      },
    )
  }
  if (/^(?:EPROTO$|ERR_SSL_)/.test(code)) {
    return keelsonError(
      'KEELSON_REGISTRY_UNREACHABLE',
      `There is no TLS connection with the registry ${registry} (${code}).`,
      {
        hint: `If it speaks plain HTTP, say registries: { '${registry}': { insecure: true } }.`,
        cause: error,
        registry,
      },
    )
  }
  if (code.startsWith('HPE_')) {
    return keelsonError(
      'KEELSON_REGISTRY_PROTOCOL',
      `The registry ${registry} does not speak HTTP (${code}).`,
      { cause: error, registry },
    )
  }
  return keelsonError(
    'KEELSON_REGISTRY_UNREACHABLE',
    `The registry ${registry} ${CONNECTION_WORDS[code] ?? `cannot be reached (${code})`}.`,
    {
      hint: 'Check that it runs and that the network and any proxy allow the connection.',
      cause: error,
      registry,
      // A refused connection stays refused for a person's typing error; a download that had begun tries again all the same.
      transient: code !== 'ECONNREFUSED',
    },
  )
}

const CERTIFICATE_CODES = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'HOSTNAME_MISMATCH',
  'INVALID_CA',
  'INVALID_PURPOSE',
])

const CONNECTION_WORDS: Partial<Record<string, string>> = {
  ECONNREFUSED: 'refuses connections',
  ECONNRESET: 'cut the connection',
  ETIMEDOUT: 'does not answer in time',
  EHOSTUNREACH: 'has no route from here',
  ENETUNREACH: 'has no route from here',
  KEELSON_PROXY: 'is behind a proxy that does not let us through',
}

/** An answer that says no. `body` is what the registry wrote, as far as it was read. */
export function statusFailure(
  answer: { url: URL; status: number; headers: NodeJS.Dict<string | string[]> },
  body: string,
  subject: Subject,
): KeelsonError {
  const { status } = answer
  const registry = answer.url.host
  const detail = registryMessage(body)
  const facts = { registry, httpStatus: status, ...(detail && { detail }) }
  const because = detail === '' ? '.' : `: ${detail.replace(/[.!]*$/, '')}.`
  const fail = (code: ErrorCode, message: string, more: Record<string, unknown> = {}) =>
    keelsonError(code, message, { ...facts, ...more })

  if (status === 401) {
    return fail(
      'KEELSON_REGISTRY_UNAUTHORIZED',
      `The registry ${registry} wants other credentials for ${subject.name}${because}`,
      {
        hint: `Check the name; if the image is private, log in ("docker login ${registry}") or pass auth.`,
      },
    )
  }
  if (status === 403) {
    return fail(
      'KEELSON_REGISTRY_FORBIDDEN',
      `The registry ${registry} denies access to ${subject.name}${because}`,
      {
        hint: `The credentials are known but not allowed to ${subject.kind === 'upload' ? 'push' : 'pull'} this.`,
      },
    )
  }
  if (status === 404 && subject.kind !== 'token' && subject.kind !== 'upload')
    return notFound(subject, registry, fail)
  if (status === 429) {
    return fail(
      'KEELSON_REGISTRY_RATE_LIMITED',
      `The registry ${registry} limits the rate of requests${because}`,
      {
        hint: 'Wait, log in for a higher limit, or use a mirror.',
        transient: true,
        ...retryAfter(answer),
      },
    )
  }
  if (status === 408 || status >= 500) {
    return fail(
      'KEELSON_REGISTRY_UNAVAILABLE',
      `The registry ${registry} failed with status ${status}${because}`,
      {
        hint: 'Try again later, or use a mirror.',
        transient: status !== 501 && status !== 505,
        ...retryAfter(answer),
      },
    )
  }
  return fail(
    'KEELSON_REGISTRY_PROTOCOL',
    `The registry ${registry} answers ${subject.name} with status ${status}${because}`,
  )
}

function notFound(
  subject: Subject,
  registry: string,
  fail: (code: ErrorCode, message: string, more: Record<string, unknown>) => KeelsonError,
): KeelsonError {
  return subject.kind === 'manifest'
    ? fail('KEELSON_IMAGE_NOT_FOUND', `The registry ${registry} has no image ${subject.name}.`, {
        hint: 'Check the repository and the tag.',
      })
    : fail('KEELSON_BLOB_NOT_FOUND', `The registry ${registry} has no blob ${subject.name}.`, {
        hint: 'The image is incomplete there; push it again.',
      })
}

/** `{"errors":[{"code","message"}]}` of the distribution specification, one line of it. */
function registryMessage(body: string): string {
  let parsed: unknown
  try {
    parsed = JSON.parse(body)
  } catch {
    return ''
  }
  const errors = field(parsed, 'errors')
  const first: unknown = Array.isArray(errors) ? errors[0] : parsed
  // Token servers say {"error","error_description"} (RFC 6749) or {"details"}.
  const message = ['message', 'error_description', 'details', 'code', 'error']
    .map((key) => field(first, key))
    .find((text) => typeof text === 'string' && text.trim() !== '')
  return typeof message === 'string' ? printable(message) : ''
}

function field(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return Object.entries(value).find(([name]) => name === key)?.[1]
}

function retryAfter(answer: { headers: NodeJS.Dict<string | string[]> }): { retryAfter?: number } {
  const value = answer.headers['retry-after']
  const milliseconds = parseRetryAfter(typeof value === 'string' ? value : '', Date.now())
  return milliseconds === undefined ? {} : { retryAfter: milliseconds }
}

/** `Retry-After` as milliseconds from `now`: whole seconds or an HTTP date. */
export function parseRetryAfter(value: string, now: number): number | undefined {
  const text = value.trim()
  if (/^[0-9]+$/.test(text)) return Number(text) * 1000
  const date = /^[A-Z][a-z]{2}, /.test(text) ? Date.parse(text) : NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/** An answer that cannot be what a registry answers. */
export function protocolFailure(
  registry: string,
  problem: string,
  facts: Record<string, unknown> = {},
): KeelsonError {
  return keelsonError('KEELSON_REGISTRY_PROTOCOL', `The registry ${registry} ${problem}.`, {
    registry,
    ...facts,
  })
}

function innermost(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  if (error.cause instanceof Error) return innermost(error.cause)
  if (!('options' in error)) return error
  return Object.assign(new Error(error.message), { code: errorCode(error) })
}

function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'unknown error'
}

/** Whether the other side could not be spoken with at all. */
export function isConnectionError(error: unknown): error is KeelsonError {
  return KeelsonError.is(error) && error.code === 'KEELSON_REGISTRY_UNREACHABLE'
}

/** Whether the caller, not the registry, ended the work. */
export function isEnded(error: unknown): boolean {
  return KeelsonError.is(error) && ENDED.has(error.code)
}

const ENDED = new Set<ErrorCode>(['KEELSON_ABORTED', 'KEELSON_CLOSED'])
