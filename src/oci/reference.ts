import { isIPv6 } from 'node:net'
import { keelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'
import { parseDigest, type Digest } from './digest.ts'

const DEFAULT_REGISTRY = 'docker.io'
const LEGACY_REGISTRY = 'index.docker.io'
const OFFICIAL = 'library/'
const DEFAULT_TAG = 'latest'
const MAX_REPOSITORY = 255

const COMPONENT = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])'
const DOMAIN = new RegExp(
  String.raw`^(?:${COMPONENT}(?:\.${COMPONENT})*|\[(?<ipv6>[a-fA-F0-9:.]+)\])(?::(?<port>[0-9]+))?$`,
)
const PATH_COMPONENT = /^[a-z0-9]+(?:(?:[_.]|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const IDENTIFIER = /^[a-f0-9]{64}$/

interface ReferenceParts {
  registry: string
  repository: string
  tag?: string | undefined
  digest?: Digest | undefined
}

/**
 * The name of an image: a registry, a repository in it, and a tag or a digest or both. Immutable; {@link parseReference} makes it.
 *
 * When both are there the digest decides what is fetched, and the tag is only kept for people.
 */
export class Reference {
  /** Host, and port if one was named: `docker.io`, `127.0.0.1:5000`, `[::1]:5000`. */
  readonly registry: string
  /** Path within the registry: `library/alpine`. */
  readonly repository: string
  /** At most 128 characters. */
  readonly tag?: string
  readonly digest?: Digest

  /** @internal use {@link parseReference} */
  constructor(parts: ReferenceParts) {
    this.registry = parts.registry
    this.repository = parts.repository
    if (parts.tag !== undefined) this.tag = parts.tag
    if (parts.digest !== undefined) this.digest = parts.digest
    Object.freeze(this)
  }

  /** Registry and repository: `docker.io/library/alpine`. */
  get name(): string {
    return `${this.registry}/${this.repository}`
  }

  /** The same repository at a digest; the tag is kept. */
  withDigest(digest: Digest): Reference {
    const { registry, repository, tag } = this
    return new Reference({ registry, repository, tag, digest })
  }

  /** The full canonical form: `docker.io/library/alpine:3.22`. It parses back to an equal reference. */
  toString(): string {
    return this.name + this.#suffix()
  }

  /** As people write it: without `docker.io/` and `library/`. It parses back to an equal reference. */
  familiar(): string {
    // A namespace such as `b.c` would be read as a registry.
    if (this.registry !== DEFAULT_REGISTRY || namesRegistry(this.repository)) return this.toString()
    const short = this.repository.slice(OFFICIAL.length)
    const official = this.repository.startsWith(OFFICIAL) && !short.includes('/')
    return (official ? short : this.repository) + this.#suffix()
  }

  /** @internal */
  toJSON(): string {
    return this.toString()
  }

  #suffix(): string {
    const tag = this.tag === undefined ? '' : `:${this.tag}`
    return this.digest === undefined ? tag : `${tag}@${this.digest}`
  }
}

/**
 * Reads an image name in the grammar of the distribution project, with Docker's defaults: registry `docker.io`,
 * namespace `library/` on it, tag `latest` when neither tag nor digest is given. `index.docker.io` is `docker.io`.
 *
 * @throws `KEELSON_INVALID_REFERENCE`, or `KEELSON_INVALID_DIGEST` for what follows `@`.
 *
 * @example
 * ```ts
 * import { parseReference } from 'keelson'
 *
 * parseReference('alpine:3.22').toString() // 'docker.io/library/alpine:3.22'
 * parseReference('localhost:5000/team/app').tag // 'latest'
 * ```
 */
export function parseReference(text: string): Reference {
  if (text === '') throw invalid(text, 'it is empty')
  if (/\s/.test(text)) throw invalid(text, 'it has white space in it')
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(text)) {
    throw invalid(
      text,
      'it begins with a URL scheme',
      'Leave the scheme out: host[:port]/name[:tag].',
    )
  }
  if (IDENTIFIER.test(text)) {
    throw invalid(text, '64 hexadecimal digits are an image id, not a name')
  }
  const at = text.indexOf('@')
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1))
  const [registry, rest] = splitRegistry(at < 0 ? text : text.slice(0, at))
  // In what follows the registry, a colon can only begin a tag.
  const colon = rest.indexOf(':')
  const repository = colon < 0 ? rest : rest.slice(0, colon)
  const tag = colon < 0 ? undefined : rest.slice(colon + 1)
  checkRegistry(text, registry)
  checkRepository(text, repository)
  if (tag !== undefined && !TAG.test(tag)) {
    throw invalid(
      text,
      'its tag is malformed',
      'A tag has 1 to 128 letters, digits, "_", "." and "-", and begins with neither "." nor "-".',
    )
  }
  const bare = tag === undefined && digest === undefined
  return new Reference({ registry, repository, tag: bare ? DEFAULT_TAG : tag, digest })
}

/** What stands before the first slash is a registry only if it cannot be a namespace of Docker Hub. */
function namesRegistry(text: string): boolean {
  const [first = '', rest] = text.split('/', 2)
  const distinct = first === 'localhost' || /[.:]/.test(first) || first !== first.toLowerCase()
  return rest !== undefined && distinct
}

function splitRegistry(text: string): [registry: string, rest: string] {
  const isRegistry = namesRegistry(text)
  const slash = text.indexOf('/')
  let registry = isRegistry ? text.slice(0, slash) : DEFAULT_REGISTRY
  let rest = isRegistry ? text.slice(slash + 1) : text
  if (registry === LEGACY_REGISTRY) registry = DEFAULT_REGISTRY
  if (registry === DEFAULT_REGISTRY && !rest.includes('/')) rest = OFFICIAL + rest
  return [registry, rest]
}

function checkRegistry(text: string, registry: string): void {
  const groups = DOMAIN.exec(registry)?.groups
  // The grammar has names that no URL can hold, such as one whose last label is a number but that is no address.
  if (
    groups === undefined ||
    (groups['ipv6'] === undefined && !URL.canParse(`http://${registry.replace(/:.*/, '')}`))
  )
    throw invalid(text, 'its registry is not a host name or address')
  const { ipv6, port } = groups
  if (ipv6 !== undefined && !isIPv6(ipv6)) throw invalid(text, 'its IPv6 address is malformed')
  if (port !== undefined && (port.length > 5 || Number(port) > 65_535 || Number(port) === 0)) {
    throw invalid(text, 'its port is not between 1 and 65535')
  }
}

function checkRepository(text: string, repository: string): void {
  if (repository.length > MAX_REPOSITORY) {
    throw invalid(text, `its repository is longer than ${MAX_REPOSITORY} characters`)
  }
  if (repository !== repository.toLowerCase()) {
    throw invalid(
      text,
      'its repository has upper-case letters',
      'Write the repository in lower case.',
    )
  }
  if (!repository.split('/').every((component) => PATH_COMPONENT.test(component))) {
    throw invalid(
      text,
      'its repository is malformed',
      'Each part between slashes has a-z and 0-9, joined by ".", "_", "__" or dashes.',
    )
  }
}

function invalid(text: string, why: string, hint?: string): Error {
  return keelsonError(
    'KEELSON_INVALID_REFERENCE',
    `"${printable(text)}" is not an image reference: ${why}.`,
    { hint: hint ?? 'Write [host[:port]/]name[:tag][@digest], for example alpine:3.22.' },
  )
}
