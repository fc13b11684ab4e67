import { describe, expect, onTestFinished, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { RegistryClient } from '../../src/registry/client.ts'
import type { RegistryClientOptions } from '../../src/registry/options.ts'
import { serve } from './serve.ts'

const CONFIG = {
  mediaType: MEDIA_TYPES.ociConfig,
  digest: digestOf('{}'),
  size: 2,
}
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: CONFIG,
    layers: [],
  }),
)

function open(options: RegistryClientOptions = {}): RegistryClient {
  const client = new RegistryClient({
    env: {},
    homeDirectory: '/nonexistent',
    certificateDirectories: [],
    retry: { base: 1, max: 5 },
    ...options,
  })
  onTestFinished(() => client.close())
  return client
}

describe('a manifest', () => {
  test('by tag comes with its real digest, size and media type', async () => {
    const registry = await serve((_, answer) => {
      answer.setHeader('content-type', `${MEDIA_TYPES.ociManifest}; charset=utf-8`)
      answer.end(MANIFEST)
    })
    const { descriptor, bytes } = await open().manifest(parseReference(`${registry.host}/a/b:1`))
    expect(bytes).toEqual(MANIFEST)
    expect(descriptor).toEqual({
      mediaType: MEDIA_TYPES.ociManifest,
      digest: digestOf(MANIFEST),
      size: MANIFEST.length,
    })
    expect(registry.requests).toEqual(['GET /v2/', 'GET /v2/a/b/manifests/1'])
    expect(registry.headers[1]).toMatchObject({
      'accept-encoding': 'identity',
      'user-agent': expect.stringMatching(/^keelson\/\d/),
      accept: expect.stringContaining(MEDIA_TYPES.dockerList),
    })
  })
})
