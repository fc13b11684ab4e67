import { appendFile, mkdir, rename, writeFile } from 'node:fs/promises'
import { temporaryDirectory } from '../../support/temp.ts'
import { deferred } from '../../../src/util/deferred.ts'
import type { LogEntry } from '../../../src/container/logs/entry.ts'

/** `{ n: 3, stream: 'stdout', mark: 'F', text }` as a line of a log file; `n` is the second it was written in. */
export function line(
  n: number,
  text: string | Buffer,
  { stream = 'stdout', mark = 'F' }: { stream?: string; mark?: string } = {},
): Buffer {
  const time = new Date(Date.UTC(2026, 10, 24) + n * 1000).toISOString().replace('Z', '000001Z')
  return Buffer.concat([
    Buffer.from(`${time} ${stream} ${mark} `),
    Buffer.from(text),
    Buffer.from('\n'),
  ])
}

/** A log directory that a test writes as a monitor does. */
export async function testLog() {
  const temp = await temporaryDirectory()
  const path = temp.join('log/container.log')
  await mkdir(temp.join('log'))
  const ended = deferred<void>()
  return {
    source: {
      path,
      ended: async () => await ended.promise,
      gone: () => new Error('gone'),
      mustBeThere: async () => {},
    },
    path,
    end: () => ended.resolve(),
    async write(...lines: Buffer[]) {
      await appendFile(path, Buffer.concat(lines))
    },
    async rotate(files: number) {
      for (let number = files; number > 1; number--) {
        await rename(`${path}.${number - 1}`, `${path}.${number}`).catch(() => {})
      }
      await rename(path, `${path}.1`)
      await writeFile(path, '')
    },
    async [Symbol.asyncDispose]() {
      await temp[Symbol.asyncDispose]()
    },
  }
}

export async function all(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
  const read: LogEntry[] = []
  for await (const entry of entries) read.push(entry)
  return read
}

export async function texts(entries: AsyncIterable<LogEntry>): Promise<string[]> {
  return (await all(entries)).map(({ text }) => text)
}
