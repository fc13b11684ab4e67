import type { Readable } from 'node:stream'

/** Reads until `found` has come, and what came with it. Fails when the stream ends before. */
export async function until(stream: Readable, found: string): Promise<string> {
  let text = ''
  while (!text.includes(found)) {
    const chunk = stream.read() as Buffer | null
    if (chunk !== null) text += chunk.toString()
    else if (stream.readableEnded || stream.destroyed) {
      throw new Error(`Instead of ${JSON.stringify(found)} came ${JSON.stringify(text)}.`)
    } else await change(stream)
  }
  return text
}

/** All there is, as text. */
export async function toEnd(stream: Readable): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

async function change(stream: Readable): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      stream.off('readable', done).off('end', done).off('close', done)
      resolve()
    }
    stream.on('readable', done).on('end', done).on('close', done)
  })
}
