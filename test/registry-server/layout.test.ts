import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { digestOf } from '../../src/oci/digest.ts'
import { MEDIA_TYPES } from '../../src/oci/media-types.ts'
import { Registry } from '../../src/registry-server/index.ts'
import { writeLayout } from '../support/image-layout.ts'
import { layer } from '../support/layers.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { ask } from './ask.ts'

const status = async (registry: Registry, path: string) => (await ask(registry, 'GET', path)).status

test('names of a layout become repositories and tags', async () => {
  await using temp = await temporaryDirectory()
  const image = { layers: [await layer([{ name: 'a', content: 'a' }])] }
  const directory = temp.join('Images')
  const { manifest, blobs } = await writeLayout(directory, 'team/app:1', image)
  await writeLayout(directory, '127.0.0.1:5000/team/app:2', image)
  await writeLayout(directory, 'docker.io/library/app:3', image)
  await writeLayout(directory, '4', image)
  await using registry = await Registry.listen({ layout: directory, readonly: true })
  for (const path of ['team/app/manifests/1', 'team/app/manifests/2', 'library/app/manifests/3']) {
    expect(await status(registry, `/v2/${path}`)).toBe(200)
  }
  expect(await status(registry, '/v2/images/manifests/4')).toBe(200)
  expect(await status(registry, `/v2/team/app/manifests/${manifest.digest}`)).toBe(200)
  for (const { descriptor, bytes } of blobs.slice(0, -1)) {
    const blob = await ask(registry, 'GET', `/v2/team/app/blobs/${descriptor.digest}`)
    expect(blob.body).toEqual(bytes)
  }
})

test('what is pushed is there for the next registry, tagged or not', async () => {
  await using temp = await temporaryDirectory()
  const layout = temp.join('images')
  let untagged = ''
  {
    await using registry = await Registry.listen({ layout })
    const config = await registry.addBlob('team/app', '{}', MEDIA_TYPES.ociConfig)
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config,
      layers: [],
    }
    await registry.addManifest('team/app', '1', manifest)
    await registry.addManifest('images', 'own', manifest)
    const other = await registry.addManifest('team/app', undefined, {
      ...manifest,
      annotations: {},
    })
    untagged = other.digest
    const begun = await ask(registry, 'POST', '/v2/team/app/blobs/uploads/')
    await ask(registry, 'PATCH', String(begun.headers['location']), { body: 'never finished' })
  }
  expect((await readdir(layout)).sort()).toEqual(['blobs', 'index.json', 'oci-layout'])
  const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as {
    manifests: { annotations: Record<string, string> }[]
  }
  const names = index.manifests.map(
    ({ annotations }) => annotations['org.opencontainers.image.ref.name'],
  )
  expect(new Set(names)).toEqual(new Set(['own', 'team/app:1', undefined]))
  await using registry = await Registry.listen({ layout })
  expect(await status(registry, '/v2/team/app/manifests/1')).toBe(200)
  expect(await status(registry, '/v2/images/manifests/own')).toBe(200)
  expect(await status(registry, `/v2/team/app/manifests/${untagged}`)).toBe(200)
  expect(await status(registry, `/v2/team/app/blobs/${digestOf('{}')}`)).toBe(200)
})

test('a blob that is deleted is deleted from the disk, and a refused one never gets there', async () => {
  await using temp = await temporaryDirectory()
  await using registry = await Registry.listen({ layout: temp.join('images') })
  const { digest } = await registry.addBlob('app', 'content')
  expect(await readdir(temp.join('images/blobs/sha256'))).toEqual([digest.slice(7)])
  expect((await ask(registry, 'DELETE', `/v2/app/blobs/${digest}`)).status).toBe(202)
  const wrong = `/v2/app/blobs/uploads/?digest=${digestOf('a')}`
  expect((await ask(registry, 'POST', wrong, { body: 'b' })).code()).toBe('DIGEST_INVALID')
  expect(await readdir(temp.join('images/blobs/sha256'))).toEqual([])
})

test('what is no layout is not served', async () => {
  await using temp = await temporaryDirectory()
  await expect(Registry.listen({ layout: temp.path, readonly: true })).rejects.toMatchObject({
    code: 'KEELSON_INVALID_OPTION',
  })
  await mkdir(temp.join('broken'))
  await writeFile(temp.join('broken/index.json'), '[')
  await expect(Registry.listen({ layout: temp.join('broken') })).rejects.toMatchObject({
    code: 'KEELSON_MANIFEST_INVALID',
  })
})

test('options that make no sense are refused before anything is bound', async () => {
  const refused = { code: 'KEELSON_INVALID_OPTION' }
  await expect(Registry.listen({ port: -1 })).rejects.toMatchObject(refused)
  await expect(Registry.listen({ auth: { username: 'a:b', password: '' } })).rejects.toMatchObject(
    refused,
  )
  await using first = await Registry.listen()
  const port = Number(first.host.split(':')[1])
  await expect(Registry.listen({ port })).rejects.toMatchObject({ code: 'KEELSON_IO' })
  await expect(first.addBlob('No', '')).rejects.toMatchObject(refused)
})
