/**
 * The one place where failures get their names.
 *
 * `ERRORS` holds every stable code with its class and the HTTP status a server answers with; anything that
 * can fail constructs its error through {@link keelsonError}. Foreign errors (system calls, HTTP, JSON) are converted where
 * they enter, once, and kept as `cause`.
 */

/** Brand that survives two copies of the package in one process. */
const BRAND = Symbol.for('keelson.error')

interface ErrorInit {
  /** What to do about it, in one sentence. */
  hint?: string | undefined
  /** The error beneath. */
  cause?: unknown
  // An error has these of its own; a fact needs another key: `network`, `volume`, `containerName`, `containerStatus`.
  name?: never
  code?: never
  status?: never
  message?: never
  stack?: never
  /** Facts for programs: shown as own properties of the error. */
  [field: string]: unknown
}

/**
 * Every failure that Keelson reports. `code` is stable; `message` says in one sentence what is wrong and `hint` what to do.
 *
 * @example
 * ```ts
 * import { Engine, KeelsonError } from 'keelson'
 *
 * await using engine = await Engine.open()
 * try {
 *   await engine.images.pull('no-such-host.invalid/x:1')
 * } catch (error) {
 *   if (KeelsonError.is(error) && error.code === 'KEELSON_REGISTRY_UNREACHABLE') console.error(error.hint)
 * }
 * ```
 */
export class KeelsonError extends Error {
  /** Stable name of the failure, listed in `docs/errors.md`. */
  readonly code: ErrorCode
  /** HTTP status a server front end answers with. */
  readonly status: number
  /** What to do about it, when there is something to do. */
  readonly hint?: string

  /** @internal use {@link keelsonError} */
  constructor(code: ErrorCode, message: string, init: ErrorInit = {}) {
    const { hint, cause, ...fields } = init
    super(message, cause === undefined ? undefined : { cause })
    this.code = code
    this.status = ERRORS[code].status
    if (hint !== undefined) this.hint = hint
    Object.assign(this, fields)
    Object.defineProperty(this, BRAND, { value: true })
    Object.defineProperty(this, 'name', { value: this.constructor.name })
  }

  /** True for an error of any copy of Keelson in this process. */
  static is(value: unknown): value is KeelsonError {
    return typeof value === 'object' && value !== null && BRAND in value
  }
}

/** The caller asked for something malformed or contradictory. Nothing was done. */
export class InvalidError extends KeelsonError {}
/** The thing named does not exist. */
export class NotFoundError extends KeelsonError {}
/** The state of an object, or a name already taken, forbids the call. */
export class ConflictError extends KeelsonError {}
/** A registry refused, failed, or sent something that cannot be accepted. */
export class RegistryError extends KeelsonError {}
/** Content does not have the digest, size or shape it must have. */
export class ContentError extends KeelsonError {}
/** This host cannot do what was asked; `hint` names the remedy. */
export class HostError extends KeelsonError {}
/** A container could not be started, or did not end well. */
export class RunError extends KeelsonError {}
/** The caller's AbortSignal or timeout ended the call. */
export class AbortedError extends KeelsonError {}

