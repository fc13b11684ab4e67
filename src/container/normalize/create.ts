import { parseDuration, type Duration } from '../../util/duration.ts'
import { parseSignal } from '../../util/signals.ts'
import type {
  CreateOptions,
  HealthcheckOptions,
  LogOptions,
  RestartPolicy,
} from '../options/create-options.ts'
import { mustNameImage } from '../config/image.ts'
import { checkName } from '../record/names.ts'
import { CONTAINER_OPTIONS, normalizeContainer, type NormalizedContainer } from './normalize.ts'
import { abortSignal, refuseUnknown } from './call.ts'
import { invalid, oneOf, optionalSize, refuseBadImageOptions, words } from './values.ts'
import { show } from '../../util/printable.ts'

/** {@link CreateOptions} in one form, as the record keeps them. */
export interface NormalizedCreate extends NormalizedContainer {
  name: string | undefined
  labels: Record<string, string>
  tty: boolean
  openStdin: boolean
  restart: RestartPolicy
  stopSignal: number | undefined
  /** Milliseconds; -1: for ever. */
  stopTimeout: number
  /** Undefined: the image's. */
  healthcheck: NormalizedHealthcheck | undefined
  logs: { driver: 'file' | 'none' | 'sink'; maxSize?: number; maxFiles?: number }
  detached: boolean
  autoRemove: boolean
}

/** What is absent is the image's, or Docker's default. Milliseconds. */
export interface NormalizedHealthcheck {
  /** Docker's form: `['NONE']`, `['CMD', ...]`, `['CMD-SHELL', line]`. */
  test?: string[]
  interval?: number
  timeout?: number
  retries?: number
  startPeriod?: number
  startInterval?: number
  onFailure: 'none' | 'kill' | 'restart' | 'stop'
}

const DEFAULT_STOP_TIMEOUT = 10_000
const MIN_LOG_SIZE = 4096
const HEALTHCHECK_OPTIONS = [
  'test',
  'interval',
  'timeout',
  'retries',
  'startPeriod',
  'startInterval',
  'onFailure',
]
const CREATE_OPTIONS = [
  ...CONTAINER_OPTIONS,
  ...'image command name tty stdin restart stopSignal stopTimeout healthcheck logs detached autoRemove platform pull signal'.split(
    ' ',
  ),
]

/** @throws `KEELSON_INVALID_OPTION` naming the option and what is accepted */
export function normalizeCreateOptions(options: CreateOptions): NormalizedCreate {
  refuseUnknown(options, CREATE_OPTIONS, 'create()')
  abortSignal(options.signal)
  mustNameImage(options.image)
  refuseBadImageOptions(options)
  const restart = parseRestart(options.restart ?? 'no')
  const autoRemove = flag('autoRemove', options.autoRemove)
  if (autoRemove && restart.policy !== 'no') {
    throw invalid(
      'autoRemove',
      'contradicts restart',
      'A container that is removed cannot restart.',
    )
  }
  const logs = logOptions(options.logs ?? 'file')
  if (logs.driver === 'sink' && options.detached === true) {
    throw invalid('logs', 'cannot be a function of a detached container', 'Use the driver "file".')
  }
  return {
    ...normalizeContainer(options.command, options),
    name: options.name === undefined ? undefined : checkName(options.name),
    labels: labelRecord(options.labels ?? {}),
    tty: flag('tty', options.tty),
    openStdin: flag('stdin', options.stdin),
    restart,
    stopSignal:
      options.stopSignal === undefined ? undefined : parseSignal(options.stopSignal, 'stopSignal'),
    stopTimeout:
      options.stopTimeout === undefined
        ? DEFAULT_STOP_TIMEOUT
        : parseStopTimeout(options.stopTimeout, 'stopTimeout'),
    healthcheck: options.healthcheck === undefined ? undefined : healthcheck(options.healthcheck),
    logs,
    detached: flag('detached', options.detached),
    autoRemove,
  }
}

/** Docker's words, or an object. @throws `KEELSON_INVALID_OPTION` */
export function parseRestart(restart: RestartPolicy | string): RestartPolicy {
  const { policy, maxRetries } = typeof restart === 'string' ? restartWords(restart) : restart
  oneOf('restart', policy, ['no', 'on-failure', 'always', 'unless-stopped'])
  if (maxRetries === undefined) return { policy }
  if (!Number.isInteger(maxRetries) || maxRetries < 0) {
    throw invalid('restart', `has ${String(maxRetries)} retries`, 'Give a whole number.')
  }
  if (policy !== 'on-failure') {
    throw invalid('restart', `cannot limit retries of ${policy}`, 'Only on-failure can be limited.')
  }
  // Docker's 0 is no limit.
  return maxRetries === 0 ? { policy } : { policy, maxRetries }
}

