import { normalize } from 'node:path'
import { keelsonError } from '../errors.ts'
import { Image } from '../image/image.ts'
import type { Descriptor } from '../oci/descriptor.ts'
import type { Digest } from '../oci/digest.ts'
import { show } from '../util/printable.ts'
import { parseSize, type Size } from '../util/size.ts'
import { Volume } from './volume.ts'
import { checkVolumeName } from './volume-options.ts'

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
      subpath?: string
    }
  | {
      type: 'volume'
      /** Name of the volume; empty until an anonymous one has got one. */
      source: string
      target: string
      readonly: boolean
      nocopy: boolean
      anonymous: boolean
      subpath?: string
      /** Where another driver than `local` has mounted it. */
      path?: string
    }
  | {
      type: 'tmpfs'
      target: string
      readonly: boolean
      size: number | undefined
      mode: number | undefined
      uid?: number
      gid?: number
    }
  | {
      type: 'image'
      source: string
      target: string
      subpath?: string
      /** What the source named when the container was made. */
      image?: MountedImage
    }

/** What of an image a mount of it needs although its name may come to mean another. */
export interface MountedImage {
  id: Digest
  descriptor: Descriptor
  chain: Digest[]
}

/** A part of the host, a volume, an image, or memory, at a path of the container. */
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
      /** Only this of the source, which must be a directory. Links in it are followed inside of the source. */
      subpath?: string
    }
  | {
      type: 'volume'
      /** A volume, or the name of one, which is made when it is missing. Default: a new one without a name, which goes with the container. */
      source?: string | Volume
      target: string
      readonly?: boolean
      /** Only this directory or file of the volume, which must be there. */
      subpath?: string
      /** Leave an empty volume empty. Default `false`: it gets what the image has at `target`. */
      nocopy?: boolean
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
      /** Owner of its root. Default 0. */
      uid?: number
      gid?: number
    }
  | {
      type: 'image'
      /** An image, or the name of one, which is pulled when it is missing. Its files cannot be written. */
      source: string | Image
      target: string
      /** Only this of it. */
      subpath?: string
    }

const PROPAGATIONS = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const
/** Labels and consistency are for systems that have them; read-write is the default. */
const IGNORED = new Set(['rw', 'z', 'Z', 'cached', 'delegated', 'consistent'])

/**
 * Reads a mount: an object, or Docker's `source:target[:options]`, where a source that is no absolute path is the name of a volume, and
 * `target` alone a volume without a name.
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
        ...part(mount.subpath),
      }
    case 'volume':
      return {
        type: 'volume',
        source: volumeName(mount.source),
        target: targetPath(mount.target),
        readonly: flag(mount.readonly, 'readonly'),
        nocopy: flag(mount.nocopy, 'nocopy'),
        anonymous: mount.source === undefined,
        ...part(mount.subpath),
      }
    case 'image':
      return {
        type: 'image',
        source: imageName(mount.source),
        target: targetPath(mount.target),
        ...part(mount.subpath),
      }
    case 'tmpfs':
      return {
        type: 'tmpfs',
        target: targetPath(mount.target),
        readonly: flag(mount.readonly, 'readonly'),
        size: mount.size === undefined ? undefined : parseSize(mount.size, 'mounts'),
        mode: mount.mode === undefined ? undefined : permissions(mount.mode),
        ...(mount.uid !== undefined && { uid: id(mount.uid, 'uid') }),
        ...(mount.gid !== undefined && { gid: id(mount.gid, 'gid') }),
      }
    default:
      throw invalid(
        `has an unknown type ${show((mount as { type: unknown }).type)}`,
        'The types are bind, volume, tmpfs and image.',
      )
  }
}

function parseShort(text: string): Mount {
  const words = text.split(':')
  const [first = '', second, options = '', ...rest] = words
  if (first === '' || rest.length > 0) {
    throw invalid(
      `cannot read ${show(text)}`,
      'Write "/source:/target", "volume:/target:ro" or "/target".',
    )
  }
  if (second === undefined) return { type: 'volume', target: first }
  const given = options.split(',').filter((word) => word !== '' && !IGNORED.has(word))
  return first.startsWith('/') ? shortBind(first, second, given) : shortVolume(first, second, given)
}

function shortBind(source: string, target: string, options: readonly string[]): Mount {
  const mount: Extract<Mount, { type: 'bind' }> = { type: 'bind', source, target }
  for (const option of options) {
    if (option === 'ro') mount.readonly = true
    else mount.propagation = propagation(option)
  }
  return mount
}

function shortVolume(source: string, target: string, options: readonly string[]): Mount {
  const mount: Extract<Mount, { type: 'volume' }> = { type: 'volume', source, target }
  for (const option of options) {
    if (option === 'ro') mount.readonly = true
    else if (option === 'nocopy') mount.nocopy = true
    else throw invalid(`has an unknown option ${show(option)}`, 'Use ro, rw or nocopy.')
  }
  return mount
}

function volumeName(source: string | Volume | undefined): string {
  if (source === undefined) return ''
  return source instanceof Volume ? source.name : checkVolumeName(source, 'mounts')
}

function imageName(source: string | Image): string {
  if (source instanceof Image) return source.id
  if (typeof source === 'string' && source !== '') return source
  throw invalid(`has an image ${show(source)} as a source`, 'Give an image, or its name.')
}

/** Below the source, whatever that is. */
function part(subpath: string | undefined): { subpath?: string } {
  if (subpath === undefined) return {}
  const path =
    typeof subpath === 'string' && subpath !== '' ? normalize(subpath).replace(/\/$/, '') : ''
  const outside = path === '..' || path.startsWith('../') || path.startsWith('/')
  if (path === '' || outside || path.includes('\0')) {
    throw invalid(`has a subpath ${show(subpath)}`, 'Give a relative path within the source.')
  }
  return path === '.' ? {} : { subpath: path }
}

function id(value: number, name: string): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 32 - 1) return value
  throw invalid(`has ${name}: ${show(value)}`, 'Give a number of a user or group.')
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
