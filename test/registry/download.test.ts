import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import type { RegistryClientOptions } from '../../src/registry/options.ts'
import { collect, openClient } from './open-client.ts'
import { rawServer, serve, type Served } from './serve.ts'

const BLOB = randomBytes(300_000)
const DESCRIPTOR: Descriptor = {
  mediaType: MEDIA_TYPES.ociLayerGzip,
  digest: digestOf(BLOB),
  size: BLOB.length,
}

type Behaviour = (
  answer: ServerResponse,
  from: number,
  time: number,
  request: IncomingMessage,
) => void

/** Serves the blob; `behave` is told where the client wants to begin and for the how-manieth time it asks. */
function registryThat(behave: Behaviour): Promise<Served> {
  let time = 0
  return serve((request, answer) => {
    if (request.url === '/v2/') {
      answer.end('{}')
      return
    }
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? 'bytes=0-')?.[1])
    time++
    behave(answer, from, time, request)
  })
}

function sendPart(answer: ServerResponse, from: number, bytes: Buffer): void {
  if (from > 0) {
    answer.writeHead(206, {
      'content-range': `bytes ${from}-${BLOB.length - 1}/${BLOB.length}`,
      'content-length': `${BLOB.length - from}`,
    })
  } else answer.writeHead(200, { 'content-length': `${BLOB.length}` })
  if (bytes.length === BLOB.length - from) answer.end(bytes)
  else answer.write(bytes, () => answer.destroy())
}

const whole: Behaviour = (answer, from) => sendPart(answer, from, BLOB.subarray(from))

const fetchBlob = (registry: { host: string }, options = {}, client: RegistryClientOptions = {}) =>
  collect(
    openClient({ timeouts: { response: 2000, stall: 2000 }, ...client }).blob(
      parseReference(`${registry.host}/a/b`),
      DESCRIPTOR,
      options,
    ),
  )

/** Vitest compares buffers byte by byte, in seconds. */
const expectBlob = (bytes: Buffer, from = 0) => {
  expect(digestOf(bytes)).toBe(digestOf(BLOB.subarray(from)))
}

const blobRequests = (registry: Served) =>
  registry.requests.filter((each) => each.includes('/blobs/'))

describe('a blob', () => {
  test('comes whole, and from an offset on', async () => {
    const registry = await registryThat(whole)
    expectBlob(await fetchBlob(registry))
    expectBlob(await fetchBlob(registry, { offset: 299_999 }), 299_999)
    expect(registry.headers.at(-1)?.range).toBe('bytes=299999-')
    expect(blobRequests(registry)[0]).toBe(`GET /v2/a/b/blobs/${DESCRIPTOR.digest}`)
  })

  test('that is there already is not asked for', async () => {
    const registry = await registryThat(whole)
    expect(await fetchBlob(registry, { offset: BLOB.length })).toEqual(Buffer.alloc(0))
    expect(registry.requests).toEqual([])
  })

  test.each([-1, 1.5, BLOB.length + 1, NaN])('has no offset %d', async (offset) => {
    const registry = await registryThat(whole)
    await expect(fetchBlob(registry, { offset })).rejects.toMatchObject({
      code: 'KEELSON_INVALID_OPTION',
    })
  })

  test('that is cut again and again goes on where it was', async () => {
    const registry = await registryThat((answer, from) =>
      sendPart(answer, from, BLOB.subarray(from, from + 40_000)),
    )
    expectBlob(await fetchBlob(registry, {}, { retry: { attempts: 2 } }))
    expect(blobRequests(registry).length).toBeGreaterThan(5)
  })

  test('goes on from a server that knows no ranges', async () => {
    const registry = await registryThat((answer, _, time) => {
      sendPart(answer, 0, time < 3 ? BLOB.subarray(0, 100_000 * time) : BLOB)
    })
    expectBlob(await fetchBlob(registry))
    expect(blobRequests(registry)).toHaveLength(3)
  })

  test('goes on from a server that refuses ranges with 416', async () => {
    const registry = await registryThat((answer, from, time) => {
      if (from > 0) answer.writeHead(416).end()
      else sendPart(answer, 0, time === 1 ? BLOB.subarray(0, 1000) : BLOB)
    })
    expectBlob(await fetchBlob(registry))
  })

  test('goes on when the registry is restarted', async () => {
    const registry = await registryThat((answer, from, time) => {
      if (time === 1) sendPart(answer, from, BLOB.subarray(0, 1000))
      else if (time === 2) answer.writeHead(503).end()
      else if (time === 3) answer.destroy()
      else whole(answer, from, time, answer.req)
    })
    expectBlob(await fetchBlob(registry))
  })

  test('goes on after a stall', async () => {
    const registry = await registryThat((answer, from, time) => {
      if (time > 1) return sendPart(answer, from, BLOB.subarray(from))
      answer.writeHead(200, { 'content-length': `${BLOB.length}` })
      answer.write(BLOB.subarray(0, 1000))
    })
    expectBlob(await fetchBlob(registry, {}, { timeouts: { stall: 50 } }))
  })

  test('is given up after five tries without a byte', async () => {
    const registry = await registryThat((answer, from, time) => {
      if (time === 1) sendPart(answer, from, BLOB.subarray(0, 10))
      else answer.destroy()
    })
    await expect(fetchBlob(registry)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
    })
    expect(blobRequests(registry)).toHaveLength(5)
  })

  test('that comes byte by byte is given up at some time', async () => {
    const registry = await registryThat((answer, from) =>
      sendPart(answer, from, BLOB.subarray(from, from + 1)),
    )
    await expect(fetchBlob(registry, {}, { retry: { base: 0 } })).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
    })
    expect(blobRequests(registry)).toHaveLength(101)
  })

  test('does not outrun a slow consumer, who is not taken for a stall', async () => {
    const registry = await registryThat(whole)
    const client = openClient({ timeouts: { stall: 50 } })
    const chunks: Uint8Array[] = []
    for await (const chunk of client.blob(parseReference(`${registry.host}/a`), DESCRIPTOR)) {
      if (chunks.length === 0) await new Promise((resolve) => setTimeout(resolve, 150))
      chunks.push(chunk)
    }
    expectBlob(Buffer.concat(chunks))
    expect(blobRequests(registry)).toHaveLength(1)
  })
})