/** Milliseconds; -1 is for ever. @throws `KEELSON_INVALID_OPTION` */
export function parseStopTimeout(timeout: Duration, option: string): number {
  return timeout === -1 ? -1 : parseDuration(timeout, option)
}

function restartWords(text: string): RestartPolicy {
  const at = text.indexOf(':')
  const policy = (at < 0 ? text : text.slice(0, at)) as RestartPolicy['policy']
  return at < 0 ? { policy } : { policy, maxRetries: Number(text.slice(at + 1) || Number.NaN) }
}

function healthcheck(given: HealthcheckOptions | 'none'): NormalizedHealthcheck {
  if (given === 'none') return { test: ['NONE'], onFailure: 'none' }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalid('healthcheck', `cannot be ${show(given)}`, "Write { test: ... }, or 'none'.")
  }
  refuseUnknown(given, HEALTHCHECK_OPTIONS, 'healthcheck')
  const duration = (name: 'interval' | 'timeout' | 'startPeriod' | 'startInterval') => {
    const value = given[name]
    return value === undefined ? {} : { [name]: parseDuration(value, `healthcheck.${name}`) }
  }
  const { retries, test } = given
  if (retries !== undefined && (!Number.isInteger(retries) || retries < 1)) {
    throw invalid('healthcheck', `has ${String(retries)} retries`, 'Give a whole number above 0.')
  }
  return {
    ...(test !== undefined && { test: testWords(test) }),
    ...duration('interval'),
    ...duration('timeout'),
    ...duration('startPeriod'),
    ...duration('startInterval'),
    ...(retries !== undefined && { retries }),
    onFailure: oneOf('healthcheck', given.onFailure ?? 'none', ['none', 'kill', 'restart', 'stop']),
  }
}

function testWords(test: string | string[]): string[] {
  if (typeof test === 'string') return ['CMD-SHELL', test]
  const [kind, ...rest] = words('healthcheck', test) ?? []
  if (kind === 'NONE') return ['NONE']
  if (kind === undefined || kind === '') throw invalid('healthcheck', 'has no command')
  if (kind !== 'CMD' && kind !== 'CMD-SHELL') return ['CMD', kind, ...rest]
  if (rest.length === 0) throw invalid('healthcheck', 'has no command')
  return [kind, ...rest]
}

function logOptions(given: LogOptions | 'file' | 'none'): NormalizedCreate['logs'] {
  if (typeof given === 'function') {
    throw invalid('logs', 'cannot be a function', 'Write { driver: function }.')
  }
  if (typeof given !== 'string') refuseUnknown(given, ['driver', 'maxSize', 'maxFiles'], 'logs')
  const {
    driver = 'file',
    maxSize,
    maxFiles,
  } = typeof given === 'string' ? { driver: given } : given
  if (typeof driver !== 'function') oneOf('logs', driver, ['file', 'none'])
  const size = optionalSize('logs', maxSize)
  if (size !== undefined && size < MIN_LOG_SIZE) {
    throw invalid('logs', `has a maxSize of ${size} bytes`, `Give at least ${MIN_LOG_SIZE}.`)
  }
  if (maxFiles !== undefined && (!Number.isInteger(maxFiles) || maxFiles < 1)) {
    throw invalid('logs', `has ${String(maxFiles)} maxFiles`, 'Give a whole number above 0.')
  }
  if (maxFiles !== undefined && maxFiles > 1 && size === undefined) {
    throw invalid('logs', 'has maxFiles without maxSize', 'Say when a file is full.')
  }
  return {
    driver: typeof driver === 'function' ? 'sink' : driver,
    ...(size !== undefined && { maxSize: size }),
    ...(maxFiles !== undefined && { maxFiles }),
  }
}

function labelRecord(labels: Record<string, string>): Record<string, string> {
  for (const [name, value] of Object.entries(labels)) {
    if (name === '') throw invalid('labels', 'has one without a name')
    if (typeof value !== 'string') throw invalid('labels', `has no text for ${name}`)
  }
  return { ...labels }
}

function flag(option: string, value: boolean | undefined): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw invalid(option, 'must be true or false')
}
