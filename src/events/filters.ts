import { keelsonError } from '../errors.ts'
import { parseReference } from '../oci/reference.ts'
import { show } from '../util/printable.ts'
import type { EngineEvent } from './event.ts'
import { EVENT_TYPES } from './lines.ts'

/** Which events. All that are given must hold; of several values, one. */
export interface EventFilters {
  /** `'container.exit'`; or `'container'`, `'image'`, `'network'`, `'volume'`: all of them. */
  type?: string | string[]
  /** Id, the first digits of it, or name: of the container that the event is about. */
  container?: string | string[]
  /** Name, id or digest: of the image, or of the one that the container was made from. */
  image?: string | string[]
  /** Id, the first digits of it, or name. */
  network?: string | string[]
  /** Name. */
  volume?: string | string[]
  /** `key` or `key=value`; every one must be there. */
  label?: string | string[]
}

const FILTERS = ['type', 'container', 'image', 'network', 'volume', 'label']
const KINDS = new Set(Object.keys(EVENT_TYPES).map((type) => type.slice(0, type.indexOf('.'))))

/** @throws `KEELSON_INVALID_OPTION` */
export function checkEventFilters(filters: EventFilters): void {
  if (typeof filters !== 'object' || filters === null) {
    throw invalid(`cannot be ${show(filters)}`, `Use ${FILTERS.join(', ')}.`)
  }
  for (const [name, value] of Object.entries(filters)) {
    if (!FILTERS.includes(name)) throw invalid(`has no ${show(name)}`, `Use ${FILTERS.join(', ')}.`)
    const wrong = [value].flat().find((each) => each !== undefined && typeof each !== 'string')
    if (wrong !== undefined) throw invalid(`has ${show(wrong)} as ${name}`, 'Give text.')
  }
  for (const type of list(filters.type)) {
    if (Object.hasOwn(EVENT_TYPES, type) || KINDS.has(type)) continue
    const known = Object.keys(EVENT_TYPES).join(', ')
    throw invalid(`has no type ${show(type)}`, `The types are ${known}.`)
  }
}

/** Whether an event is what the filters ask for. Pure. */
export function matchesEvent(event: EngineEvent, filters: EventFilters): boolean {
  const any = (wanted: string | string[] | undefined, matches: (value: string) => boolean) =>
    wanted === undefined || list(wanted).some(matches)
  const facts = event as Facts
  return (
    any(filters.type, (type) => event.type === type || event.type.startsWith(`${type}.`)) &&
    any(filters.container, (wanted) =>
      isCalled(wanted, facts.container, facts.containerName ?? facts.name),
    ) &&
    any(filters.network, (wanted) => isCalled(wanted, facts.network, facts.name)) &&
    any(filters.volume, (wanted) => facts.volume === wanted) &&
    any(filters.image, (wanted) => isOfImage(facts, wanted)) &&
    list(filters.label).every((label) => hasLabel(facts.labels ?? {}, label))
  )
}

/** Of events of every kind; each has some of them. */
interface Facts {
  container?: string
  network?: string
  name?: string
  /** Where `name` is another's. */
  containerName?: string
  volume?: string
  image?: string
  digest?: string
  reference?: string
  references?: string[]
  labels?: Record<string, string>
}

function isCalled(wanted: string, id: string | undefined, name: string | undefined): boolean {
  return id !== undefined && wanted !== '' && (name === wanted || id.startsWith(wanted))
}

function isOfImage({ image, digest, reference, references = [] }: Facts, wanted: string): boolean {
  const names = [image, digest, reference, ...references].filter((each) => each !== undefined)
  if (names.includes(wanted)) return true
  const full = inFull(wanted)
  return full !== undefined && names.some((name) => inFull(name) === full)
}

/** `undefined` for what is no name. */
function inFull(name: string): string | undefined {
  try {
    return parseReference(name).toString()
  } catch {
    return undefined
  }
}

function hasLabel(labels: Readonly<Record<string, string>>, wanted: string): boolean {
  const at = wanted.indexOf('=')
  const name = at < 0 ? wanted : wanted.slice(0, at)
  return Object.hasOwn(labels, name) && (at < 0 || labels[name] === wanted.slice(at + 1))
}

function list(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : [value].flat()
}

function invalid(complaint: string, hint: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option filters ${complaint}.`, {
    option: 'filters',
    hint,
  })
}
