import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { Registry } from '../../src/registry-server/index.ts'
import { document } from '../support/image-layout.ts'
import { ask } from './ask.ts'

const CONTENT = Buffer.from('0123456789')

async function withImage() {
  const registry = await Registry.listen()
  const blob = await registry.addBlob('team/app', CONTENT, MEDIA_TYPES.ociLayer)
  const config = await registry.addBlob('team/app', '{}', MEDIA_TYPES.ociConfig)
  const manifest = await registry.addManifest('team/app', '1', {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config,
    layers: [blob],
  })
  return { registry, blob, config, manifest }
}

describe('manifests', () => {
  test('by tag and by digest, with their type, digest and length', async () => {
    const { registry, manifest } = await withImage()
    await using _ = registry
    for (const reference of ['1', manifest.digest]) {
      const got = await ask(registry, 'GET', `/v2/team/app/manifests/${reference}`)
      expect(got.status).toBe(200)
      expect(digestOf(got.body)).toBe(manifest.digest)
      const head = await ask(registry, 'HEAD', `/v2/team/app/manifests/${reference}`)
      expect(head.body).toHaveLength(0)
      for (const { headers } of [got, head]) {
        expect(headers).toMatchObject({
          'content-type': MEDIA_TYPES.ociManifest,
          'content-length': String(manifest.size),
          'docker-content-digest': manifest.digest,
        })
      }
    }
  })

  test('are not sent to a client that does not accept their type', async () => {
    const { registry } = await withImage()
    await using _ = registry
    const get = (accept: string) =>
      ask(registry, 'GET', '/v2/team/app/manifests/1', { headers: { accept } })
    expect((await get(MEDIA_TYPES.dockerManifest)).code()).toBe('MANIFEST_UNKNOWN')
    expect((await get(`text/html, ${MEDIA_TYPES.ociManifest};q=0.5`)).status).toBe(200)
    expect((await get('*/*')).status).toBe(200)
  })

  test('that are not there are 404, each with its code', async () => {
    const { registry } = await withImage()
    await using _ = registry
    const code = async (path: string) => {
      const answer = await ask(registry, 'GET', path)
      expect(answer.status).toBe(404)
      return answer.code()
    }
    expect(await code('/v2/team/app/manifests/2')).toBe('MANIFEST_UNKNOWN')
    expect(await code(`/v2/team/app/manifests/${digestOf('no')}`)).toBe('MANIFEST_UNKNOWN')
    expect(await code('/v2/other/manifests/1')).toBe('NAME_UNKNOWN')
    expect(await code(`/v2/team/app/blobs/${digestOf('no')}`)).toBe('BLOB_UNKNOWN')
    expect(await code('/v1/search')).toBe('UNSUPPORTED')
  })
})

describe('blobs', () => {
  test('belong to a repository, even when another has the same bytes', async () => {
    const { registry, blob } = await withImage()
    await using _ = registry
    await registry.addBlob('other', 'else')
    expect((await ask(registry, 'GET', `/v2/team/app/blobs/${blob.digest}`)).body).toEqual(CONTENT)
    expect((await ask(registry, 'GET', `/v2/other/blobs/${blob.digest}`)).status).toBe(404)
  })

  test.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
    ['bytes=7-', 206, '789', 'bytes 7-9/10'],
    ['bytes=-2', 206, '89', 'bytes 8-9/10'],
    ['bytes=5-100', 206, '56789', 'bytes 5-9/10'],
    ['bytes=4-2', 200, '0123456789', undefined],
    ['bytes=0-1,3-4', 200, '0123456789', undefined],
    ['lines=0-1', 200, '0123456789', undefined],
  ])('Range %s is answered %i', async (range, status, body, contentRange) => {
    const { registry, blob } = await withImage()
    await using _ = registry
    const got = await ask(registry, 'GET', `/v2/team/app/blobs/${blob.digest}`, {
      headers: { range },
    })
    expect(got.status).toBe(status)
    expect(got.body.toString()).toBe(body)
    expect(got.headers['content-range']).toBe(contentRange)
    expect(got.headers['content-length']).toBe(String(body.length))
  })

  test.each(['bytes=10-', 'bytes=99-100', 'bytes=-0'])('Range %s is 416', async (range) => {
    const { registry, blob } = await withImage()
    await using _ = registry
    const got = await ask(registry, 'GET', `/v2/team/app/blobs/${blob.digest}`, {
      headers: { range },
    })
    expect(got.status).toBe(416)
    expect(got.headers['content-range']).toBe('bytes */10')
  })

  test('If-Range with another validator gets the whole', async () => {
    const { registry, blob } = await withImage()
    await using _ = registry
    const get = (condition: string) =>
      ask(registry, 'GET', `/v2/team/app/blobs/${blob.digest}`, {
        headers: { range: 'bytes=1-1', 'if-range': condition },
      })
    expect((await get('"other"')).status).toBe(200)
    expect((await get(`"${blob.digest}"`)).status).toBe(206)
  })
})

