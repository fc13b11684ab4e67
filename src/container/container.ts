import type { Agent } from 'node:http'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import type { Image } from '../image/image.ts'
import { Attachment, type AttachOptions } from './attach/attach.ts'
import { attachTarget } from './attach/target.ts'
import {
  containerAgent,
  containerConnector,
  type Connector,
  type ContainerAgentOptions,
} from './connect/agent.ts'
import { checkPort, connectTo, type ConnectOptions } from './connect/connect.ts'
import { ContainerConnection } from './connect/connection.ts'
import { execIn, type ExecTarget } from './exec/exec.ts'
import type { ExecOptions, SpawnOptions } from './exec/options.ts'
import { ExecProcess } from './exec/process.ts'
import { execTarget } from './exec/target.ts'
import type { LogEntry } from './logs/entry.ts'
import { readLogs } from './logs/logs.ts'
import type { LogsOptions } from './logs/options.ts'
import { logSource } from './logs/source.ts'
import { containerAccess } from './files/access.ts'
import { commitContainer, type CommitOptions } from './files/commit.ts'
import { copyIn, type CopyInOptions, type CopySource } from './files/copy-in.ts'
import { copyOut, copyToHost, exportRoot, type CopyOutOptions } from './files/copy-out.ts'
import { diffContainer, type FileChange } from './files/diff.ts'
import { ContainerFiles } from './files/files.ts'
import type { RunningProcess } from './run/run.ts'
import type { Stats } from './stats/stats.ts'
import { streamStats, type StatsOptions } from './stats/stream.ts'
import { statsTarget } from './stats/target.ts'
import { listProcesses, type ContainerProcess } from './top.ts'
import { userNames } from './user/user-names.ts'
import { LivingContainer, type SignalOption } from './lifecycle/living.ts'
import { publishedAddress, type PortAddress, type PortOptions } from './networks/published.ts'

/**
 * A container: it can be started, watched, stopped, and started again until it is removed. Bound to its engine unless it was created
 * `detached`.
 *
 * What it is not in the state for is refused with `KEELSON_CONTAINER_STATE`; once it is removed, by whomever, everything is refused with
 * `KEELSON_CONTAINER_NOT_FOUND`, but for `remove()`.
 *
 * @example
 * ```ts
 * import { Engine } from 'keelson'
 *
 * await using engine = await Engine.open()
 * const container = await engine.containers.create({
 *   image: 'docker.io/library/alpine:3.22',
 *   command: ['sleep', '1'],
 * })
 * await container.start()
 * const { exitCode } = await container.wait()
 * await container.remove()
 * ```
 */
