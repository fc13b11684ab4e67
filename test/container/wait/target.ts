import { EventEmitter, on, once } from 'node:events'
import { connect } from 'node:net'
import type { MonitorState } from '../../../src/runtime/monitor-protocol.ts'
import type { WaitLine, WaitTarget } from '../../../src/container/wait/strategy.ts'
import { unlessAborted } from '../../../src/util/abort.ts'

const RUNNING: MonitorState = {
  version: 1,
  status: 'running',
  monitor: 1,
  pid: process.pid,
  exitCode: null,
  signal: null,
  oomKilled: false,
  restartCount: 0,
  stopped: false,
}

/** A "container" that is this process: its ports are ours, and the test says how it fares. */
export class Target implements WaitTarget {
  readonly name = 'web'
  checksHealth = true
  readonly #events = new EventEmitter()
  readonly #lines: WaitLine[] = []
  #state: MonitorState | undefined = RUNNING

  set(change: Partial<MonitorState> | undefined): void {
    this.#state = change === undefined ? undefined : { ...RUNNING, ...change }
    this.#events.emit('state')
  }

  write(text: string, stream: WaitLine['stream'] = 'stdout'): void {
    this.#lines.push({ stream, text })
    this.#events.emit('line')
  }

  /** How many wait for it to change. */
  get waiting(): number {
    return this.#events.listenerCount('state') + this.#events.listenerCount('line')
  }

  async until<T>(
    look: (state: MonitorState | undefined, removed: boolean) => T | undefined,
    { signal, what }: { signal?: AbortSignal | undefined; what: string },
  ): Promise<T> {
    for (;;) {
      const found = look(this.#state, false)
      if (found !== undefined) return found
      const changed = new AbortController()
      try {
        await unlessAborted(once(this.#events, 'state', { signal: changed.signal }), signal, what)
      } finally {
        changed.abort()
      }
    }
  }

  async *logs(signal: AbortSignal): AsyncGenerator<WaitLine> {
    const more = on(this.#events, 'line', { signal })
    let next = 0
    do {
      while (next < this.#lines.length) yield this.#lines[next++] as WaitLine
      if (this.#state?.status === 'exited') return
    } while ((await more.next()).done !== true)
  }

  async tail(lines: number): Promise<WaitLine[]> {
    return this.#lines.slice(-lines)
  }

  async connect(port: number, signal: AbortSignal) {
    const socket = connect({ port, host: '127.0.0.1', signal })
    await once(socket, 'connect')
    return socket
  }
}
