import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { layer } from '../support/layers.ts'
import { noise, pulling } from '../support/pulling.ts'

const on = pulling()

describe('a registry that is not to be trusted', () => {
  test('refuses a layer with other bytes, and keeps nothing of it', async () => {
    const big = await noise(500_000)
    await on.serve([big])
    on.faultOf = ({ digest }) => (digest === big.digest ? { fault: 'corrupt' } : undefined)
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: big.digest,
    })
    await on.expectNothingHalf()
    expect(await on.partials()).toEqual([])
  })

  test('gets over bytes that were wrong once', async () => {
    const big = await noise(500_000)
    await on.serve([big])
    on.faultOf = ({ digest, previous }) =>
      digest === big.digest && previous === 0 ? { fault: 'corrupt' } : undefined
    expect((await on.storage.images.pull(on.reference())).chain).toHaveLength(1)
  })

  test('says that bytes were wrong, whoever notices it first', async () => {
    // Unpacking fails at once, and would end a download that has not come to its digest.
    const big = await layer([{ name: 'noise', content: randomBytes(2_000_000) }], 'gzip')
    await on.serve([big])
    let wrong = 2
    on.faultOf = ({ digest }) =>
      digest === big.digest && wrong-- > 0 ? { fault: 'corrupt' } : undefined
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: big.digest,
    })
    await on.expectNothingHalf()
    expect(await on.partials()).toEqual([])
    expect((await on.storage.images.pull(on.reference())).chain).toHaveLength(1)
  })

  test('begins anew when what it goes on with has other bytes', async () => {
    const big = await noise(500_000)
    await on.serve([big])
    await writeFile(on.storage.store.layout.partial(big.digest), big.bytes.subarray(0, 100_000))
    on.faultOf = ({ digest, headers }) =>
      digest === big.digest && headers.range !== undefined ? { fault: 'corrupt' } : undefined
    expect((await on.storage.images.pull(on.reference())).chain).toHaveLength(1)
    const ranges = on.blobRequests(big.digest).map(({ headers }) => headers.range)
    expect(ranges).toEqual(['bytes=100000-', undefined])
    expect(await on.storage.store.verify({ ...big, size: big.bytes.length })).toBe(true)
  })

  test('says so when the bytes are other ones from both, and takes the right ones later', async () => {
    const big = await noise(500_000)
    await on.serve([big])
    await writeFile(on.storage.store.layout.partial(big.digest), big.bytes.subarray(0, 100_000))
    on.faultOf = ({ digest }) => (digest === big.digest ? { fault: 'corrupt' } : undefined)
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: big.digest,
    })
    await on.expectNothingHalf()
    expect(await on.partials()).toEqual([])
    on.faultOf = () => undefined
    expect((await on.storage.images.pull(on.reference())).chain).toHaveLength(1)
  })

  test('gets over a half blob with foreign bytes', async () => {
    const big = await noise(500_000)
    await on.serve([big])
    await writeFile(on.storage.store.layout.partial(big.digest), randomBytes(100_000))
    expect((await on.storage.images.pull(on.reference())).chain).toHaveLength(1)
  })

  test.each([
    ['short', { fault: 'short', bytes: 10 }],
    ['long', { fault: 'long', bytes: 10 }],
  ] as const)('refuses a layer that is too %s', async (_, fault) => {
    const big = await noise(50_000)
    await on.serve([big])
    on.faultOf = ({ digest }) => (digest === big.digest ? fault : undefined)
    const error = await on.storage.images.pull(on.reference()).catch((failure: unknown) => failure)
    expect(error).toMatchObject({ name: 'ContentError' })
    expect(await on.storage.store.has(big.digest)).toBe(false)
    await on.expectNothingHalf()
  })

  test.each(['config', 'manifest'] as const)('refuses a %s with other bytes', async (which) => {
    const documents = await on.serve([await noise(1000)])
    const pinned = `${on.registry.host}/app@${documents.manifest.digest}`
    on.faultOf = ({ digest }) =>
      digest === documents[which].digest ? { fault: 'corrupt' } : undefined
    await expect(on.storage.images.pull(pinned)).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
    })
    await on.expectNothingHalf()
  })

  test('refuses a layer that unpacks to something else than the configuration says', async () => {
    const forged = { ...(await noise(1000)), diffId: digestOf('something else') }
    await on.serve([forged])
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_DIGEST_MISMATCH',
      expected: forged.diffId,
    })
    await on.expectNothingHalf()
    expect(await on.storage.snapshotter.has(forged.diffId)).toBe(false)
  })

  test('refuses an image whose parts do not fit together', async () => {
    const rootfs = { type: 'layers', diff_ids: [digestOf('a'), digestOf('b')] }
    await on.serve([await noise(1000)], { rootfs })
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_INVALID',
    })
    await on.expectNothingHalf()
  })

  test('refuses a configuration that is said to be enormous, before it asks for it', async () => {
    const config = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf('x'), size: 1e12 }
    await on.registry.addManifest('app', '1', { schemaVersion: 2, config, layers: [] })
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_INVALID',
    })
    expect(on.requests.filter((request) => request.kind === 'blob')).toEqual([])
  })

  test('refuses what is not an image', async () => {
    const config = await on.registry.addBlob(
      'app',
      '{}',
      'application/vnd.cncf.helm.config.v1+json',
    )
    await on.registry.addManifest('app', '1', { schemaVersion: 2, config, layers: [] })
    await expect(on.storage.images.pull(on.reference())).rejects.toMatchObject({
      code: 'KEELSON_MANIFEST_UNSUPPORTED',
    })
    await on.expectNothingHalf()
  })
})
