import { normalize } from 'node:path'
import { keelsonError } from '../errors.ts'
import { show } from '../util/printable.ts'
import { parseSize, type Size } from '../util/size.ts'

/** A mount as {@link normalizeMount} leaves it. */
export type NormalizedMount =
  | {
      type: 'bind'
      source: string
      target: string
      readonly: boolean
      propagation: string
      create: boolean
      idmap: boolean
    }
  | {
      type: 'tmpfs'
      target: string
      readonly: boolean
      size: number | undefined
      mode: number | undefined
    }

/** A part of the host, or of memory, at a path of the container. */
export type Mount =
  | {
      type: 'bind'
      /** Absolute path of the host. */
      source: string
      /** Absolute path in the container; made when missing. */
      target: string
      /** Also what is mounted below the source. Default `false`. */
      readonly?: boolean
      /**
       * Whether what is mounted below the source later is seen in the container (`slave`) and the reverse too (`shared`); the forms with
       * `r` reach the mounts that are there already. The source must lie on a shared mount (for `slave`, a slave one will do).
       * Default `rprivate`.
       */
      propagation?: 'private' | 'rprivate' | 'shared' | 'rshared' | 'slave' | 'rslave'
      /** Make the source, as a directory, when it is missing. Default `false`: that is an error. */
      create?: boolean
      /**
       * For a container with `userns`: the files show the ids that they have on the host as the container's, and what its root makes is
       * root's there. Not below mounts that lie in the source. Default `false`.
       */
      idmap?: boolean
    }
  | {
      type: 'tmpfs'
      target: string
      /** Nothing can be written, mount points aside. Default `false`. */
      readonly?: boolean
      /** Most that it holds. Default: half of the host's memory. */
      size?: Size
      /** Permissions of its root. Default 0o1777. */
      mode?: number
    }

const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const
/** Labels and consistency are for systems that have them; read-write is the default. */
const IGNORED = new Set(['rw', 'z', 'Z', 'cached', 'delegated', 'consistent'])

/**
 * Reads a mount: an object, or Docker's `source:target[:ro,propagation]`.
 *
 * @throws `KEELSON_INVALID_OPTION`
 */
export function normalizeMount(spec: Mount | string): NormalizedMount {
  const mount = typeof spec === 'string' ? parseShort(spec) : spec
  if (typeof mount !== 'object' || mount === null) {
    throw invalid(`holds ${show(mount)}`, 'Give objects, or text as "/source:/target:ro".')
  }
  switch (mount.type) {
    case 'bind':
      return {
        type: 'bind',
        source: absolute(mount.source, 'source'),
        target: targetPath(mount.target),
        readonly: flag(mount.readonly, 'readonly'),
        propagation: propagation(mount.propagation ?? 'rprivate'),
        create: flag(mount.create, 'create'),
        idmap: flag(mount.idmap, 'idmap'),
      }
    case 'tmpfs':
      return {
        type: 'tmpfs',
        target: targetPath(mount.target),
        readonly: flag(mount.readonly, 'readonly'),
        size: mount.size === undefined ? undefined : parseSize(mount.size, 'mounts'),
        mode: mount.mode === undefined ? undefined : permissions(mount.mode),
      }
    default:
      throw invalid(
        `has an unknown type ${show((mount as { type: unknown }).type)}`,
        'The types are bind and tmpfs.',
      )
  }
}

function parseShort(text: string): Mount {
  const [source = '', target, options = '', ...rest] = text.split(':')
  if (target === undefined || rest.length > 0) {
    throw invalid(`cannot read ${show(text)}`, 'Write "/source:/target" or "/source:/target:ro".')
  }
  const mount: Extract<Mount, { type: 'bind' }> = { type: 'bind', source, target }
  for (const option of options.split(',').filter((word) => word !== '')) {
    if (option === 'ro') mount.readonly = true
    else if (!IGNORED.has(option)) mount.propagation = propagation(option)
  }
  return mount
}

function absolute(path: unknown, what: string): string {
  if (typeof path === 'string' && path.startsWith('/') && !path.includes('\0')) return path
  throw invalid(
    `needs an absolute ${what}, not ${show(path)}`,
    'Use path.resolve() for a relative path.',
  )
}

function targetPath(path: unknown): string {
  const target = normalize(absolute(path, 'target')).replace(/(?<=.)\/$/, '')
  if (target === '/') throw invalid('cannot cover the root directory', 'Mount below it.')
  return target
}

function propagation(value: string) {
  const found = PROPAGATIONS.find((each) => each === value)
  if (found !== undefined) return found
  throw invalid(
    `has an unknown option ${show(value)}`,
    `Use ro, rw or one of ${PROPAGATIONS.join(', ')}.`,
  )
}

function flag(value: boolean | undefined, name: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false
  throw invalid(`has ${name}: ${show(value)}`, 'Give true or false.')
}

function permissions(mode: number): number {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o7777) return mode
  throw invalid(`has a mode ${show(mode)}`, 'Give permissions as 0o755.')
}

function invalid(complaint: string, hint: string) {
  return keelsonError('KEELSON_INVALID_OPTION', `The option mounts ${complaint}.`, {
    option: 'mounts',
    hint,
  })
}