export class Container extends LivingContainer {
  /**
   * Executes a program in it and waits for its end. Streams, time-out, abort and failure are as those of `engine.run()`: it rejects unless
   * the program ends with 0, with an error of the result's shape.
   *
   * @throws `KEELSON_CONTAINER_STATE`, `KEELSON_COMMAND_NOT_FOUND`, `KEELSON_COMMAND_NOT_EXECUTABLE`, `KEELSON_USER_NOT_FOUND`,
   *   `KEELSON_EXIT_NONZERO`, `KEELSON_KILLED`, `KEELSON_OUT_OF_MEMORY`, `KEELSON_TIMEOUT`, `KEELSON_ABORTED`, `KEELSON_MAX_OUTPUT`
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('database')
   * const { stdout } = await container.exec(['psql', '-c', 'select 1'], { user: 'postgres' })
   * ```
   */
  exec(command: string | readonly string[], options: ExecOptions = {}): RunningProcess {
    return execIn(this.#execTarget(), command, options)
  }

  /**
   * Executes a program in it and returns when it runs: a handle like a `ChildProcess`. With `tty`, on a terminal of its own.
   *
   * @throws as {@link Container.exec} does before the program runs
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await using shell = await container.spawn(['sh'], { tty: true })
   * shell.stdin.end('exit 3\n')
   * shell.stdout.pipe(process.stdout)
   * console.log((await shell.wait()).exitCode)
   * ```
   */
  async spawn(
    command: string | readonly string[],
    options: SpawnOptions = {},
  ): Promise<ExecProcess> {
    return await ExecProcess.start(this.#execTarget(), command, options)
  }

  /**
   * Connects to the standard streams of its program. Before `start()` nothing that it writes is missed; any number may attach.
   *
   * @throws `KEELSON_CONTAINER_STATE`, `KEELSON_INVALID_OPTION`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await using attachment = await container.attach()
   * attachment.stdout.pipe(process.stdout)
   * await attachment.closed
   * ```
   */
  async attach(options: AttachOptions = {}): Promise<Attachment> {
    return await Attachment.open(await attachTarget(this.core), options)
  }

  /**
   * What its program has written, line by line, oldest first; with `follow`, until it has ended for good. Lines are kept over restarts of
   * the program, and of this one for a detached container.
   *
   * @throws `KEELSON_INVALID_OPTION`, also for a container without a log; while reading `KEELSON_ABORTED`, `KEELSON_CONTAINER_NOT_FOUND`,
   *   `KEELSON_IO`
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * for await (const { stream, time, text } of container.logs({ follow: true, tail: 10 })) {
   *   console.log(time.toISOString(), stream, text)
   * }
   * ```
   */
  logs(options: LogsOptions = {}): AsyncGenerator<LogEntry> {
    return readLogs(logSource(this.core), options)
  }

  /**
   * Where on this host a port that it publishes is reached: which one it is, where a free one was asked for.
   *
   * @throws `KEELSON_INVALID_OPTION` for one that is not published, `KEELSON_CONTAINER_STATE` when it does not run
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * await using web = await engine.containers.run({ image: 'docker.io/library/nginx:1.29', ports: [80] })
   * const { host, port } = await web.port(80)
   * console.log(`http://${host}:${port}/`)
   * ```
   */
  async port(port: number, options: PortOptions = {}): Promise<PortAddress> {
    return await publishedAddress(this.core, port, options)
  }

  /**
   * Dials a TCP port inside its network: nothing has to be published, and a program that listens on its loopback alone is reached, too.
   *
   * @throws `KEELSON_CONNECTION_REFUSED` when nothing listens there, `KEELSON_CONTAINER_STATE`, `KEELSON_INVALID_OPTION`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('cache')
   * const socket = await container.connect(6379)
   * socket.end('PING\r\n')
   * for await (const chunk of socket) console.log(String(chunk))
   * ```
   */
  async connect(port: number, options: ConnectOptions = {}): Promise<Socket> {
    return await connectTo(this.core, port, options)
  }

  /**
   * As {@link Container.connect}, at once: a stream that connects by itself and can be written to meanwhile, as that of
   * `net.createConnection()`. For clients that are given their stream by a function, and for each connection another.
   *
   * @throws `KEELSON_INVALID_OPTION`; the stream fails with what {@link Container.connect} rejects with
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   * import { Pool } from 'pg'
   *
   * await using engine = await Engine.open()
   * const database = await engine.containers.get('database')
   * const pool = new Pool({ user: 'postgres', stream: () => database.createConnection(5432) })
   * ```
   */
  createConnection(port: number, options: ConnectOptions = {}): ContainerConnection {
    checkPort(port)
    const { signal } = options
    return new ContainerConnection((over) =>
      connectTo(this.core, port, {
        ...options,
        signal: signal === undefined ? over : AbortSignal.any([signal, over]),
      }),
    )
  }

  /**
   * An `http.Agent` whose connections lead into this container, whatever host a request names: for `http.request()` and what is made on it.
   * With `tls` it is for `https:`.
   *
   * @example
   * ```ts
   * import { get } from 'node:http'
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const web = await engine.containers.get('web')
   * get('http://web:8080/', { agent: web.agent() }, (answer) => answer.pipe(process.stdout))
   * ```
   */
  agent(options: ContainerAgentOptions = {}): Agent {
    return containerAgent((port) => connectTo(this.core, port, {}), options)
  }

  /**
   * The same for undici, and so for `fetch()`: the option `connect` of its `Agent`.
   *
   * @param tls options of `tls.connect()`, for `https:`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   * import { Agent, fetch } from 'undici'
   *
   * await using engine = await Engine.open()
   * const web = await engine.containers.get('web')
   * const dispatcher = new Agent({ connect: web.connector() })
   * const answer = await fetch('http://web:8080/', { dispatcher })
   * ```
   */
  connector(tls: ConnectionOptions = {}): Connector {
    return containerConnector((port) => connectTo(this.core, port, {}), tls)
  }

  /**
   * What it uses: a sample at once, then one a second until it ends.
   *
   * @throws `KEELSON_INVALID_OPTION` at once; while iterating `KEELSON_CONTAINER_STATE` when it does not run, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * for await (const { cpu, memory } of container.stats({ interval: '5s' })) {
   *   console.log(cpu?.percent, memory?.usage)
   * }
   * ```
   */
  stats(options: StatsOptions = {}): AsyncGenerator<Stats, void, undefined> {
    return streamStats(statsTarget(this.core, this.configuration), options)
  }

  /**
   * Its processes, in order of pid.
   *
   * @throws `KEELSON_CONTAINER_STATE` when it does not run
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * for (const { pid, command } of await container.top()) console.log(pid, command)
   * ```
   */
  async top(): Promise<ContainerProcess[]> {
    await this.core.mustAllow('read its processes')
    const { record, context } = this.core
    const [{ keelson, linux }, { passwd }] = await Promise.all([
      this.configuration(),
      context.run.users.of(record.image.chain),
    ])
    return await listProcesses(
      keelson.cgroups,
      userNames(passwd, linux.uidMappings ?? context.run.user?.uidMappings),
    )
  }

  /**
   * Its files: `readFile`, `writeFile`, `readdir`, `stat`, `mkdir`, `rm`, whether it runs or not.
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * await using web = await engine.containers.create({ image: 'docker.io/library/nginx:1.29' })
   * await web.files.writeFile('/usr/share/nginx/html/index.html', 'hello')
   * await web.start()
   * console.log(await web.files.readFile('/etc/os-release', 'utf8'))
   * ```
   */
  get files(): ContainerFiles {
    return new ContainerFiles(containerAccess(this.core))
  }

  /**
   * Copies into it: a file or directory of this host, a tar archive, or an object of names and contents. See {@link CopySource}.
   *
   * Into a directory that is there; else a file or directory of the host becomes `path`. A host path that ends in `/.` means what is in
   * the directory. Archives and objects are unpacked into the directory `path`, which is made when it is missing. What is there is
   * replaced; directories are merged. On failure or abort what had been copied by then stays.
   *
   * @throws `KEELSON_INVALID_OPTION`, `KEELSON_FILE_NOT_FOUND`, `KEELSON_NOT_A_DIRECTORY`, `KEELSON_FILE_EXISTS` (a mount is in the way),
   *   `KEELSON_ARCHIVE_INVALID`, `KEELSON_PERMISSION`, `KEELSON_NO_SPACE`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.copyIn('site/.', '/usr/share/nginx/html')
   * await container.copyIn({ 'motd': 'hello' }, '/etc', { mode: 0o644 })
   * ```
   */
  async copyIn(source: CopySource, path: string, options: CopyInOptions = {}): Promise<void> {
    await copyIn(containerAccess(this.core), source, path, options)
  }

  /**
   * Copies out of it: a file or directory as a tar archive, or, with `to`, into that path of this host. A path that ends in `/.` means what
   * is in the directory.
   *
   * On the host nothing is ever written outside of the directory that is copied into, whatever the container does meanwhile; what comes to
   * lie there is the caller's, without set-id bits, capabilities and devices.
   *
   * @throws (or fails the stream with) `KEELSON_FILE_NOT_FOUND`, `KEELSON_NOT_A_FILE`, `KEELSON_NOT_A_DIRECTORY`, `KEELSON_PERMISSION`,
   *   `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await container.copyOut('/var/log', 'logs')
   * ```
   */
  copyOut(path: string, options?: CopyOutOptions): Readable
  copyOut(path: string, to: string, options?: CopyOutOptions): Promise<void>
  copyOut(
    path: string,
    to: string | CopyOutOptions = {},
    options: CopyOutOptions = {},
  ): Readable | Promise<void> {
    const access = containerAccess(this.core)
    return typeof to === 'string'
      ? copyToHost(access, path, to, options)
      : copyOut(access, path, to)
  }

  /**
   * What it changed in its root file system since it was made, a directory before what is in it. What is mounted in it does not count.
   *
   * @throws `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * for (const { kind, path } of await container.diff()) console.log(kind, path)
   * ```
   */
  async diff(options: SignalOption = {}): Promise<FileChange[]> {
    return await diffContainer(containerAccess(this.core), options)
  }

  /**
   * Its whole root file system as a tar archive, without what is mounted in it. `engine.images.import` makes an image of it.
   *
   * @example
   * ```ts
   * import { createWriteStream } from 'node:fs'
   * import { pipeline } from 'node:stream/promises'
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * await pipeline(container.export(), createWriteStream('web.tar'))
   * ```
   */
  export(options: SignalOption = {}): Readable {
    return exportRoot(containerAccess(this.core), options)
  }

  /**
   * Makes an image of it: the one that it was made from, and what it changed as one layer more; its configuration is the image's with its
   * own options and `changes`. It is ready to run and to be pushed. Running, it stands still meanwhile.
   *
   * @throws `KEELSON_INVALID_REFERENCE`, `KEELSON_INVALID_OPTION`, `KEELSON_NO_SPACE`, `KEELSON_PERMISSION`, `KEELSON_IO`, `KEELSON_ABORTED`
   *
   * @example
   * ```ts
   * import { Engine } from 'keelson'
   *
   * await using engine = await Engine.open()
   * const container = await engine.containers.get('web')
   * const image = await container.commit({ reference: 'web:2' })
   * await engine.run(image, ['true'])
   * ```
   */
  async commit(options: CommitOptions = {}): Promise<Image> {
    return await commitContainer(containerAccess(this.core), options)
  }

  #execTarget(): ExecTarget {
    return execTarget(this.core, this.configuration)
  }
}