describe('a registry that lies about a blob', () => {
  const lies: [string, string, Behaviour][] = [
    [
      'is longer by its header',
      'KEELSON_SIZE_MISMATCH',
      (answer) => answer.writeHead(200, { 'content-length': '400000' }).end(),
    ],
    [
      'is shorter by its header',
      'KEELSON_SIZE_MISMATCH',
      (answer) => answer.writeHead(200, { 'content-length': '5' }).end('12345'),
    ],
    [
      'goes on too long',
      'KEELSON_SIZE_MISMATCH',
      (answer) => answer.writeHead(200).write(BLOB, () => answer.end('more')),
    ],
    [
      'ends early, each time',
      'KEELSON_SIZE_MISMATCH',
      (answer) => answer.writeHead(200).end(BLOB.subarray(0, 10)),
    ],
    [
      'has another total when resumed',
      'KEELSON_SIZE_MISMATCH',
      (answer, from) => {
        if (from === 0) sendPart(answer, 0, BLOB.subarray(0, 1000))
        else
          answer
            .writeHead(206, { 'content-range': `bytes ${from}-1999/2000` })
            .end(BLOB.subarray(from, 2000))
      },
    ],
    [
      'sends another range',
      'KEELSON_REGISTRY_PROTOCOL',
      (answer, from) => {
        if (from === 0) sendPart(answer, 0, BLOB.subarray(0, 1000))
        else
          answer
            .writeHead(206, { 'content-range': `bytes 5-${BLOB.length - 1}/${BLOB.length}` })
            .end(BLOB.subarray(5))
      },
    ],
    [
      'sends a range without saying which',
      'KEELSON_REGISTRY_PROTOCOL',
      (answer, from) => {
        if (from === 0) sendPart(answer, 0, BLOB.subarray(0, 1000))
        else answer.writeHead(206).end(BLOB.subarray(from))
      },
    ],
    [
      'sends a range nobody asked for',
      'KEELSON_REGISTRY_PROTOCOL',
      (answer) =>
        answer
          .writeHead(206, { 'content-range': `bytes 0-${BLOB.length - 1}/${BLOB.length}` })
          .end(BLOB),
    ],
    [
      'compresses it',
      'KEELSON_REGISTRY_PROTOCOL',
      (answer) => answer.writeHead(200, { 'content-encoding': 'gzip' }).end(BLOB),
    ],
    ['has none', 'KEELSON_BLOB_NOT_FOUND', (answer) => answer.writeHead(404).end()],
  ]
  test.each(lies)('and %s is %s', async (_, code, behave) => {
    const registry = await registryThat(behave)
    await expect(fetchBlob(registry)).rejects.toMatchObject({ code })
  })

  test('never gets more than the size through', async () => {
    const registry = await registryThat((answer) =>
      answer.writeHead(200).end(Buffer.concat([BLOB, BLOB])),
    )
    const client = openClient()
    let received = 0
    const read = async () => {
      for await (const chunk of client.blob(parseReference(`${registry.host}/a`), DESCRIPTOR))
        received += chunk.length
    }
    await expect(read()).rejects.toMatchObject({ code: 'KEELSON_SIZE_MISMATCH' })
    expect(received).toBeLessThanOrEqual(BLOB.length)
  })

  test('about an end that never comes has sent it all the same', async () => {
    const registry = await registryThat((answer) => answer.writeHead(200).write(BLOB))
    expectBlob(await fetchBlob(registry, {}, { timeouts: { stall: 50 } }))
  })
})

