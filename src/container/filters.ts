import type { ContainerStatus } from '../runtime/monitor-protocol.ts'
import { parseReference } from '../oci/reference.ts'
import { keelsonError } from '../errors.ts'
import type { RecordedImage } from './record/record.ts'

/** Which containers to list. All that are given must hold; of several values, one. */
export interface ContainerFilters {
  /** `key`, `key=value`, or a record of them (`true`: any value). Every one must be there. */
  label?: string | string[] | Record<string, string | true>
  /** Part of the name, or a pattern. */
  name?: string | RegExp | (string | RegExp)[]
  status?: ContainerStatus | ContainerStatus[]
  /** The image it was made from: name, id or digest. */
  ancestor?: string | string[]
  /** First digits of the id. */
  id?: string | string[]
}

/** As much of a container as filters look at. */
export interface Filtered {
  id: string
  name: string
  labels: Readonly<Record<string, string>>
  status: ContainerStatus
  image: Pick<RecordedImage, 'reference' | 'id' | 'digest'>
}

const NAMES = ['label', 'name', 'status', 'ancestor', 'id']
const STATUSES = [
  'created',
  'running',
  'paused',
  'restarting',
  'stopping',
  'exited',
  'dead',
  'removing',
]

/** @throws `KEELSON_INVALID_OPTION` for filters that do not exist */
export function checkFilters(filters: ContainerFilters): void {
  if (typeof filters !== 'object' || filters === null) {
    throw invalid('The filters are not an object.', `Use ${NAMES.join(', ')}.`)
  }
  const unknown = Object.keys(filters).find((name) => !NAMES.includes(name))
  if (unknown !== undefined) {
    throw invalid(`There is no filter ${JSON.stringify(unknown)}.`, `Use ${NAMES.join(', ')}.`)
  }
  for (const status of list(filters.status)) {
    if (STATUSES.includes(status)) continue
    throw invalid(
      `There is no status ${JSON.stringify(status)}.`,
      `The statuses are ${STATUSES.join(', ')}.`,
    )
  }
}

/** Whether a container is what the filters ask for. Pure. */
export function matchesFilters(container: Filtered, filters: ContainerFilters): boolean {
  return (
    labelsMatch(container.labels, filters.label) &&
    any(filters.name, (name) => nameMatches(container.name, name)) &&
    any(filters.status, (status) => container.status === status) &&
    any(filters.ancestor, (image) => isMadeFrom(container.image, image)) &&
    any(filters.id, (prefix) => container.id.startsWith(prefix))
  )
}

function labelsMatch(
  labels: Readonly<Record<string, string>>,
  wanted: ContainerFilters['label'],
): boolean {
  if (wanted === undefined) return true
  const pairs =
    typeof wanted === 'object' && !Array.isArray(wanted)
      ? Object.entries(wanted)
      : list(wanted).map(pair)
  return pairs.every(
    ([name, value]) => Object.hasOwn(labels, name) && (value === true || labels[name] === value),
  )
}

function pair(text: string): [string, string | true] {
  const at = text.indexOf('=')
  return at < 0 ? [text, true] : [text.slice(0, at), text.slice(at + 1)]
}

function nameMatches(name: string, wanted: string | RegExp): boolean {
  if (typeof wanted === 'string') return name.includes(wanted.replace(/^\//, ''))
  // A pattern with `g` remembers where it was.
  return new RegExp(wanted.source, wanted.flags.replaceAll(/[gy]/g, '')).test(name)
}

function isMadeFrom(image: Filtered['image'], wanted: string): boolean {
  if (wanted === image.reference) return true
  const digits = wanted.startsWith('sha256:') ? wanted : `sha256:${wanted}`
  if (/^sha256:[0-9a-f]{6,64}$/.test(digits)) {
    if (image.id.startsWith(digits) || image.digest.startsWith(digits)) return true
  }
  const full = fullName(wanted)
  return full !== undefined && full === fullName(image.reference)
}

function fullName(text: string): string | undefined {
  try {
    return parseReference(text).toString()
  } catch {
    return undefined
  }
}

function any<T>(wanted: T | T[] | undefined, matches: (value: T) => boolean): boolean {
  return wanted === undefined || list(wanted).some(matches)
}

function list<T>(value: T | T[] | undefined): T[] {
  if (value === undefined) return []
  return Array.isArray(value) ? value : [value]
}

function invalid(message: string, hint: string) {
  return keelsonError('KEELSON_INVALID_OPTION', message, { option: 'filters', hint })
}
