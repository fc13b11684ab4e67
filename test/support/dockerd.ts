import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { run, stop } from './process.ts'
import { temporaryDirectory, type TemporaryDirectory } from './temp.ts'

/** What docker had ready when it called its runtime. */
export interface RuntimeCall {
  id: string
  /** `config.json` of the bundle. */
  config: unknown
  /** The files that it mounts over those of the image. */
  etc: { hosts: string; hostname: string; resolvConf: string }
}

/**
 * Debian's `dockerd`, private to a test: own directories, own socket, no network of its own, and a runtime that keeps what it is
 * called with and then fails, so that no container ever runs.
 */
export interface Dockerd extends AsyncDisposable {
  /** Its major version. */
  readonly version: number
  /** Where it listens. */
  readonly socket: string
  /** `docker import`: an image of one layer. @param changes lines of a Dockerfile: `ENV A=1` */
  import(reference: string, archive: Buffer, changes?: string[]): Promise<void>
  /** Creates a container (the body of POST /containers/create) and starts it as far as the runtime. */
  runtimeCall(body: object): Promise<RuntimeCall>
}

const API = '/v1.41'

/** Its mounts end with it, however it ends. */
const OWN_MOUNTS = ['--mount', '--propagation=slave']
/** Its processes too. */
const OWN_PROCESSES = ['--pid', '--fork', '--kill-child', '--mount-proc']
const START = ['sh', '-ec', 'mount --bind "$0" "$0"; mount --make-shared "$0"; exec dockerd "$@"']

export interface DockerdOptions {
  /** The OCI runtime that really runs the containers, in place of the one that only keeps what it is called with. */
  runtime?: string
  /** Cgroups are asked of systemd, which knows processes by the numbers that they have on the host. */
  systemd?: boolean
}

/** @param shared a directory that becomes a shared mount where docker looks */
export async function dockerd(
  shared: string,
  { runtime, systemd = false }: DockerdOptions = {},
): Promise<Dockerd> {
  const temp = await temporaryDirectory('keelson-dockerd-')
  try {
    await mkdir(temp.join('bundles'))
    // The machine's own docker may have a configuration, which is not ours.
    await writeFile(temp.join('daemon.json'), '{}')
    await writeFile(temp.join('runtime'), recorder(temp.join('bundles')), { mode: 0o755 })
    const isolated = systemd ? OWN_MOUNTS : [...OWN_MOUNTS, ...OWN_PROCESSES]
    const driver = `--exec-opt=native.cgroupdriver=${systemd ? 'systemd' : 'cgroupfs'}`
    const args = [...isolated, ...START, shared, ...flags(temp, runtime), driver]
    const child = spawn('unshare', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    await listening(child)
    // Asked in kindness it takes its time, so only where its processes would outlive it.
    const ending = systemd ? 'SIGTERM' : 'SIGKILL'
    return new PrivateDockerd({ child, ending, temp, version: await version() })
  } catch (error) {
    await temp[Symbol.asyncDispose]()
    throw error
  }
}

interface Started {
  child: ChildProcess
  ending: NodeJS.Signals
  temp: TemporaryDirectory
  version: number
}

class PrivateDockerd implements Dockerd {
  readonly #child: ChildProcess
  readonly #ending: NodeJS.Signals
  readonly #temp: TemporaryDirectory
  readonly version: number

  constructor(started: Started) {
    this.#child = started.child
    this.#ending = started.ending
    this.#temp = started.temp
    this.version = started.version
  }

  get socket(): string {
    return this.#temp.join('socket')
  }

  async import(reference: string, archive: Buffer, changes: string[] = []): Promise<void> {
    const [repo = '', tag = 'latest'] = reference.split(':')
    const query = new URLSearchParams({ fromSrc: '-', repo, tag })
    for (const change of changes) query.append('changes', change)
    const { status, body } = await this.#ask(`/images/create?${query.toString()}`, archive)
    if (status !== 200) throw new Error(`docker import ${reference}: ${body}`)
  }

  async runtimeCall(options: object): Promise<RuntimeCall> {
    const created = await this.#ask('/containers/create', JSON.stringify(options))
    if (created.status !== 201) throw new Error(`docker create: ${created.body}`)
    const { Id: id } = JSON.parse(created.body) as { Id: string }
    // The runtime fails whatever it is given; what it was given is what counts.
    const started = await this.#ask(`/containers/${id}/start`, '')
    const kept = await readFile(this.#temp.join('bundles', id), 'utf8').catch(() => {
      throw new Error(`docker start did not come as far as the runtime: ${started.body}`)
    })
    const etc = (name: string) =>
      readFile(this.#temp.join('data/containers', id, name), 'utf8').catch(() => '')
    const [hosts, hostname, resolvConf] = await Promise.all(
      ['hosts', 'hostname', 'resolv.conf'].map(etc),
    )
    await this.#ask(`/containers/${id}?force=true`, '', 'DELETE')
    return {
      id,
      config: JSON.parse(kept),
      etc: { hosts: hosts ?? '', hostname: hostname ?? '', resolvConf: resolvConf ?? '' },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stop(this.#child, this.#ending)
    await this.#temp[Symbol.asyncDispose]()
  }

  async #ask(path: string, body: string | Buffer, method = 'POST') {
    const type = typeof body === 'string' ? 'application/json' : 'application/x-tar'
    const asking = request({
      socketPath: this.#temp.join('socket'),
      path: `${API}${path}`,
      method,
      headers: { host: 'docker', 'content-type': type, 'content-length': body.length },
    })
    asking.end(body)
    const [answer] = (await once(asking, 'response')) as [IncomingMessage]
    return { status: answer.statusCode, body: await text(answer) }
  }
}

async function version(): Promise<number> {
  const { stdout } = await run('dockerd', ['--version'])
  return Number(/version (\d+)/.exec(stdout)?.[1])
}

function flags(temp: TemporaryDirectory, runtime = temp.join('runtime')): string[] {
  return [
    `--data-root=${temp.join('data')}`,
    `--exec-root=${temp.join('exec')}`,
    `--pidfile=${temp.join('pid')}`,
    `--host=unix://${temp.join('socket')}`,
    `--config-file=${temp.join('daemon.json')}`,
    '--bridge=none',
    '--iptables=false',
    '--ip6tables=false',
    '--ip-forward=false',
    '--storage-driver=vfs',
    `--add-runtime=tested=${runtime}`,
    '--default-runtime=tested',
  ]
}

/** `... create --bundle DIRECTORY ... ID` keeps the configuration under the id. */
function recorder(directory: string): string {
  return `#!/bin/sh
bundle= previous=
for word do
  [ "$previous" = --bundle ] && bundle=$word
  previous=$word
done
[ -n "$bundle" ] && cp "$bundle/config.json" "${directory}/$previous"
exit 1
`
}

async function listening(child: ChildProcess): Promise<void> {
  const { stderr } = child
  if (stderr === null) throw new Error('dockerd was started without a pipe')
  const log: string[] = []
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`dockerd does not start:\n${log.join('\n')}`)))
    createInterface({ input: stderr }).on('line', (line) => {
      log.push(line)
      if (line.includes('API listen on')) resolve()
    })
  })
}
