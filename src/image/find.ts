import { keelsonError } from '../errors.ts'
import { parseReference } from '../oci/reference.ts'
import type { Image } from './image.ts'

/** Which images to list. All that are given must hold. */
export interface ImageFilter {
  /** A name, with `*` for any characters but `/`: `alpine`, `docker.io/library/*:3.22`. Without a tag: any tag. */
  reference?: string
  /** True: only images without a name; false: only those with one. */
  dangling?: boolean
  /** Labels that its configuration must have, with this value or (`true`) any. */
  labels?: Record<string, string | true>
}

export function matches(image: Image, filter: ImageFilter): boolean {
  const { reference, dangling, labels } = filter
  if (dangling !== undefined && dangling !== (image.references.length === 0)) return false
  if (reference !== undefined && !isNamed(image, reference)) return false
  const has = image.config.config.Labels ?? {}
  return Object.entries(labels ?? {}).every(([key, value]) =>
    value === true ? Object.hasOwn(has, key) : Object.hasOwn(has, key) && has[key] === value,
  )
}

/**
 * The image whose id or digest is, or begins with, this text (with or without `sha256:`).
 *
 * @throws `KEELSON_IMAGE_AMBIGUOUS` with the ids as `ids`
 */
export function findById(images: readonly Image[], text: string): Image | undefined {
  const prefix = text.includes(':') ? text : `sha256:${text}`
  const exact = images.find((image) => image.id === prefix || image.digest === prefix)
  if (exact !== undefined) return exact
  const found = images.filter(
    (image) => image.id.startsWith(prefix) || image.digest.startsWith(prefix),
  )
  const ids = [...new Set(found.map((image) => image.id))]
  if (ids.length > 1) {
    throw keelsonError(
      'KEELSON_IMAGE_AMBIGUOUS',
      `${ids.length} images have an id that begins with "${text}".`,
      { ids, hint: 'Give more digits of it.' },
    )
  }
  return found[0]
}

/** As people write names: short or in full, with or without a tag. */
function isNamed(image: Image, pattern: string): boolean {
  return image.references.some((name) => {
    const reference = parse(name)
    if (reference === undefined) return name === pattern
    const short = reference.familiar()
    return [name, short].some(
      (each) => glob(each, pattern) || glob(each.slice(0, tagStart(each)), pattern),
    )
  })
}

/** Where the tag or digest begins: after the last slash, so that a port is none. */
function tagStart(name: string): number {
  const start = name.slice(name.lastIndexOf('/') + 1).search(/[:@]/)
  return start < 0 ? name.length : name.lastIndexOf('/') + 1 + start
}

function glob(text: string, pattern: string): boolean {
  const source = pattern
    .split('*')
    .map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, String.raw`\$&`))
  return new RegExp(`^${source.join('[^/]*')}$`).test(text)
}

/** Another tool may have written a name that is no reference. */
function parse(name: string) {
  try {
    return parseReference(name)
  } catch {
    return undefined
  }
}
