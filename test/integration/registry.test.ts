import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { decodeImageConfig } from '../../src/oci/image-config.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { decodeManifest, imageLayers } from '../../src/oci/manifest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { parseReference } from '../../src/oci/reference.ts'
import { imageSchemas } from '../oci/schemas.ts'
import { collect, openClient } from '../registry/open-client.ts'
import { busyboxImage, type CachedImage } from '../support/busybox-image.ts'
import { dockerRegistry, type DockerRegistryOptions } from '../support/docker-registry.ts'
import { run } from '../support/process.ts'
import { pushLayout } from '../support/push.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { tokenServer } from '../support/token-server.ts'

const LOGIN = { username: 'ann', password: 'pa:ss word' }

let busybox: CachedImage
beforeAll(async () => {
  busybox = await busyboxImage()
})

/** Debian's registry with the busybox image in it. */
async function registryWith(options: DockerRegistryOptions = {}) {
  const registry = await dockerRegistry(options)
  onTestFinished(() => registry[Symbol.asyncDispose]())
  const auth = options.auth === undefined ? {} : { auth: options.auth }
  const descriptor = await pushLayout(busybox.layout, busybox.name, registry, auth)
  return { registry, descriptor, reference: parseReference(`${registry.host}/${busybox.name}`) }
}

/** Reads an image whole, and checks every document and blob of it. */
async function readImage(client: ReturnType<typeof openClient>, text: string) {
  const reference = parseReference(text)
  const { bytes, descriptor } = await client.manifest(reference)
  const manifest = decodeManifest(bytes, descriptor.mediaType)
  if (manifest.kind !== 'manifest') throw new Error('an index')
  const configBytes = await collect(client.blob(reference, manifest.config))
  expect(digestOf(configBytes)).toBe(manifest.config.digest)
  for (const { descriptor: layer } of imageLayers(manifest)) {
    expect(digestOf(await collect(client.blob(reference, layer)))).toBe(layer.digest)
  }
  return { descriptor, manifest, config: decodeImageConfig(configBytes), bytes, configBytes }
}

