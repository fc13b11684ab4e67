import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { keelsonError, type KeelsonError } from '../errors.ts'
import { askCredentialHelper } from './credential-helper.ts'
import { registryName } from './hosts.ts'
import type { RegistryAuth } from './options.ts'

/** Under these names Docker keeps what it knows for Docker Hub, the usual one first. */
const HUB_KEYS = [
  'https://index.docker.io/v1/',
  'docker.io',
  'index.docker.io',
  'registry-1.docker.io',
]

export interface CredentialSources {
  env: NodeJS.ProcessEnv
  homeDirectory?: string | undefined
  /** Milliseconds that a helper may take. */
  helperTimeout: number
}

/**
 * What Docker's and Podman's configuration knows for a repository, or undefined. The first source that knows something wins:
 * `DOCKER_AUTH_CONFIG` (the text itself), `REGISTRY_AUTH_FILE`, `DOCKER_CONFIG`/config.json or `~/.docker/config.json`,
 * `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json`. In each, `credHelpers` goes before `credsStore`,
 * and that before `auths`.
 *
 * @throws `KEELSON_CREDENTIALS` for a file that cannot be read or understood, and for a helper that fails.
 */
export async function findCredentials(
  registry: string,
  repository: string,
  sources: CredentialSources,
  signal?: AbortSignal,
): Promise<RegistryAuth | undefined> {
  for (const { origin, text } of await configurations(sources)) {
    const config = parseConfiguration(text, origin)
    const found =
      (await fromHelper(registry, config, sources, signal)) ??
      fromAuths(registry, repository, config.auths, origin)
    if (found !== undefined) return found
  }
  return undefined
}

interface Configuration {
  auths: Map<string, unknown>
  credHelpers: Map<string, unknown>
  credsStore: string
}

async function configurations(
  sources: CredentialSources,
): Promise<{ origin: string; text: string }[]> {
  const { env } = sources
  const home = sources.homeDirectory ?? homedir()
  const inline = env['DOCKER_AUTH_CONFIG'] ?? ''
  const paths = [
    env['REGISTRY_AUTH_FILE'],
    join(nonEmpty(env['DOCKER_CONFIG']) ?? join(home, '.docker'), 'config.json'),
    nonEmpty(env['XDG_RUNTIME_DIR']) && join(env['XDG_RUNTIME_DIR'] ?? '', 'containers/auth.json'),
    join(nonEmpty(env['XDG_CONFIG_HOME']) ?? join(home, '.config'), 'containers/auth.json'),
  ]
  const found = inline.trim() === '' ? [] : [{ origin: 'DOCKER_AUTH_CONFIG', text: inline }]
  for (const path of paths) {
    const text = nonEmpty(path) === undefined ? undefined : await readIfThere(path ?? '')
    if (path !== undefined && text !== undefined) found.push({ origin: path, text })
  }
  return found
}

function parseConfiguration(text: string, origin: string): Configuration {
  let parsed: unknown
  try {
    // Docker writes nothing but a newline into a configuration that was emptied.
    parsed = text.trim() === '' ? {} : JSON.parse(text)
  } catch {
    // The cause of JSON.parse is not kept: its message quotes the text, secrets and all.
    throw unusable(origin, 'is not JSON')
  }
  const config = record(parsed)
  if (config === undefined) throw unusable(origin, 'is not a JSON object')
  const store = config.get('credsStore')
  return {
    auths: record(config.get('auths')) ?? new Map(),
    credHelpers: record(config.get('credHelpers')) ?? new Map(),
    credsStore: typeof store === 'string' ? store : '',
  }
}

async function fromHelper(
  registry: string,
  config: Configuration,
  sources: CredentialSources,
  signal: AbortSignal | undefined,
): Promise<RegistryAuth | undefined> {
  const keys = keysOf(registry)
  const key = keys.find((each) => typeof config.credHelpers.get(each) === 'string')
  const named = key === undefined ? config.credsStore : config.credHelpers.get(key)
  if (typeof named !== 'string' || named === '') return undefined
  const server = key ?? keys[0] ?? registry
  return await askCredentialHelper(named, server, { ...sources, signal })
}

function fromAuths(
  registry: string,
  repository: string,
  auths: Map<string, unknown>,
  origin: string,
): RegistryAuth | undefined {
  const entry =
    namespaced(registry, repository, auths) ??
    keysOf(registry)
      .map((key) => auths.get(key))
      .find((each) => each !== undefined) ??
    // Older clients wrote whole URLs.
    [...auths].find(([key]) => hostOfUrl(key) === registry)?.[1]
  return entry === undefined ? undefined : decodeAuth(entry, registry, origin)
}

/** Podman keeps credentials for parts of a registry too: the longest path wins. */
function namespaced(registry: string, repository: string, auths: Map<string, unknown>): unknown {
  const parts = repository.split('/')
  for (let length = parts.length; length > 0; length--) {
    const entry = auths.get(`${registry}/${parts.slice(0, length).join('/')}`)
    if (entry !== undefined) return entry
  }
  return undefined
}

function decodeAuth(value: unknown, registry: string, origin: string): RegistryAuth | undefined {
  const entry = record(value)
  if (entry === undefined) throw unusable(origin, `has a malformed entry for ${registry}`)
  const text = (key: string) => {
    const field = entry.get(key)
    return typeof field === 'string' && field !== '' ? field : undefined
  }
  const identityToken = text('identitytoken')
  if (identityToken !== undefined) return { identityToken }
  const registryToken = text('registrytoken')
  if (registryToken !== undefined) return { registryToken }
  const auth = text('auth')
  if (auth === undefined) {
    const [username, password] = [text('username'), text('password')]
    return username === undefined || password === undefined ? undefined : { username, password }
  }
  const pair = Buffer.from(auth, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  if (colon <= 0) throw unusable(origin, `has a malformed auth for ${registry}`)
  // Docker pads short secrets with NUL.
  const password = pair.slice(colon + 1).replace(/\0+$/, '')
  return { username: pair.slice(0, colon), password }
}

function keysOf(registry: string): string[] {
  return registry === 'docker.io' ? HUB_KEYS : [registry]
}

function hostOfUrl(key: string): string | undefined {
  const host = /^https?:\/\/([^/]+)/.exec(key)?.[1]
  return host === undefined ? undefined : registryName(host)
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw keelsonError('KEELSON_CREDENTIALS', `The file ${path} cannot be read.`, {
      hint: 'Make the file readable for this user, or point DOCKER_CONFIG elsewhere.',
      cause,
    })
  }
}

function unusable(origin: string, problem: string): KeelsonError {
  return keelsonError('KEELSON_CREDENTIALS', `The configuration ${origin} ${problem}.`, {
    hint: 'Correct it, or log in again with "docker login".',
  })
}

function record(value: unknown): Map<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return new Map(Object.entries(value))
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === '' ? undefined : text
}
