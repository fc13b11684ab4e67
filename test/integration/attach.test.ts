import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CreateOptions } from '../../src/index.ts'
import { scripted, testEngine, type TestEngine } from '../support/engine.ts'
import { toEnd, until } from '../support/streams.ts'

let host: TestEngine

beforeAll(async () => {
  host = await testEngine()
})

afterAll(async () => {
  await host[Symbol.asyncDispose]()
})

const created = (script: string, options?: Partial<CreateOptions>) =>
  scripted(host, script, options)

describe('attached before the start', () => {
  test('nothing is missed, by any number', async () => {
    await using container = await created('seq 1 20000; echo oops >&2')
    const attachments = await Promise.all([container.attach(), container.attach()])
    await container.start()
    const expected = `${Array.from({ length: 20_000 }, (_, n) => n + 1).join('\n')}\n`
    for (const { stdout, stderr, closed } of attachments) {
      const [out, err] = await Promise.all([toEnd(stdout), toEnd(stderr)])
      expect(out).toBe(expected)
      expect(err).toBe('oops\n')
      expect(await closed).toBe(false)
    }
    expect(await container.wait()).toMatchObject({ exitCode: 0 })
  })

  test('standard input is written and closed', async () => {
    await using container = await created('cat; echo closed', { stdin: true })
    const { stdin, stdout } = await container.attach()
    await container.start()
    stdin.write('one\n')
    expect(await until(stdout, 'one\n')).toBe('one\n')
    stdin.end('two\n')
    expect(await toEnd(stdout)).toBe('two\nclosed\n')
  })
})

describe('attached where nothing runs', () => {
  test('an ended container is started again, and heard from its first byte', async () => {
    await using container = await created('echo run')
    await container.start()
    await container.wait()
    const { stdout, stderr, closed } = await container.attach()
    await container.start()
    expect(await Promise.all([toEnd(stdout), toEnd(stderr)])).toEqual(['run\n', ''])
    expect(await closed).toBe(false)
  })

  test('a container is removed all the same, and lets go', async () => {
    const container = await created('true')
    const { stdout, stderr, closed } = await container.attach()
    await container.remove()
    expect(await Promise.all([toEnd(stdout), toEnd(stderr)])).toEqual(['', ''])
    expect(await closed).toBe(false)
  })

  test('a size says nothing, and does no harm', async () => {
    await using container = await created('true', { tty: true })
    await using attachment = await container.attach()
    await attachment.resize({ columns: 80, rows: 24 })
    await expect(attachment.resize({ columns: -1, rows: 24 })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
      option: 'columns',
    })
  })
})

describe('attached to a running container', () => {
  test('detaching leaves it alone, and another may come', async () => {
    await using container = await created('while read line; do echo "<$line>"; done', {
      stdin: true,
    })
    await container.start()
    const first = await container.attach()
    first.stdin.write('a\n')
    await until(first.stdout, '<a>')
    first.detach()
    expect(await first.closed).toBe(true)
    const controller = new AbortController()
    const second = await container.attach({ signal: controller.signal })
    second.stdin.write('b\n')
    await until(second.stdout, '<b>')
    controller.abort()
    expect(await second.closed).toBe(true)
    expect(await container.status()).toBe('running')
  })
})

describe('with a terminal', () => {
  test('there is one stream, a size, and /dev/console', async () => {
    await using container = await created(
      'stat -c %t /dev/console; read line; stty size; echo "<$line>"',
      {
        tty: true,
        stdin: true,
      },
    )
    const attached = await container.attach()
    await container.start()
    expect(await until(attached.stdout, '\r\n')).toBe('88\r\n')
    await attached.resize({ columns: 91, rows: 17 })
    attached.stdin.write('typed\n')
    const rest = await toEnd(attached.stdout)
    expect(rest).toContain('17 91\r\n')
    expect(rest).toContain('<typed>\r\n')
    expect(await toEnd(attached.stderr)).toBe('')
    expect(await container.wait()).toMatchObject({ exitCode: 0 })
  })

  test('the detach keys detach and are not typed', async () => {
    await using container = await created('while read line; do echo "<$line>"; done', {
      tty: true,
      stdin: true,
    })
    await container.start()
    const first = await container.attach()
    first.stdin.write('a\x10b\n')
    await until(first.stdout, '<a\x10b>')
    first.stdin.write('kept\x10\x11')
    expect(await first.closed).toBe(true)
    const second = await container.attach({ detachKeys: 'x,y' })
    second.stdin.write('\n')
    await until(second.stdout, '<kept>')
    second.stdin.write('xy')
    expect(await second.closed).toBe(true)
    await expect(container.attach({ detachKeys: 'ctrl-1' })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
    expect(await container.status()).toBe('running')
  })

  test('with init too, the program is in the foreground of its terminal', async () => {
    await using container = await created('read line; echo "<$line>"', {
      tty: true,
      stdin: true,
      init: true,
    })
    const { stdin, stdout } = await container.attach()
    await container.start()
    stdin.write('typed\n')
    expect(await toEnd(stdout)).toContain('<typed>')
  })
})