describe('downloads', () => {
  test('that lose their mirror go on at the registry itself', async () => {
    const mirror = await registryThat((answer, from, time) => {
      if (time === 1) sendPart(answer, from, BLOB.subarray(0, 1000))
      else answer.writeHead(500).end()
    })
    const origin = await registryThat(whole)
    const registries = { [origin.host]: { mirrors: [mirror.host] } }
    expectBlob(await fetchBlob(origin, {}, { registries }))
    expect(origin.headers.at(-1)?.range).toMatch(/^bytes=[1-9]/)
  })

  test('can leave mirrors out', async () => {
    const mirror = await registryThat(whole)
    const origin = await registryThat(whole)
    const registries = { [origin.host]: { mirrors: [mirror.host] } }
    expectBlob(await fetchBlob(origin, { mirrors: false }, { registries }))
    expect(mirror.requests).toEqual([])
  })

  test('of one host are under way a few at once', async () => {
    let open = 0
    let most = 0
    const waiting: (() => void)[] = []
    const registry = await registryThat((answer, from) => {
      open++
      most = Math.max(most, open)
      answer.once('close', () => open--)
      // Every answer waits until a second one was asked for, or none is left to come.
      waiting.push(() => sendPart(answer, from, BLOB.subarray(from)))
      if (waiting.length >= 2) waiting.splice(0).forEach((send) => send())
    })
    const client = openClient({ maxDownloadsPerHost: 2 })
    const reference = parseReference(`${registry.host}/a`)
    const all = Array.from({ length: 6 }, () => collect(client.blob(reference, DESCRIPTOR)))
    for (const blob of await Promise.all(all)) expectBlob(blob)
    expect(most).toBe(2)
  })

  test('that are left in the middle give up their place and their connection', async () => {
    const closed: Promise<void>[] = []
    const registry = await registryThat((answer, from, time) => {
      closed.push(new Promise((resolve) => answer.once('close', resolve)))
      if (time > 1) return sendPart(answer, from, BLOB)
      answer.writeHead(200, { 'content-length': `${BLOB.length}` })
      answer.write(BLOB.subarray(0, 1000))
    })
    const client = openClient({ maxDownloadsPerHost: 1 })
    const reference = parseReference(`${registry.host}/a`)
    for await (const chunk of client.blob(reference, DESCRIPTOR)) {
      expect(chunk.length).toBeGreaterThan(0)
      break
    }
    await closed[0]
    expectBlob(await collect(client.blob(reference, DESCRIPTOR)))
  })

  test('end with their signal, under way and while waiting for a place', async () => {
    const control = new AbortController()
    const registry = await registryThat((answer) => {
      answer.writeHead(200, { 'content-length': `${BLOB.length}` })
      answer.write(BLOB.subarray(0, 1000), () => setImmediate(() => control.abort()))
    })
    const client = openClient({ maxDownloadsPerHost: 1 })
    const reference = parseReference(`${registry.host}/a`)
    const both = [1, 2].map(() =>
      collect(client.blob(reference, DESCRIPTOR, { signal: control.signal })),
    )
    for (const each of await Promise.allSettled(both)) {
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'KEELSON_ABORTED' } })
    }
    expect(blobRequests(registry)).toHaveLength(1)
  })

  test('from a server that sends more than its Content-Length keep to it', async () => {
    const { host } = await rawServer((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${BLOB.length}\r\n\r\n`)
        socket.write(Buffer.concat([BLOB, Buffer.from('garbage')]))
      })
    })
    // Whether the garbage or the end is seen first is for the kernel's packets to say.
    const registries = { [host]: { mirrors: [`http://${host}`] } }
    const result = await fetchBlob({ host }, {}, { registries }).catch((error: unknown) => error)
    if (result instanceof Buffer) expectBlob(result)
    else expect(result).toMatchObject({ code: 'KEELSON_REGISTRY_PROTOCOL' })
  })
})