describe('lists', () => {
  test('of tags come in pages whose links lead through all of them', async () => {
    await using registry = await Registry.listen()
    for (const tag of ['c', 'a', 'd', 'b']) await registry.addManifest('app', tag, { n: tag })
    const seen: string[] = []
    let next: string | undefined = '/v2/app/tags/list?n=3'
    const pages: number[] = []
    while (next !== undefined) {
      const answer = await ask(registry, 'GET', next)
      const { tags } = answer.json() as { tags: string[] }
      seen.push(...tags)
      pages.push(tags.length)
      const link = answer.headers['link']
      next = /^<(?<url>[^>]+)>; rel="next"$/.exec(String(link))?.groups?.['url']
    }
    expect(seen).toEqual(['a', 'b', 'c', 'd'])
    expect(pages).toEqual([3, 1])
    expect((await ask(registry, 'GET', '/v2/app/tags/list?n=x')).status).toBe(400)
    expect((await ask(registry, 'GET', '/v2/app/tags/list?n=0')).json()).toEqual({
      name: 'app',
      tags: [],
    })
    expect((await ask(registry, 'GET', '/v2/none/tags/list')).code()).toBe('NAME_UNKNOWN')
  })

  test('of repositories', async () => {
    await using registry = await Registry.listen()
    await registry.addBlob('b/x', 'b')
    await registry.addBlob('a', 'a')
    expect((await ask(registry, 'GET', '/v2/_catalog')).json()).toEqual({
      repositories: ['a', 'b/x'],
    })
  })

  test('of referrers, filtered by artifact type', async () => {
    const { registry, manifest, config } = await withImage()
    await using _ = registry
    const put = async (artifactType: string) => {
      const { bytes, descriptor } = document(MEDIA_TYPES.ociManifest, {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        artifactType,
        config,
        layers: [],
        subject: manifest,
        annotations: { kind: artifactType },
      })
      const answer = await ask(registry, 'PUT', `/v2/team/app/manifests/${descriptor.digest}`, {
        headers: { 'content-type': MEDIA_TYPES.ociManifest },
        body: bytes,
      })
      expect(answer.headers['oci-subject']).toBe(manifest.digest)
      return { ...descriptor, artifactType, annotations: { kind: artifactType } }
    }
    const [signature, sbom] = [
      await put('application/x-signature'),
      await put('application/x-sbom'),
    ]
    const path = `/v2/team/app/referrers/${manifest.digest}`
    const all = await ask(registry, 'GET', path)
    expect(all.headers['content-type']).toBe(MEDIA_TYPES.ociIndex)
    expect(all.json()).toMatchObject({ manifests: [signature, sbom] })
    const some = await ask(registry, 'GET', `${path}?artifactType=application/x-sbom`)
    expect(some.headers['oci-filters-applied']).toBe('artifactType')
    expect(some.json()).toMatchObject({ manifests: [sbom] })
    const none = await ask(registry, 'GET', `/v2/none/referrers/${manifest.digest}`)
    expect(none.json()).toMatchObject({ manifests: [] })
  })
})

test.each([
  ['/v2/UPPER/manifests/1', 'NAME_INVALID'],
  ['/v2/a//b/manifests/1', 'NAME_INVALID'],
  ['/v2/../etc/manifests/1', 'UNSUPPORTED'],
  ['/v2/a/manifests/sha256:12', 'DIGEST_INVALID'],
  ['/v2/a/blobs/latest', 'DIGEST_INVALID'],
  ['/v2/a/manifests/-tag', 'MANIFEST_UNKNOWN'],
])('%s is refused as %s', async (path, code) => {
  await using registry = await Registry.listen()
  expect((await ask(registry, 'GET', path)).code()).toBe(code)
})

test('an endpoint refuses the methods that it has not', async () => {
  await using registry = await Registry.listen()
  expect((await ask(registry, 'DELETE', '/v2/')).status).toBe(405)
  expect((await ask(registry, 'POST', '/v2/a/tags/list')).status).toBe(405)
  expect((await ask(registry, 'PUT', '/v2/a/blobs/uploads/')).status).toBe(405)
})
