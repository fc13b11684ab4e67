import { PassThrough, type Readable } from 'node:stream'

/**
 * What a container writes to one stream: collected up to a limit, and passed on to whoever asked for the stream, with back-pressure.
 */
export class Output {
  readonly #collect: boolean
  readonly #limit: number
  readonly #chunks: Buffer[] = []
  #bytes = 0
  #stream: PassThrough | undefined
  #ended = false

  constructor(options: { collect: boolean; limit: number }) {
    this.#collect = options.collect
    this.#limit = options.limit
  }

  /** The stream itself. Whoever asks for it has to read it: data left unread holds the container up. */
  get stream(): Readable {
    if (this.#stream === undefined) {
      this.#stream = new PassThrough()
      // What came before anybody asked is still here.
      for (const chunk of this.#chunks) this.#stream.write(chunk)
      if (this.#ended) this.#stream.end()
    }
    return this.#stream
  }

  /** Reads `source` to its end. @param onOverflow called once, when there is more than may be collected */
  async drain(source: AsyncIterable<Buffer>, onOverflow: () => void): Promise<void> {
    try {
      for await (const chunk of source) {
        if (this.#collect) this.#keep(chunk, onOverflow)
        if (this.#stream?.write(chunk) === false) await drained(this.#stream)
      }
    } finally {
      this.end()
    }
  }

  /** Nothing more will come. */
  end(): void {
    this.#ended = true
    this.#stream?.end()
  }

  /** What was collected, as UTF-8; with `stripFinalNewline`, without one `\n` or `\r\n` at its end. */
  text({ stripFinalNewline = false }: { stripFinalNewline?: boolean } = {}): string {
    const text = Buffer.concat(this.#chunks).toString('utf8')
    return stripFinalNewline ? text.replace(/\r?\n$/, '') : text
  }

  #keep(chunk: Buffer, onOverflow: () => void): void {
    const room = this.#limit - this.#bytes
    if (room < 0) return
    this.#chunks.push(chunk.subarray(0, room))
    this.#bytes += chunk.length
    if (chunk.length > room) onOverflow()
  }
}

/** Also when the reader is gone: then the rest is thrown away. */
function drained(stream: PassThrough): Promise<void> {
  if (stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done)
      resolve()
    }
    stream.on('drain', done).on('close', done)
  })
}
