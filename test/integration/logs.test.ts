import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Container, CreateOptions, LogEntry } from '../../src/index.ts'
import { scripted, testEngine, type TestEngine } from '../support/engine.ts'

let host: TestEngine

beforeAll(async () => {
  host = await testEngine()
})

afterAll(async () => {
  await host[Symbol.asyncDispose]()
})

const created = (script: string, options?: Partial<CreateOptions>) =>
  scripted(host, script, options)

async function all(entries: AsyncIterable<LogEntry>): Promise<LogEntry[]> {
  const read: LogEntry[] = []
  for await (const entry of entries) read.push(entry)
  return read
}

test('every line is kept, of both streams, with its time', async () => {
  await using container = await created('echo out; echo err >&2; printf "no end"')
  const before = Date.now()
  await container.start()
  await container.wait()
  const entries = await all(container.logs())
  const texts = (stream: string) =>
    entries.filter((entry) => entry.stream === stream).map(({ text, partial }) => [text, partial])
  expect(texts('stdout')).toEqual([
    ['out', false],
    ['no end', true],
  ])
  expect(texts('stderr')).toEqual([['err', false]])
  for (const { time, timestamp } of entries) {
    expect(time.getTime()).toBeGreaterThanOrEqual(before)
    expect(time.getTime()).toBeLessThanOrEqual(Date.now())
    expect(timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/)
  }
})

test('a follower that begins before the start hears all until the end', async () => {
  await using container = await created('seq 1 5000; sleep 0.1; echo last')
  const reading = all(container.logs({ follow: true }))
  await container.start()
  const texts = (await reading).map(({ text }) => text)
  expect(texts).toEqual([...Array.from({ length: 5000 }, (_, n) => `${n + 1}`), 'last'])
})

test('the last lines, and those of a time', async () => {
  await using container = await created('seq 1 1000')
  await container.start()
  await container.wait()
  const texts = async (options: Parameters<Container['logs']>[0]) =>
    (await all(container.logs(options))).map(({ text }) => text)
  expect(await texts({ tail: 3 })).toEqual(['998', '999', '1000'])
  expect(await texts({ since: '1h', tail: 1 })).toEqual(['1000'])
  expect(await texts({ until: '1h' })).toEqual([])
})

test('rotated by size and count, the newest lines stay', async () => {
  await using container = await created('seq 1 20000', {
    logs: { maxSize: '64k', maxFiles: 3 },
  })
  await container.start()
  await container.wait()
  const files = await readdir(join(host.root, 'containers', container.id, 'log'))
  expect(files.toSorted()).toEqual(['container.log', 'container.log.1', 'container.log.2'])
  const numbers = (await all(container.logs())).map(({ text }) => Number(text))
  expect(numbers.at(-1)).toBe(20_000)
  expect(numbers).toEqual(numbers.map((_, index) => 20_000 - numbers.length + index + 1))
  expect(numbers.length).toBeGreaterThan(1000)
})

test('bytes come back as they were written, in lines of any length', async () => {
  const bytes = 3_000_000
  await using container = await created(
    `head -c ${bytes} /dev/urandom > /tmp/noise; cat /tmp/noise; sleep 1000`,
  )
  await container.start()
  const written = createHash('sha256')
  const read: Buffer[] = []
  let length = 0
  for await (const { bytes: line, partial } of container.logs({ follow: true })) {
    const end = partial ? Buffer.alloc(0) : Buffer.from('\n')
    read.push(line, end)
    length += line.length + end.length
    // The last line has no end, and is not there before the program ends.
    if (length > bytes - 20_000) break
  }
  const head = await container.exec([
    'sh',
    '-c',
    `head -c ${length} /tmp/noise > /tmp/head; stat -c %s /tmp/head`,
  ])
  expect(head.stdout.trim()).toBe(`${length}`)
  const process = await container.spawn(['cat', '/tmp/head'])
  for await (const chunk of process.stdout as AsyncIterable<Buffer>) written.update(chunk)
  expect(createHash('sha256').update(Buffer.concat(read)).digest('hex')).toBe(written.digest('hex'))
})

test('a flood is followed in constant memory', async () => {
  await using container = await created('yes flooding the log | head -n 1500000', {
    logs: { maxSize: '200m' },
  })
  await container.start()
  globalThis.gc?.()
  const before = process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers
  let lines = 0
  let most = 0
  for await (const { bytes } of container.logs({ follow: true })) {
    lines += bytes.length === 'flooding the log'.length ? 1 : 0
    if (lines % 10_000 === 0) {
      const { heapUsed, arrayBuffers } = process.memoryUsage()
      most = Math.max(most, heapUsed + arrayBuffers - before)
    }
  }
  expect(lines).toBe(1_500_000)
  expect(most).toBeLessThan(150 * 1024 * 1024)
})

test('without a log there is nothing to read', async () => {
  await using container = await created('echo unheard', { logs: 'none' })
  expect(() => container.logs()).toThrow(
    expect.objectContaining({ code: 'KEELSON_INVALID_OPTION', option: 'logs' }),
  )
})

test.each([
  ['short', 10, 20_000],
  ['of more than one piece', 40_000, 200],
])(
  'of a flood of lines, %s, nothing is missing before the end when the monitor is killed',
  async (_, length, count) => {
    const line = `BEGIN { x = sprintf("%${length}s", ""); gsub(/ /, "x", x); for (i = 1; ; i++) print i x }`
    await using container = await host.engine.containers.run({
      image: host.image,
      command: ['/bin/busybox', 'awk', line],
    })
    const ended = container.wait({ condition: 'next-exit' })
    let seen = 0
    for await (const _entry of container.logs({ follow: true })) if (++seen === count) break
    const { monitor } = JSON.parse(
      await readFile(join((await container.inspect()).directories.record, 'state.json'), 'utf8'),
    ) as { monitor: number }
    process.kill(monitor, 'SIGKILL')
    await ended
    const entries = await all(container.logs())
    expect(entries.length).toBeGreaterThanOrEqual(count)
    const last = entries.pop()
    const whole = (number: number) => `${number}${'x'.repeat(length)}`
    const wrong = entries.findIndex(({ text }, index) => text !== whole(index + 1))
    expect(entries[wrong]?.text.slice(0, 20)).toBeUndefined()
    expect(entries.some(({ partial }) => partial)).toBe(false)
    // What was in the monitor's hands, or in the pipe, is lost with it: the end of the last line, and what came after.
    expect(whole(entries.length + 1).startsWith(last?.text ?? '?')).toBe(true)
  },
)
