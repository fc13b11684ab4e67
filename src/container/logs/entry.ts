/** One line that a container wrote. */
export class LogEntry {
  readonly stream: 'stdout' | 'stderr'
  /** When its first byte was read from the program, in nanoseconds: `2026-11-24T10:00:00.000000001Z`. */
  readonly timestamp: string
  /** The line without its newline, byte for byte. */
  readonly bytes: Buffer
  /** It has no newline: the stream ended within it, it is still being written, or it goes on in the next entry (over 1 MiB). */
  readonly partial: boolean

  /** @internal */
  constructor(fields: Pick<LogEntry, 'stream' | 'timestamp' | 'bytes' | 'partial'>) {
    this.stream = fields.stream
    this.timestamp = fields.timestamp
    this.bytes = fields.bytes
    this.partial = fields.partial
  }

  /** The same in milliseconds. */
  get time(): Date {
    return new Date(this.timestamp)
  }

  /** The line as UTF-8; bytes that are none become U+FFFD. */
  get text(): string {
    return this.bytes.toString('utf8')
  }
}
