import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { NameQuestion } from '../../src/index.ts'
import { lookUp, lookUpBlocking } from '../support/names.ts'
import { ask, networkedWithNames } from '../support/networked.ts'

const on = networkedWithNames()
const { start } = on
const files = async () => {
  const directory = join(on.test.runRoot, 'networks', on.network.id, 'resolvers')
  return await readdir(directory).catch(() => [])
}

describe('a function that resolves names', () => {
  it('answers, refuses, and leaves to others, until it is closed', async () => {
    const client = await start({ name: 'client' })
    const asked: Omit<NameQuestion, 'signal'>[] = []
    const resolver = await on.network.resolve(async ({ name, type, container }) => {
      asked.push({ name, type, container })
      await Promise.resolve()
      if (name === 'api.test') return ['203.0.113.9', '2001:db8::9']
      if (name === '9.113.0.203.in-addr.arpa') return 'api.test'
      if (name === 'plain.example.test') return '203.0.113.66'
      return name.startsWith('secret') ? null : undefined
    })
    expect(await ask(client, 'resolve4', 'API.test')).toEqual(['203.0.113.9'])
    expect(await ask(client, 'resolve6', 'api.test')).toEqual(['2001:db8::9'])
    expect(await ask(client, 'resolveTxt', 'api.test')).toMatch(/ENODATA/)
    expect(await ask(client, 'reverse', '203.0.113.9')).toEqual(['api.test'])
    expect(await ask(client, 'resolve4', 'secret.test')).toBe('ENOTFOUND')
    expect(await ask(client, 'resolve4', 'client')).toHaveLength(1)
    expect(await ask(client, 'resolve4', 'plain.example.test')).toEqual(['203.0.113.66'])
    expect(await ask(client, 'resolve4', 'big.example.test')).toHaveLength(60)
    expect(asked[0]).toEqual({ name: 'api.test', type: 'A', container: client.id })
    expect(asked.map(({ type }) => type)).toEqual(expect.arrayContaining(['AAAA', 'TXT', 'PTR']))
    await resolver.close()
    expect(await ask(client, 'resolve4', 'plain.example.test')).toEqual(['198.51.100.7'])
    expect(await ask(client, 'resolve4', 'api.test')).toBe('ENOTFOUND')
    expect(await files()).toEqual([])
  })

  it('is asked before older ones, on its own network alone', async () => {
    await on.test.engine.networks.create({ name: 'other' })
    const [client, stranger] = [await start(), await start({ networks: 'other' })]
    await using _old = await on.network.resolve(({ name }) =>
      name.endsWith('.test') ? '203.0.113.1' : undefined,
    )
    await using _new = await on.network.resolve(({ name }) =>
      name === 'new.test' ? '203.0.113.2' : undefined,
    )
    expect(await ask(client, 'resolve4', 'new.test')).toEqual(['203.0.113.2'])
    expect(await ask(client, 'resolve4', 'old.test')).toEqual(['203.0.113.1'])
    expect(await ask(stranger, 'resolve4', 'new.test')).toBe('ENOTFOUND')
    await on.network.connect(stranger)
    expect(await ask(stranger, 'resolve4', 'new.test')).toEqual(['203.0.113.2'])
  })

  it.each([
    ['pass', ['198.51.100.7']],
    ['fail', 'ESERVFAIL'],
  ] as const)('that does not answer is fallen back from: %s', async (fallback, expected) => {
    const client = await start()
    const signals: AbortSignal[] = []
    await using _ = await on.network.resolve(
      async ({ name, signal }) => {
        if (name.startsWith('none')) throw new Error('broken')
        if (name.startsWith('how')) return 'no address'
        signals.push(signal)
        return await new Promise(() => {})
      },
      { timeout: 200, fallback },
    )
    expect(await ask(client, 'resolve4', 'plain.example.test')).toEqual(expected)
    await expect.poll(() => signals.every(({ aborted }) => aborted)).toBe(true)
    expect(signals.length).toBeGreaterThan(0)
    const none = await ask(client, 'resolve4', 'none.example.test')
    expect(none).toBe(fallback === 'pass' ? 'ENOTFOUND' : 'ESERVFAIL')
    await ask(client, 'resolveTxt', 'how.example.test')
    // Once, however often it is asked.
    const told = on.warnings.filter(({ code }) => code === 'network-resolver')
    expect(told.at(-1)?.message).toContain('broken')
  })

  it.each([
    ['pass', ['198.51.100.7']],
    ['fail', 'ESERVFAIL'],
  ] as const)(
    'of a program that is busy or gone is fallen back from: %s',
    async (fallback, expected) => {
      const client = await start({ detached: true })
      const { pid } = await client.state()
      await on.network.resolve(() => '203.0.113.9', { timeout: 200, fallback })
      expect(await lookUp(pid, 'resolve4', 'plain.example.test')).toEqual(['203.0.113.9'])
      expect(lookUpBlocking(pid, 'resolve4', 'plain.example.test')).toEqual(expected)
      await on.test.engine.close()
      const { root, runRoot } = on.test
      try {
        expect(await lookUp(pid, 'resolve4', 'plain.example.test')).toEqual(expected)
      } finally {
        Object.assign(on.test, { engine: await on.host.open({ root, runRoot }) })
      }
      // What is to fail does so until another takes its place.
      expect(await files()).toHaveLength(fallback === 'fail' ? 1 : 0)
      const network = await on.test.engine.networks.get('net')
      await using _ = await network.resolve(() => undefined)
      expect(await lookUp(pid, 'resolve4', 'plain.example.test')).toEqual(['198.51.100.7'])
      expect(await files()).toHaveLength(1)
    },
  )

  it('cannot be got around by a flood, and others are answered meanwhile', async () => {
    const [flooder, client] = [await start({ name: 'flooder' }), await start()]
    let [most, now] = [0, 0]
    await using _ = await on.network.resolve(
      async ({ container, signal }) => {
        if (container !== flooder.id) return '203.0.113.9'
        most = Math.max(most, ++now)
        await once(signal, 'abort')
        now--
        return undefined
      },
      { timeout: 2000 },
    )
    const socket = await flooder.connect(53, { host: '127.0.0.11' })
    for (let n = 0; n < 200; n++) socket.write(question(n))
    const answers: Buffer[] = []
    let heard = Buffer.alloc(0)
    const refused = new Promise<void>((resolve) => {
      socket.on('data', (bytes: Buffer) => {
        heard = Buffer.concat([heard, bytes])
        while (heard.length > 2 && heard.length >= 2 + heard.readUInt16BE()) {
          const end = 2 + heard.readUInt16BE()
          answers.push(heard.subarray(2, end))
          heard = heard.subarray(end)
          if (answers.length === 200 - 64) resolve()
        }
      })
    })
    await refused
    // SERVFAIL, which is what they would not be told by those who are asked next.
    expect(new Set(answers.map((answer) => answer.readUInt8(3) & 15))).toEqual(new Set([2]))
    expect(await ask(client, 'resolve4', 'plain.example.test')).toEqual(['203.0.113.9'])
    expect(most).toBe(64)
    socket.destroy()
  })
})

/** For an address of `plain.example.test`, as it goes over a connection. */
function question(id: number): Buffer {
  const labels = ['plain', 'example', 'test'].map((label) =>
    Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]),
  )
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  const message = Buffer.concat([head, ...labels, Buffer.from([0, 0, 1, 0, 1])])
  return Buffer.concat([Buffer.from([message.length >> 8, message.length & 255]), message])
}
