import { EventEmitter } from 'eventemitter3'
import { keelsonError } from '../errors.ts'
import { JournalReader } from '../store/journal-reader.ts'
import type { Journal } from '../store/journal.ts'
import { nearest } from '../util/nearest.ts'
import { show } from '../util/printable.ts'
import type { EngineEvents } from './event.ts'
import { decodeJournalLine, EVENT_TYPES } from './lines.ts'

type Listener<Name extends keyof EngineEvents> = (...event: EngineEvents[Name]) => void

/**
 * The listeners of one engine. What this engine runs it tells them itself; the rest, its own containers' included (their monitors tell), it
 * reads from the journal, as soon as somebody listens.
 */
export class EventHub {
  /** Typed where it is spoken to. */
  readonly #emitter = new EventEmitter<string>()
  readonly #journal: Journal
  readonly #engine: string
  readonly #closing: AbortSignal
  readonly #onLost: (error: unknown) => void
  #following = false

  constructor(options: {
    journal: Journal
    engine: string
    closing: AbortSignal
    onLost: (error: unknown) => void
  }) {
    this.#journal = options.journal
    this.#engine = options.engine
    this.#closing = options.closing
    this.#onLost = options.onLost
  }

  /** At once to the listeners here, and by the journal to all others. */
  emit<Name extends keyof EngineEvents>(name: Name, event: EngineEvents[Name][0]): void {
    this.#tell(name, event)
    this.#journal.append({
      time: new Date().toISOString(),
      type: name,
      ...event,
      engine: this.#engine,
    })
  }

  on<Name extends keyof EngineEvents>(name: Name, listener: Listener<Name>): void {
    checkListener(name, listener)
    this.#emitter.on(name, listener as (...event: unknown[]) => void)
    if (this.#following || this.#closing.aborted) return
    this.#following = true
    void this.#follow()
  }

  off<Name extends keyof EngineEvents>(name: Name, listener: Listener<Name>): void {
    this.#emitter.off(name, listener as (...event: unknown[]) => void)
  }

  async #follow(): Promise<void> {
    while (!this.#closing.aborted) {
      const reader = new JournalReader(this.#journal.directory, {
        from: 'now',
        follow: true,
        hold: false,
        signal: this.#closing,
      })
      try {
        for await (const line of reader.lines()) {
          const { events, engine } = decodeJournalLine(line)
          if (engine === this.#engine) continue
          for (const event of events) this.#tell(event.type, event)
        }
      } catch (error) {
        this.#onLost(error)
      }
    }
  }

  #tell(name: keyof EngineEvents, event: object): void {
    this.#emitter.emit(name, event)
  }
}

function checkListener(name: unknown, listener: unknown): void {
  const known = Object.keys(EVENT_TYPES)
  if (typeof name !== 'string' || !known.includes(name)) {
    const near = typeof name === 'string' ? nearest(name, known) : undefined
    throw keelsonError('KEELSON_INVALID_OPTION', `There is no event ${show(name)}.`, {
      option: 'event',
      hint: near ? `Did you mean ${near}?` : `The events are ${known.join(', ')}.`,
    })
  }
  if (typeof listener === 'function') return
  throw keelsonError('KEELSON_INVALID_OPTION', `The listener is ${show(listener)}.`, {
    option: 'listener',
    hint: 'Give a function.',
  })
}
