import { describe, expect, test } from 'vitest'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { Registry } from '../../src/registry-server/index.ts'
import { document } from '../support/image-layout.ts'
import { ask, type Answered } from './ask.ts'

const CONTENT = Buffer.from('content of a blob')
const DIGEST = digestOf(CONTENT)

async function begin(registry: Registry, repository = 'app'): Promise<string> {
  const answer = await ask(registry, 'POST', `/v2/${repository}/blobs/uploads/`)
  expect(answer.status).toBe(202)
  return String(answer.headers['location'])
}

const close = (location: string, digest: Digest) =>
  `${location}?${new URLSearchParams({ digest }).toString()}`

async function stored(registry: Registry, digest: Digest = DIGEST): Promise<Answered> {
  return await ask(registry, 'GET', `/v2/app/blobs/${digest}`)
}

describe('a blob is pushed', () => {
  test('by POST and PUT', async () => {
    await using registry = await Registry.listen()
    const done = await ask(registry, 'PUT', close(await begin(registry), DIGEST), { body: CONTENT })
    expect(done.status).toBe(201)
    expect(done.headers['docker-content-digest']).toBe(DIGEST)
    expect((await ask(registry, 'GET', String(done.headers['location']))).body).toEqual(CONTENT)
  })

  test('by one POST', async () => {
    await using registry = await Registry.listen()
    const path = close('/v2/app/blobs/uploads/', DIGEST)
    expect((await ask(registry, 'POST', path, { body: CONTENT })).status).toBe(201)
    expect((await stored(registry)).body).toEqual(CONTENT)
  })

  test('in chunks, whose order is kept and whose state can be asked for', async () => {
    await using registry = await Registry.listen()
    const location = await begin(registry)
    const patch = (from: number, to: number) =>
      ask(registry, 'PATCH', location, {
        headers: { 'content-range': `${from}-${to - 1}`, 'content-length': to - from },
        body: CONTENT.subarray(from, to),
      })
    const first = await patch(0, 5)
    expect(first.status).toBe(202)
    expect(first.headers['range']).toBe('0-4')
    const gap = await patch(9, 12)
    expect(gap.status).toBe(416)
    expect(gap.headers['range']).toBe('0-4')
    expect((await patch(0, 5)).status).toBe(416)
    const status = await ask(registry, 'GET', location)
    expect([status.status, status.headers['range']]).toEqual([204, '0-4'])
    expect((await patch(5, CONTENT.length)).status).toBe(202)
    expect((await ask(registry, 'PUT', close(location, DIGEST))).status).toBe(201)
    expect((await stored(registry)).body).toEqual(CONTENT)
  })

  test('as a stream, its last part with the PUT', async () => {
    await using registry = await Registry.listen()
    const location = await begin(registry)
    await ask(registry, 'PATCH', location, { body: CONTENT.subarray(0, 7) })
    const last = await ask(registry, 'PUT', close(location, DIGEST), { body: CONTENT.subarray(7) })
    expect(last.status).toBe(201)
    expect((await stored(registry)).body).toEqual(CONTENT)
  })

  test('under a sha512 digest', async () => {
    await using registry = await Registry.listen()
    const digest = digestOf(CONTENT, 'sha512')
    await ask(registry, 'PUT', close(await begin(registry), digest), { body: CONTENT })
    expect((await stored(registry, digest)).body).toEqual(CONTENT)
  })

  test('by a mount from another repository, or else an upload begins', async () => {
    await using registry = await Registry.listen()
    await registry.addBlob('source', CONTENT)
    const mount = (digest: Digest) =>
      ask(registry, 'POST', `/v2/app/blobs/uploads/?mount=${digest}&from=source`)
    expect((await mount(DIGEST)).status).toBe(201)
    expect((await stored(registry)).body).toEqual(CONTENT)
    const unknown = await mount(digestOf('other'))
    expect(unknown.status).toBe(202)
    expect(unknown.headers['location']).toMatch(/uploads\/./)
  })
})

describe('a blob is refused', () => {
  test('with another digest, and the upload is over', async () => {
    await using registry = await Registry.listen()
    const location = await begin(registry)
    const wrong = await ask(registry, 'PUT', close(location, DIGEST), { body: 'something else' })
    expect([wrong.status, wrong.code()]).toEqual([400, 'DIGEST_INVALID'])
    expect((await stored(registry)).status).toBe(404)
    expect((await ask(registry, 'GET', location)).code()).toBe('BLOB_UPLOAD_UNKNOWN')
  })

  test('without a digest, or one of an unknown algorithm', async () => {
    await using registry = await Registry.listen()
    const location = await begin(registry)
    expect((await ask(registry, 'PUT', location)).code()).toBe('DIGEST_INVALID')
    const md5 = await ask(registry, 'PUT', `${location}?digest=md5:abc`)
    expect(md5.code()).toBe('DIGEST_INVALID')
  })

  test('in an upload of another repository, or a cancelled one', async () => {
    await using registry = await Registry.listen()
    const location = await begin(registry)
    const elsewhere = location.replace('/app/', '/other/')
    expect((await ask(registry, 'PATCH', elsewhere, { body: 'x' })).status).toBe(404)
    expect((await ask(registry, 'DELETE', location)).status).toBe(204)
    expect((await ask(registry, 'PATCH', location, { body: 'x' })).status).toBe(404)
  })
})

