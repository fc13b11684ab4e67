import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import tls from 'node:tls'
import { keelsonError } from '../errors.ts'
import { isInsecure } from './hosts.ts'
import type { RegistryOptions } from './options.ts'

/** What a TLS connection to one host is made with. */
export interface TlsSettings {
  /** Undefined: what Node trusts. Given, it stands in place of that, so it contains it. */
  ca?: (string | Buffer)[]
  cert?: string | Buffer
  key?: string | Buffer
  rejectUnauthorized: boolean
}

/**
 * Certificates for a host from its options and from Docker's layout: `<directory>/<host>/*.crt` are authorities,
 * `*.cert` with the `*.key` of the same name the client's own. Options win; the first directory with a client certificate wins.
 *
 * @throws `KEELSON_INVALID_OPTION` for a certificate without its key or the reverse, `KEELSON_CREDENTIALS` when a file cannot be read.
 */
export async function tlsSettings(
  name: string,
  options: RegistryOptions | undefined,
  directories: readonly string[],
): Promise<TlsSettings> {
  if ((options?.cert === undefined) !== (options?.key === undefined)) {
    throw keelsonError(
      'KEELSON_INVALID_OPTION',
      `The options cert and key of the registry ${name} need each other.`,
    )
  }
  const authorities: (string | Buffer)[] = options?.ca === undefined ? [] : [options.ca]
  let client =
    options?.cert === undefined || options.key === undefined
      ? undefined
      : { cert: options.cert, key: options.key }
  for (const directory of directories) {
    const found = await readDirectory(join(directory, name))
    authorities.push(...found.authorities)
    client ??= found.client
  }
  return {
    ...(authorities.length > 0 && { ca: [...trusted(), ...authorities] }),
    ...client,
    rejectUnauthorized: !(authorities.length > 0
      ? options?.insecure === true
      : isInsecure(name, options)),
  }
}

interface Certificates {
  authorities: Buffer[]
  client: { cert: Buffer; key: Buffer } | undefined
}

async function readDirectory(directory: string): Promise<Certificates> {
  const found: Certificates = { authorities: [], client: undefined }
  try {
    for (const file of (await readdir(directory)).sort()) {
      const path = join(directory, file)
      if (file.endsWith('.crt')) found.authorities.push(await readFile(path))
      if (file.endsWith('.cert')) {
        const key = await readFile(path.replace(/\.cert$/, '.key'))
        found.client ??= { cert: await readFile(path), key }
      }
    }
  } catch (cause) {
    // ENOENT of the directory is the usual case; of a key it is a mistake worth saying.
    if (isMissing(cause, directory)) return found
    throw keelsonError('KEELSON_CREDENTIALS', `The certificates in ${directory} cannot be read.`, {
      hint: 'Each NAME.cert needs a NAME.key beside it, readable by this user.',
      cause,
    })
  }
  return found
}

function isMissing(error: unknown, path: string): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false
  const missing = error.code === 'ENOENT' || error.code === 'ENOTDIR'
  return missing && 'path' in error && error.path === path
}

/** What Node trusts by itself; newer versions also know what the user added (NODE_EXTRA_CA_CERTS, --use-system-ca). */
function trusted(): readonly string[] {
  const newer: typeof tls & { getCACertificates?: (type: 'default') => string[] } = tls
  return newer.getCACertificates?.('default') ?? tls.rootCertificates
}
