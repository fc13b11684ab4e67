import type { Socket } from 'node:net'
import { PassThrough, Transform, type Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { keelsonError } from '../../errors.ts'
import type { TerminalSize } from '../../runtime/monitor-protocol.ts'
import type { MonitorClient } from '../../runtime/monitor.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { DEFAULT_DETACH_KEYS, DetachScanner, parseDetachKeys } from './detach-keys.ts'

export interface AttachOptions {
  /** With a terminal: keys that detach, in Docker's notation; `''`: none. Default `ctrl-p,ctrl-q`. */
  detachKeys?: string
  /** Detaches when it fires. */
  signal?: AbortSignal
}

/** What of a container attaching takes. */
export interface AttachTarget {
  /** Also of a container that is still to be started: nothing is missed then. */
  monitor: MonitorClient
  tty: boolean
  /** Whether its standard input is kept open. */
  stdin: boolean
}

/** A connection to the standard streams of a container's program. Any number may exist; each gets all output. */
export class Attachment implements AsyncDisposable {
  /** Reaches the program; `end()` closes its standard input. Without `stdin` on the container it takes nothing. */
  readonly stdin: Writable
  /** With a terminal, all output. It must be read, or the program waits. */
  readonly stdout: Readable
  /** With a terminal, empty. */
  readonly stderr: Readable
  /** Resolves when the streams have ended: `true` after the detach keys or {@link Attachment.detach}, `false` with the program. */
  readonly closed: Promise<boolean>
  readonly #monitor: MonitorClient
  readonly #sockets: Socket[]
  #detached = false

  private constructor(target: AttachTarget, sockets: Sockets, keys: Buffer | undefined) {
    this.#monitor = target.monitor
    this.#sockets = Object.values(sockets).filter((socket) => socket !== undefined)
    const { terminal } = sockets
    this.stdout = terminal ?? sockets.stdout ?? empty()
    this.stderr = sockets.stderr ?? empty()
    this.stdin =
      terminal === undefined || keys === undefined
        ? (terminal ?? sockets.stdin ?? closed())
        : typing(terminal, keys, () => this.detach())
    // A program that is gone, or has closed its standard input, is no failure; the outputs end.
    for (const socket of this.#sockets) socket.on('error', () => {})
    const outputs = [this.stdout, this.stderr].filter((stream) =>
      this.#sockets.includes(stream as Socket),
    )
    this.closed = Promise.all(
      outputs.map(async (output) => {
        await new Promise((resolve) => output.once('end', resolve).once('close', resolve))
      }),
    ).then(() => this.#detached)
    void this.#closeInput(sockets.stdin ?? terminal)
  }

  /** @throws `KEELSON_INVALID_OPTION`, `KEELSON_ABORTED`, `KEELSON_HELPER_FAILED` */
  static async open(target: AttachTarget, options: AttachOptions = {}): Promise<Attachment> {
    const { signal, detachKeys = DEFAULT_DETACH_KEYS } = options
    const keys = detachKeys === '' ? undefined : parseDetachKeys(detachKeys)
    throwIfAborted(signal, 'attaching')
    const sockets: Sockets = {}
    const names = target.tty
      ? (['terminal'] as const)
      : ([...(target.stdin ? (['stdin'] as const) : []), 'stdout', 'stderr'] as const)
    try {
      for (const stream of names)
        sockets[stream] = await target.monitor.attach({ stream }, { signal })
    } catch (error) {
      for (const socket of Object.values(sockets)) socket?.destroy()
      throw error
    }
    const attachment = new Attachment(target, sockets, target.tty ? keys : undefined)
    const abort = () => attachment.detach()
    signal?.addEventListener('abort', abort, { once: true })
    void attachment.closed.finally(() => signal?.removeEventListener('abort', abort))
    return attachment
  }

  /**
   * Tells the container's terminal its size in characters; the program gets SIGWINCH. Without a terminal, and when the program does not
   * run, nothing happens.
   *
   * @throws `KEELSON_INVALID_OPTION`
   */
  async resize({ columns, rows }: TerminalSize): Promise<void> {
    const size = checkedSize({ columns, rows })
    await this.#monitor.request('resize', size).catch(() => {})
  }

  /** Lets go of the streams; the program goes on. */
  detach(): void {
    this.#detached = true
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Nobody reads any more what would still be written. */
  async #closeInput(input: Socket | undefined): Promise<void> {
    await this.closed
    input?.destroySoon()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.detach()
    await this.closed
  }
}

interface Sockets {
  stdin?: Socket
  stdout?: Socket
  stderr?: Socket
  terminal?: Socket
}

/** @throws `KEELSON_INVALID_OPTION` */
export function checkedSize(size: TerminalSize): TerminalSize {
  for (const [name, value] of Object.entries(size)) {
    if (Number.isInteger(value) && value >= 0 && value < 65536) continue
    throw keelsonError('KEELSON_INVALID_OPTION', `${name} is not a size in characters: ${value}.`, {
      option: name,
      hint: 'Give a whole number up to 65535.',
    })
  }
  return size
}

function typing(terminal: Socket, keys: Buffer, detach: () => void): Writable {
  const scanner = new DetachScanner(keys)
  const input = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const { pass, detached } = scanner.push(chunk)
      if (pass.length > 0) this.push(pass)
      done()
      if (detached) detach()
    },
    flush(done) {
      done(null, scanner.end())
    },
  })
  pipeline(input, terminal, { end: false }).catch(() => {})
  return input
}

function empty(): Readable {
  const none = new PassThrough()
  none.end()
  return none
}

function closed(): Writable {
  const none = new PassThrough()
  none.end()
  none.resume()
  return none
}