/** code -> class and HTTP status. Codes are never renamed or reused. */
export const ERRORS = {
  KEELSON_INVALID_OPTION: { class: InvalidError, status: 400 },
  KEELSON_INVALID_REFERENCE: { class: InvalidError, status: 400 },
  KEELSON_INVALID_DIGEST: { class: InvalidError, status: 400 },
  KEELSON_INVALID_PLATFORM: { class: InvalidError, status: 400 },

  KEELSON_IMAGE_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_PLATFORM_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_BLOB_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_IMAGE_AMBIGUOUS: { class: InvalidError, status: 400 },
  KEELSON_IMAGE_IN_USE: { class: ConflictError, status: 409 },
  KEELSON_NAME_IN_USE: { class: ConflictError, status: 409 },

  KEELSON_CONTAINER_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_CONTAINER_AMBIGUOUS: { class: InvalidError, status: 400 },
  KEELSON_CONTAINER_STATE: { class: ConflictError, status: 409 },
  KEELSON_CONTAINER_RECORD: { class: ContentError, status: 500 },
  KEELSON_EVENTS_LOST: { class: ContentError, status: 410 },

  KEELSON_FILE_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_FILE_EXISTS: { class: ConflictError, status: 409 },
  KEELSON_NOT_A_DIRECTORY: { class: InvalidError, status: 400 },
  KEELSON_IS_A_DIRECTORY: { class: InvalidError, status: 400 },
  KEELSON_NOT_A_FILE: { class: InvalidError, status: 400 },
  KEELSON_ARCHIVE_INVALID: { class: InvalidError, status: 400 },

  KEELSON_REGISTRY_UNREACHABLE: { class: RegistryError, status: 502 },
  KEELSON_REGISTRY_UNTRUSTED: { class: RegistryError, status: 502 },
  KEELSON_REGISTRY_UNAVAILABLE: { class: RegistryError, status: 502 },
  KEELSON_REGISTRY_UNAUTHORIZED: { class: RegistryError, status: 401 },
  KEELSON_REGISTRY_FORBIDDEN: { class: RegistryError, status: 403 },
  KEELSON_REGISTRY_RATE_LIMITED: { class: RegistryError, status: 429 },
  KEELSON_REGISTRY_PROTOCOL: { class: RegistryError, status: 502 },
  KEELSON_CREDENTIALS: { class: RegistryError, status: 500 },

  KEELSON_DIGEST_MISMATCH: { class: ContentError, status: 502 },
  KEELSON_SIZE_MISMATCH: { class: ContentError, status: 502 },
  KEELSON_MANIFEST_INVALID: { class: ContentError, status: 502 },
  KEELSON_MANIFEST_UNSUPPORTED: { class: ContentError, status: 502 },
  KEELSON_LAYER_INVALID: { class: ContentError, status: 502 },
  KEELSON_LAYER_LIMIT: { class: ContentError, status: 502 },

  KEELSON_HELPER_NOT_FOUND: { class: HostError, status: 500 },
  KEELSON_HELPER_VERSION: { class: HostError, status: 500 },
  KEELSON_HELPER_FAILED: { class: HostError, status: 500 },
  KEELSON_PERMISSION: { class: HostError, status: 500 },
  KEELSON_NO_SUBNET: { class: HostError, status: 500 },
  KEELSON_NO_ADDRESS: { class: HostError, status: 500 },
  KEELSON_ADDRESS_IN_USE: { class: ConflictError, status: 409 },
  KEELSON_NETWORK_RECORD: { class: HostError, status: 500 },
  KEELSON_NETWORK_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_NETWORK_AMBIGUOUS: { class: InvalidError, status: 400 },
  KEELSON_NETWORK_IN_USE: { class: ConflictError, status: 409 },
  KEELSON_NETWORK_CONNECTED: { class: ConflictError, status: 409 },
  KEELSON_NETWORK_NOT_CONNECTED: { class: NotFoundError, status: 404 },
  KEELSON_NETWORK_MODE: { class: ConflictError, status: 409 },
  KEELSON_NETWORK_FAILED: { class: HostError, status: 500 },
  KEELSON_SUBNET_IN_USE: { class: ConflictError, status: 409 },
  KEELSON_VOLUME_NOT_FOUND: { class: NotFoundError, status: 404 },
  KEELSON_VOLUME_IN_USE: { class: ConflictError, status: 409 },
  KEELSON_VOLUME_RECORD: { class: ContentError, status: 500 },
  KEELSON_VOLUME_DRIVER: { class: HostError, status: 500 },
  KEELSON_PORT_IN_USE: { class: ConflictError, status: 409 },
  KEELSON_NO_SPACE: { class: HostError, status: 507 },
  KEELSON_IDS_EXHAUSTED: { class: HostError, status: 507 },
  KEELSON_UNSUPPORTED: { class: HostError, status: 501 },
  KEELSON_CGROUP_UNAVAILABLE: { class: HostError, status: 500 },
  KEELSON_IO: { class: HostError, status: 500 },

  KEELSON_USER_NOT_FOUND: { class: RunError, status: 400 },
  KEELSON_COMMAND_NOT_FOUND: { class: RunError, status: 400 },
  KEELSON_COMMAND_NOT_EXECUTABLE: { class: RunError, status: 400 },
  KEELSON_LIBRARY_NOT_FOUND: { class: RunError, status: 400 },
  KEELSON_MOUNT_FAILED: { class: RunError, status: 400 },
  KEELSON_START_FAILED: { class: RunError, status: 500 },
  KEELSON_EXIT_NONZERO: { class: RunError, status: 500 },
  KEELSON_KILLED: { class: RunError, status: 500 },
  KEELSON_OUT_OF_MEMORY: { class: RunError, status: 500 },
  KEELSON_MAX_OUTPUT: { class: RunError, status: 500 },
  KEELSON_CONNECTION_REFUSED: { class: RunError, status: 502 },
  KEELSON_WAIT_FAILED: { class: RunError, status: 500 },
  KEELSON_WAIT_TIMEOUT: { class: AbortedError, status: 504 },
  KEELSON_TIMEOUT: { class: AbortedError, status: 504 },
  KEELSON_ABORTED: { class: AbortedError, status: 499 },
  KEELSON_CLOSED: { class: ConflictError, status: 409 },
} as const

/** Every code that a {@link KeelsonError} can carry. */
export type ErrorCode = keyof typeof ERRORS

/**
 * Makes the error that `code` stands for.
 * @internal
 */
export function keelsonError(code: ErrorCode, message: string, init: ErrorInit = {}): KeelsonError {
  return new ERRORS[code].class(code, message, init)
}
