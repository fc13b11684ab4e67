/** Which namespaces a container shares, as a person writes it -> checked, and in one form each. */
import type { IdMapping } from '../../runtime/protocol.ts'
import { show } from '../../util/printable.ts'
import { invalid, text } from '../normalize/values.ts'

/** Another container: its name, its id, the first digits of its id, or a {@link Container}. */
export type ContainerReference = string | { readonly id: string }

/** Another container's namespace, which is joined. */
export interface SharedWith {
  container: ContainerReference
}

/** Docker's short form of {@link SharedWith}. */
export type SharedWithText = `container:${string}`

/** {@link SharedWith} in one form: a name or an id. */
export interface NormalizedShare {
  container: string
}

/**
 * Which users and groups of the host those of a container are. Ranges of `size` ids: `containerID` is the first in the container,
 * `hostID` the first on the host. Root, 0, must be among them.
 */
export interface UserMappings {
  uidMappings: IdMapping[]
  gidMappings: IdMapping[]
}

const MAX_ID = 2 ** 32 - 2
/** The kernel's, since Linux 4.15. */
const MAX_MAPPINGS = 340

export function isShare(value: unknown): value is NormalizedShare {
  return typeof value === 'object' && value !== null && 'container' in value
}

/** `undefined` for what is not about a container. @throws `KEELSON_INVALID_OPTION` */
export function sharedWith(option: string, value: unknown): NormalizedShare | undefined {
  if (typeof value === 'string' && value.startsWith('container:')) {
    return { container: named(option, value.slice('container:'.length)) }
  }
  if (typeof value !== 'object' || value === null || !('container' in value)) return undefined
  const { container, ...rest } = value
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw invalid(option, `has an unknown field ${show(unknown)}`)
  if (typeof container === 'object' && container !== null && 'id' in container) {
    return { container: named(option, container.id) }
  }
  return { container: named(option, container) }
}

/** One of the words, of which the first is the default, or another container. @throws `KEELSON_INVALID_OPTION` */
export function namespaceOption<Word extends string>(
  option: string,
  value: Word | SharedWith | SharedWithText | undefined,
  words: readonly [Word, ...Word[]],
): Word | NormalizedShare {
  if (value === undefined) return words[0]
  const word = words.find((each) => each === value)
  const found = word ?? sharedWith(option, value)
  if (found !== undefined) return found
  throw invalid(
    option,
    `cannot be ${show(value)}`,
    `Use ${words.join(', ')} or { container: 'name' }.`,
  )
}

/** @throws `KEELSON_INVALID_OPTION` */
export function usernsOption(value: unknown): 'host' | 'auto' | UserMappings {
  if (value === undefined || value === 'host') return 'host'
  if (value === 'auto') return 'auto'
  if (typeof value === 'object' && value !== null) {
    const { uidMappings, gidMappings } = value as Partial<UserMappings>
    return {
      uidMappings: mappings('userns.uidMappings', uidMappings),
      gidMappings: mappings('userns.gidMappings', gidMappings),
    }
  }
  throw invalid(
    'userns',
    `cannot be ${show(value)}`,
    "Use 'host', 'auto' or { uidMappings, gidMappings }.",
  )
}

function named(option: string, container: unknown): string {
  const name = text(option, container)
  if (name !== '') return name
  throw invalid(option, 'names no container', "Write { container: 'name' }.")
}

function mappings(option: string, given: unknown): IdMapping[] {
  if (!Array.isArray(given) || given.length === 0 || given.length > MAX_MAPPINGS) {
    throw invalid(option, `must be a list of 1 to ${MAX_MAPPINGS} ranges`)
  }
  const list = given.map((each: Partial<IdMapping> | null) => {
    const { containerID, hostID, size } = each ?? {}
    return {
      containerID: id(option, containerID),
      hostID: id(option, hostID),
      size: id(option, size),
    }
  })
  for (const { containerID, hostID, size } of list) {
    if (size === 0 || Math.max(containerID, hostID) + size - 1 > MAX_ID) {
      throw invalid(option, 'has a range that is empty or goes beyond the greatest id')
    }
  }
  for (const side of ['containerID', 'hostID'] as const) {
    const sorted = list.toSorted((a, b) => a[side] - b[side])
    const overlap = sorted.some((each, n) => {
      const next = sorted[n + 1]
      return next !== undefined && each[side] + each.size > next[side]
    })
    if (overlap) throw invalid(option, `has ranges of ${side} that overlap`)
  }
  if (!list.some(({ containerID }) => containerID === 0)) {
    throw invalid(option, 'leaves root out', 'Map containerID 0.')
  }
  return list
}

function id(option: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_ID) {
    return value
  }
  throw invalid(
    option,
    `holds ${show(value)}`,
    'Give { containerID: 0, hostID: 100000, size: 65536 }.',
  )
}
