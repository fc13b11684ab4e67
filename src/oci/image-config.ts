import { decodeDigest, decodePlatform } from './descriptor.ts'
import type { Digest } from './digest.ts'
import { parseDocument, type DocumentNode } from './document.ts'
import { MAX_LAYERS } from './manifest.ts'
import type { Platform } from './platform.ts'

/** Real configurations have a few kilobytes. */
export const MAX_CONFIG_BYTES = 8 * 1024 * 1024
const MAX_LIST = 4096
const MAX_HISTORY = 4096

/** How an image wants to be run; every field may be overridden by the caller. Docker's names. */
export interface ExecutionParameters {
  User?: string
  Env?: string[]
  Entrypoint?: string[]
  Cmd?: string[]
  WorkingDir?: string
  /** `80/tcp`, `53/udp`. */
  ExposedPorts?: Record<string, object>
  /** Directories that want a volume. */
  Volumes?: Record<string, object>
  Labels?: Record<string, string>
  /** `SIGTERM`, `15`. */
  StopSignal?: string
  Healthcheck?: Healthcheck
  /** For the shell form of commands in builds. */
  Shell?: string[]
}

/** Docker's extension to the OCI image configuration. Times in nanoseconds. */
export interface Healthcheck {
  Test?: string[]
  Interval?: number
  Timeout?: number
  StartPeriod?: number
  StartInterval?: number
  Retries?: number
}

export interface HistoryEntry {
  created?: string
  author?: string
  created_by?: string
  comment?: string
  empty_layer?: boolean
}

/** The configuration of an image (`config.md` of the OCI image specification). */
export interface ImageConfig extends Platform {
  config: ExecutionParameters
  rootfs: { type: 'layers'; diff_ids: Digest[] }
  history: HistoryEntry[]
  /** RFC 3339. */
  created?: string
  author?: string
}

/**
 * Reads an image configuration from an untrusted source. Fields that neither OCI nor Docker define are dropped.
 *
 * @throws `KEELSON_MANIFEST_INVALID` with the path of the offending field.
 */
export function decodeImageConfig(bytes: Uint8Array): ImageConfig {
  const root = parseDocument(bytes, 'image config', MAX_CONFIG_BYTES)
  const rootfs = root.required('rootfs')
  const type = rootfs.required('type')
  if (type.string() !== 'layers') throw type.invalid('must be "layers"')
  const execution = root.optional('config')
  return {
    ...decodePlatform(root),
    config: execution === undefined ? {} : decodeExecution(execution),
    rootfs: {
      type: 'layers',
      diff_ids: rootfs.optional('diff_ids')?.elements(MAX_LAYERS).map(decodeDigest) ?? [],
    },
    history: root.optional('history')?.elements(MAX_HISTORY).map(decodeHistory) ?? [],
    ...present({
      created: root.optional('created')?.string(),
      author: root.optional('author')?.string(),
    }),
  }
}

/** @throws `KEELSON_MANIFEST_INVALID` */
export function decodeExecution(node: DocumentNode): ExecutionParameters {
  const health = node.optional('Healthcheck')
  return present({
    User: node.optional('User')?.cString(),
    Env: list(node.optional('Env')),
    Entrypoint: list(node.optional('Entrypoint')),
    Cmd: list(node.optional('Cmd')),
    WorkingDir: node.optional('WorkingDir')?.cString(),
    ExposedPorts: set(node.optional('ExposedPorts')),
    Volumes: set(node.optional('Volumes')),
    Labels: node.optional('Labels')?.strings(MAX_LIST),
    StopSignal: node.optional('StopSignal')?.cString(),
    Healthcheck: health === undefined ? undefined : decodeHealthcheck(health),
    Shell: list(node.optional('Shell')),
  })
}

function decodeHealthcheck(node: DocumentNode): Healthcheck {
  return present({
    Test: list(node.optional('Test')),
    Interval: node.optional('Interval')?.integer(0),
    Timeout: node.optional('Timeout')?.integer(0),
    StartPeriod: node.optional('StartPeriod')?.integer(0),
    StartInterval: node.optional('StartInterval')?.integer(0),
    Retries: node.optional('Retries')?.integer(0),
  })
}

function decodeHistory(node: DocumentNode): HistoryEntry {
  return present({
    created: node.optional('created')?.string(),
    author: node.optional('author')?.string(),
    created_by: node.optional('created_by')?.string(),
    comment: node.optional('comment')?.string(),
    empty_layer: node.optional('empty_layer')?.boolean(),
  })
}

function list(node: DocumentNode | undefined): string[] | undefined {
  return node?.elements(MAX_LIST).map((element) => element.cString())
}

/** Go's way to write a set of strings: a map to empty objects. */
function set(node: DocumentNode | undefined): Record<string, object> | undefined {
  if (node === undefined) return undefined
  return Object.fromEntries(
    node.entries(MAX_LIST).map(([key, value]) => {
      if (key.includes('\0')) throw value.invalid('has a NUL character in its name')
      return [key, {}]
    }),
  )
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** Leaves out the fields that are undefined. */
function present<T extends object>(fields: T): Present<T> {
  const result: Present<T> = {}
  for (const key of keysOf(fields)) {
    const value = fields[key]
    if (isPresent(value)) result[key] = value
  }
  return result
}

function keysOf<T extends object>(fields: T): (keyof T)[] {
  const keys: (keyof T)[] = []
  for (const key in fields) keys.push(key)
  return keys
}

function isPresent<V>(value: V): value is Exclude<V, undefined> {
  return value !== undefined
}