describe("Debian's docker-registry", () => {
  test('on plain HTTP gives manifests and blobs, from any offset', async () => {
    const { descriptor, reference } = await registryWith()
    const client = openClient()
    const image = await readImage(client, reference.toString())
    expect(image.descriptor).toEqual(descriptor)
    const layer = image.manifest.layers[0]
    if (layer === undefined) throw new Error('no layer')
    const whole = await collect(client.blob(reference, layer))
    const rest = await collect(client.blob(reference, layer, { offset: 1000 }))
    expect(digestOf(rest)).toBe(digestOf(whole.subarray(1000)))
    expect((await client.manifest(reference.withDigest(descriptor.digest))).descriptor).toEqual(
      descriptor,
    )
  })

  test('says what it does not have', async () => {
    const { registry, reference } = await registryWith()
    const client = openClient()
    await expect(client.manifest(parseReference(`${registry.host}/nothing`))).rejects.toMatchObject(
      { code: 'KEELSON_IMAGE_NOT_FOUND' },
    )
    await expect(client.manifest(parseReference(`${reference.name}:none`))).rejects.toMatchObject({
      code: 'KEELSON_IMAGE_NOT_FOUND',
    })
    const absent = { mediaType: MEDIA_TYPES.ociLayer, digest: digestOf('absent'), size: 6 }
    await expect(collect(client.blob(reference, absent))).rejects.toMatchObject({
      code: 'KEELSON_BLOB_NOT_FOUND',
    })
  })

  test('finds out about a blob that is not as long as its descriptor says', async () => {
    const { reference } = await registryWith()
    const client = openClient()
    const { manifest } = await readImage(client, reference.toString())
    for (const size of [manifest.config.size - 1, manifest.config.size + 1]) {
      await expect(
        collect(client.blob(reference, { ...manifest.config, size })),
      ).rejects.toMatchObject({ code: 'KEELSON_SIZE_MISMATCH' })
    }
  })

  test('with TLS and htpasswd wants the authority and the login', async () => {
    const { registry, descriptor, reference } = await registryWith({ tls: true, auth: LOGIN })
    const ca = registry.certificates?.ca.cert ?? ''
    const trusting = { registries: { [registry.host]: { ca, auth: LOGIN } } }
    expect((await readImage(openClient(trusting), reference.toString())).descriptor).toEqual(
      descriptor,
    )
    const strict = { registries: { [registry.host]: { insecure: false } } }
    await expect(openClient(strict).manifest(reference)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNTRUSTED',
    })
    await expect(openClient().manifest(reference)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNAUTHORIZED',
    })
    const wrong = { auth: { ...LOGIN, password: 'no' } }
    await expect(openClient().manifest(reference, wrong)).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNAUTHORIZED',
    })
  })

  test("with the login of Docker's configuration and certificates in its layout", async () => {
    const { registry, descriptor, reference } = await registryWith({ tls: true, auth: LOGIN })
    await using home = await temporaryDirectory()
    await mkdir(home.join('.docker'))
    const auth = Buffer.from(`${LOGIN.username}:${LOGIN.password}`).toString('base64')
    await writeFile(
      home.join('.docker/config.json'),
      JSON.stringify({ auths: { [registry.host]: { auth } } }),
    )
    const certificates = home.join('certs.d', registry.host)
    await mkdir(certificates, { recursive: true })
    await writeFile(join(certificates, 'ca.crt'), registry.certificates?.ca.cert ?? '')
    const client = openClient({
      homeDirectory: home.path,
      certificateDirectories: [home.join('certs.d')],
      registries: { [registry.host]: { insecure: false } },
    })
    expect((await client.manifest(reference)).descriptor).toEqual(descriptor)
  })

  test('behind a token server, with one token for all of an image', async () => {
    const tokens = await tokenServer({ auth: LOGIN })
    onTestFinished(() => tokens[Symbol.asyncDispose]())
    const registry = await dockerRegistry({ token: tokens.token })
    onTestFinished(() => registry[Symbol.asyncDispose]())
    await run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      '--dest-creds',
      `${LOGIN.username}:${LOGIN.password}`,
      `oci:${busybox.layout}:${busybox.name}`,
      `docker://${registry.host}/team/${busybox.name}`,
    ])
    const before = tokens.requests.length
    const client = openClient({ registries: { [registry.host]: { auth: LOGIN } } })
    await readImage(client, `${registry.host}/team/${busybox.name}`)
    expect(tokens.requests.slice(before).map(({ query }) => query.getAll('scope'))).toEqual([
      ['repository:team/busybox:pull'],
    ])
    await expect(
      openClient().manifest(parseReference(`${registry.host}/team/${busybox.name}`)),
    ).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNAUTHORIZED',
    })
  })

  test('whose token server hangs does not hang us', async () => {
    const tokens = await tokenServer({ hang: true })
    onTestFinished(() => tokens[Symbol.asyncDispose]())
    const registry = await dockerRegistry({ token: tokens.token })
    onTestFinished(() => registry[Symbol.asyncDispose]())
    const client = openClient({ timeouts: { response: 300 } })
    await expect(client.manifest(parseReference(`${registry.host}/a`))).rejects.toMatchObject({
      code: 'KEELSON_REGISTRY_UNREACHABLE',
      timeout: 300,
    })
  })

  test('as a mirror of a registry that is away', async () => {
    const { registry, descriptor, reference } = await registryWith()
    const client = openClient({ registries: { 'gone.invalid': { mirrors: [registry.host] } } })
    const gone = parseReference(`gone.invalid/${busybox.name}`)
    expect((await client.manifest(gone)).descriptor).toEqual(descriptor)
    expect(reference.repository).toBe(gone.repository)
  })
})

test('images that other tools wrote are read, and valid by the schemas as we read them', async () => {
  const schemas = imageSchemas()
  const { registry } = await registryWith()
  const to = (tag: string) => `docker://${registry.host}/written:${tag}`
  const copy = (tag: string, ...options: string[]) =>
    run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      ...options,
      `oci:${busybox.layout}:${busybox.name}`,
      to(tag),
    ])
  await copy('oci', '--format', 'oci')
  await copy('docker', '--format', 'v2s2')
  await copy('zstd', '--format', 'oci', '--dest-compress-format', 'zstd')
  const kinds = {
    oci: MEDIA_TYPES.ociManifest,
    docker: MEDIA_TYPES.dockerManifest,
    zstd: MEDIA_TYPES.ociManifest,
  }
  for (const [tag, mediaType] of Object.entries(kinds)) {
    const image = await readImage(openClient(), `${registry.host}/written:${tag}`)
    expect(image.descriptor.mediaType).toBe(mediaType)
    const { kind: _, ...manifest } = image.manifest
    expect(schemas.manifest({ schemaVersion: 2, ...manifest }) || schemas.manifest.errors).toBe(
      true,
    )
    expect(schemas.manifest(JSON.parse(image.bytes.toString())) || schemas.manifest.errors).toBe(
      true,
    )
    expect(schemas.config(image.config) || schemas.config.errors).toBe(true)
    expect(schemas.config(JSON.parse(image.configBytes.toString())) || schemas.config.errors).toBe(
      true,
    )
  }
})
