import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { certificates, type Certificates } from './certificates.ts'
import { run, stop } from './process.ts'
import { temporaryDirectory, type TemporaryDirectory } from './temp.ts'

/** How Debian's registry is to be run. */
export interface DockerRegistryOptions {
  /** HTTPS, with certificates made for it. */
  tls?: boolean
  /** Basic authentication by htpasswd. */
  auth?: { username: string; password: string }
  /** Bearer tokens of another server: see `token-server.ts`. */
  token?: { realm: string; service: string; issuer: string; certificateFile: string }
}

/** Debian's `docker-registry`, running. */
export interface DockerRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`, as a reference begins. */
  readonly host: string
  readonly url: string
  /** With `tls`. */
  readonly certificates: Certificates | undefined
  /** Everything that it has logged. */
  log(): string
  /** Its storage directory. */
  readonly storage: string
}

/** Starts Debian's registry on a free port of the loopback interface, its storage in a temporary directory. */
export async function dockerRegistry(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  const temp = await temporaryDirectory('keelson-registry-')
  try {
    const made = options.tls === true ? await certificates(temp.path) : undefined
    // Between finding a free port and the registry's bind another process may take it.
    for (let attempt = 1; ; attempt++) {
      const host = `127.0.0.1:${await freePort()}`
      await writeFile(temp.join('config.yml'), await configuration(options, host, temp, made))
      const child = spawn('/usr/bin/docker-registry', ['serve', temp.join('config.yml')], {
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const log: string[] = []
      if (await listening(child, log)) return handle(child, log, temp, host, made)
      if (attempt === 5) throw new Error(`docker-registry does not start:\n${log.join('\n')}`)
    }
  } catch (error) {
    await temp[Symbol.asyncDispose]()
    throw error
  }
}

function handle(
  child: ChildProcess,
  log: string[],
  temp: TemporaryDirectory,
  host: string,
  made: Certificates | undefined,
): DockerRegistry {
  return {
    host,
    url: `${made === undefined ? 'http' : 'https'}://${host}`,
    certificates: made,
    log: () => log.join('\n'),
    storage: temp.join('storage'),
    async [Symbol.asyncDispose]() {
      await stop(child)
      await temp[Symbol.asyncDispose]()
    },
  }
}

/** JSON is YAML. */
async function configuration(
  { auth, token }: DockerRegistryOptions,
  host: string,
  temp: TemporaryDirectory,
  made: Certificates | undefined,
): Promise<string> {
  const authentication: Record<string, object> = {}
  if (auth !== undefined) {
    const { stdout } = await run('htpasswd', ['-Bbn', auth.username, auth.password])
    await writeFile(temp.join('htpasswd'), stdout)
    authentication['htpasswd'] = { realm: 'keelson test', path: temp.join('htpasswd') }
  }
  if (token !== undefined) {
    const { realm, service, issuer, certificateFile } = token
    authentication['token'] = { realm, service, issuer, rootcertbundle: certificateFile }
  }
  return JSON.stringify({
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: temp.join('storage') },
      delete: { enabled: true },
      // Its purge of old uploads has no business in a test.
      maintenance: { uploadpurging: { enabled: false } },
    },
    http: {
      addr: host,
      secret: 'keelson test',
      ...(made === undefined
        ? {}
        : { tls: { certificate: made.server.certFile, key: made.server.keyFile } }),
    },
    ...(Object.keys(authentication).length === 0 ? {} : { auth: authentication }),
  })
}

/** The socket is open when the registry says so. False when it ends instead. */
async function listening(child: ChildProcess, log: string[]): Promise<boolean> {
  const ended = once(child, 'exit').then(() => false)
  const said = new Promise<boolean>((resolve) => {
    for (const input of [child.stdout, child.stderr]) {
      if (input === null) continue
      createInterface({ input }).on('line', (line) => {
        log.push(line)
        if (line.includes('listening on')) resolve(true)
      })
    }
  })
  return Promise.race([said, ended])
}

/** A port of the loopback interface that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (typeof address !== 'object' || address === null) throw new Error('no address')
  return address.port
}