const put = (
  registry: Registry,
  reference: string,
  body: Buffer,
  type: string = MEDIA_TYPES.ociManifest,
) =>
  ask(registry, 'PUT', `/v2/app/manifests/${reference}`, {
    headers: { 'content-type': type },
    body,
  })

const manifestOf = (config: object, layers: object[]) =>
  document(MEDIA_TYPES.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config,
    layers,
  })

const refused = async (answer: Promise<Answered>) => {
  const given = await answer
  return [given.status, given.code()]
}

describe('a manifest', () => {
  test('is taken when all that it names is there', async () => {
    await using registry = await Registry.listen()
    const config = await registry.addBlob('app', '{}', MEDIA_TYPES.ociConfig)
    const layer = { ...config, mediaType: MEDIA_TYPES.ociLayer, digest: DIGEST }
    const { bytes, descriptor } = manifestOf(config, [layer])
    const dangling = await put(registry, '1', bytes)
    expect([dangling.status, dangling.code()]).toEqual([404, 'MANIFEST_BLOB_UNKNOWN'])
    await registry.addBlob('app', CONTENT)
    const taken = await put(registry, '1', bytes)
    expect(taken.status).toBe(201)
    expect(taken.headers['docker-content-digest']).toBe(descriptor.digest)
    const index = document(MEDIA_TYPES.ociIndex, {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [descriptor],
    })
    expect((await put(registry, 'all', index.bytes, MEDIA_TYPES.ociIndex)).status).toBe(201)
  })

  test('is refused when it is not what it is said to be', async () => {
    await using registry = await Registry.listen()
    const config = await registry.addBlob('app', '{}', MEDIA_TYPES.ociConfig)
    const { bytes } = manifestOf(config, [])
    expect(await refused(put(registry, digestOf('other'), bytes))).toEqual([400, 'DIGEST_INVALID'])
    for (const answer of [
      put(registry, '1', bytes, MEDIA_TYPES.ociIndex),
      put(registry, '1', bytes, 'application/json'),
      put(registry, '1', Buffer.from('not json')),
      put(registry, '1', Buffer.from('{"schemaVersion":1,"fsLayers":[],"history":[]}')),
    ]) {
      expect(await refused(answer)).toEqual([400, 'MANIFEST_INVALID'])
    }
    const large = await put(registry, '1', Buffer.alloc(5 * 1024 * 1024, ' '))
    expect([large.status, large.code()]).toEqual([413, 'SIZE_INVALID'])
    expect((await ask(registry, 'GET', '/v2/app/tags/list')).json()).toMatchObject({ tags: [] })
  })

  test('is deleted by tag, which leaves it, or by digest, with its tags', async () => {
    await using registry = await Registry.listen()
    const { digest } = await registry.addManifest('app', '1', { one: 1 })
    await registry.addManifest('app', '2', { one: 1 })
    const status = async (method: string, reference: string) =>
      (await ask(registry, method, `/v2/app/manifests/${reference}`)).status
    expect(await status('DELETE', '1')).toBe(202)
    expect([await status('GET', '1'), await status('GET', digest)]).toEqual([404, 200])
    expect(await status('DELETE', digest)).toBe(202)
    expect([await status('GET', '2'), await status('GET', digest)]).toEqual([404, 404])
  })
})

test('a deleted blob is gone from its repository alone', async () => {
  await using registry = await Registry.listen()
  for (const repository of ['app', 'other']) await registry.addBlob(repository, CONTENT)
  expect((await ask(registry, 'DELETE', `/v2/app/blobs/${DIGEST}`)).status).toBe(202)
  expect((await stored(registry)).status).toBe(404)
  expect((await ask(registry, 'GET', `/v2/other/blobs/${DIGEST}`)).body).toEqual(CONTENT)
})

test('a read-only registry refuses every change', async () => {
  await using registry = await Registry.listen({ readonly: true })
  expect((await ask(registry, 'POST', '/v2/app/blobs/uploads/')).status).toBe(405)
  expect((await ask(registry, 'PUT', '/v2/app/manifests/1')).status).toBe(405)
  expect((await ask(registry, 'DELETE', `/v2/app/blobs/${DIGEST}`)).status).toBe(405)
})
