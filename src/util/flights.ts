import type { KeelsonError } from '../errors.ts'
import { abortedError, throwIfAborted } from './abort.ts'

export interface FlightOptions<Event> {
  signal?: AbortSignal | undefined
  /** Hears what the work says of itself; who joins late hears the last event of each kind first. */
  onEvent?: (event: Event) => void
}

interface Flight<Result, Event> {
  work: Promise<Result>
  passengers: number
  controller: AbortController
  listeners: Set<(event: Event) => void>
  last: Map<string, Event>
}

/**
 * Work that several callers want at once is done once, and goes on until the last of them has lost interest.
 */
export class Flights<Result, Event extends { kind: string }> {
  readonly #what: string
  readonly #flights = new Map<string, Flight<Result, Event>>()

  /** @param what names the work in the message to who leaves: `The pull` */
  constructor(what: string) {
    this.#what = what
  }

  /** Whether work for this key is under way. */
  has(key: string): boolean {
    return this.#flights.has(key)
  }

  /**
   * Joins the work for `key`, or starts it. A caller whose signal fires leaves with `KEELSON_ABORTED`; the last one to leave
   * stops the work and leaves only when it has ended, so that nothing of it is left behind.
   */
  async join(
    key: string,
    start: (signal: AbortSignal, emit: (event: Event) => void) => Promise<Result>,
    { signal, onEvent }: FlightOptions<Event> = {},
  ): Promise<Result> {
    throwIfAborted(signal, this.#what)
    const flight = this.#flights.get(key) ?? this.#start(key, start)
    flight.passengers++
    if (onEvent !== undefined) {
      for (const event of flight.last.values()) onEvent(event)
      flight.listeners.add(onEvent)
    }
    // Counted down where the signal fires: one signal may send several passengers away in the same breath.
    let aboard = true
    const alight = () => {
      if (aboard) flight.passengers--
      aboard = false
    }
    let leave: (() => void) | undefined
    try {
      return await new Promise<Result>((resolve, reject) => {
        let left: KeelsonError | undefined
        const refuse = (error: unknown) => reject(left ?? error)
        flight.work.then((result) => (left === undefined ? resolve(result) : reject(left)), refuse)
        if (signal === undefined) return
        leave = () => {
          alight()
          left = abortedError(signal, this.#what)
          if (flight.passengers > 0) return reject(left)
          this.#forget(key, flight)
          flight.controller.abort(left)
        }
        signal.addEventListener('abort', leave, { once: true })
      })
    } finally {
      alight()
      if (onEvent !== undefined) flight.listeners.delete(onEvent)
      if (leave !== undefined) signal?.removeEventListener('abort', leave)
    }
  }

  #start(
    key: string,
    start: (signal: AbortSignal, emit: (event: Event) => void) => Promise<Result>,
  ): Flight<Result, Event> {
    const controller = new AbortController()
    const listeners = new Set<(event: Event) => void>()
    const last = new Map<string, Event>()
    const work = start(controller.signal, (event) => {
      last.set(event.kind, event)
      for (const listener of listeners) listener(event)
    })
    const flight = { work, passengers: 0, controller, listeners, last }
    this.#flights.set(key, flight)
    const landed = () => this.#forget(key, flight)
    work.then(landed, landed)
    return flight
  }

  #forget(key: string, flight: Flight<Result, Event>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key)
  }
}
