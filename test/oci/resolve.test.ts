import { expect, test } from 'vitest'
import type { Descriptor } from '../../src/oci/descriptor.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { Index, Manifest } from '../../src/oci/manifest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { resolveManifest } from '../../src/oci/resolve.ts'

const linux = { os: 'linux', architecture: 'amd64' }
const named = (name: string): Descriptor => ({
  mediaType: MEDIA_TYPES.ociIndex,
  digest: digestOf(name),
  size: 1,
})
const indexOf = (...manifests: Descriptor[]): Index => ({
  kind: 'index',
  mediaType: MEDIA_TYPES.ociIndex,
  manifests,
})
const manifest: Manifest = {
  kind: 'manifest',
  mediaType: MEDIA_TYPES.ociManifest,
  config: named('config'),
  layers: [],
}

function loader(documents: Record<string, Index | Manifest>) {
  const byDigest = new Map(
    Object.entries(documents).map(([name, each]) => [named(name).digest, each]),
  )
  return async (descriptor: Descriptor) => {
    const found = byDigest.get(descriptor.digest)
    if (found === undefined) throw new Error('nothing there')
    return found
  }
}

test('goes through nested indexes', async () => {
  const load = loader({
    a: indexOf(named('b')),
    b: indexOf({ ...named('c'), platform: linux }),
    c: manifest,
  })
  const resolved = await resolveManifest(named('a'), load, linux)
  expect(resolved.manifest).toBe(manifest)
  expect(resolved.descriptor.digest).toBe(named('c').digest)
  expect(resolved.indexes.map(({ descriptor }) => descriptor.digest)).toEqual([
    named('a').digest,
    named('b').digest,
  ])
})

test.each([
  ['itself', { a: indexOf(named('a')) }, /points to itself/],
  ['back', { a: indexOf(named('b')), b: indexOf(named('a')) }, /points to itself/],
  [
    'ever deeper',
    {
      a: indexOf(named('b')),
      b: indexOf(named('c')),
      c: indexOf(named('d')),
      d: indexOf(named('e')),
    },
    /more than 4 deep/,
  ],
])('refuses an index that points %s', async (_, documents, message) => {
  await expect(resolveManifest(named('a'), loader(documents), linux)).rejects.toMatchObject({
    code: 'KEELSON_MANIFEST_INVALID',
    message: expect.stringMatching(message),
  })
})
