import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { Registry } from '../../src/registry-server/index.ts'
import { busyboxImage } from '../support/busybox-image.ts'
import { certificates } from '../support/certificates.ts'
import { dockerRegistry } from '../support/docker-registry.ts'
import { run } from '../support/process.ts'
import { pushLayout } from '../support/push.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { tokenServer } from '../support/token-server.ts'

const PLAIN = ['--src-tls-verify=false', '--dest-tls-verify=false']

async function skopeoInspect(image: string, ...options: string[]): Promise<{ Digest: string }> {
  const { stdout } = await run('skopeo', ['inspect', '--tls-verify=false', ...options, image])
  return JSON.parse(stdout) as { Digest: string }
}

const digest = async (layout: string) => {
  const index = JSON.parse(await readFile(`${layout}/index.json`, 'utf8')) as {
    manifests: { digest: string }[]
  }
  return index.manifests[0]?.digest
}

const copy = (from: string, to: string, ...options: string[]) =>
  run('skopeo', ['copy', ...PLAIN, ...options, from, to])

describe('the registry in this process and other tools', () => {
  test('skopeo pushes to it, reads from it, and gets the same bytes back', async () => {
    const image = await busyboxImage()
    await using temp = await temporaryDirectory()
    await using registry = await Registry.listen()
    const remote = `docker://${registry.host}/team/busybox:1`
    await run('skopeo', ['copy', ...PLAIN, `oci:${image.layout}:${image.name}`, remote])
    await run('skopeo', ['copy', ...PLAIN, remote, `oci:${temp.join('back')}:busybox:1`])
    expect(await digest(temp.join('back'))).toBe(await digest(image.layout))
    expect((await skopeoInspect(remote)).Digest).toBe(await digest(image.layout))
  })

  test('a layout that it was pushed to is one that umoci unpacks', async () => {
    const image = await busyboxImage()
    await using temp = await temporaryDirectory()
    {
      await using registry = await Registry.listen({ layout: temp.join('busybox') })
      await pushLayout(image.layout, image.name, registry)
    }
    const layout = temp.join('busybox')
    await run('umoci', ['unpack', '--rootless', '--image', `${layout}:1`, temp.join('bundle')])
    const { stdout } = await run(temp.join('bundle/rootfs/bin/busybox'), ['echo', 'unpacked'])
    expect(stdout).toBe('unpacked\n')
  })

  test('a copy in pieces, mounted from another repository, with a user and a token', async () => {
    const image = await busyboxImage()
    const auth = { username: 'user', password: 'secret:with:colons' }
    await using registry = await Registry.listen({ auth, token: true })
    const credentials = `${auth.username}:${auth.password}`
    const [one, two] = [`docker://${registry.host}/one:1`, `docker://${registry.host}/two:1`]
    await copy(`oci:${image.layout}:${image.name}`, one, '--dest-creds', credentials)
    await copy(one, two, '--src-creds', credentials, '--dest-creds', credentials)
    const found = await skopeoInspect(two, '--creds', credentials)
    expect(found.Digest).toMatch(/^sha256:/)
    await expect(skopeoInspect(two, '--no-creds')).rejects.toThrow(/unauthorized/)
  })
})

describe("Debian's registry", () => {
  test('plain, with what is pushed to it', async () => {
    const image = await busyboxImage({ compression: 'zstd' })
    await using registry = await dockerRegistry()
    const pushed = await pushLayout(image.layout, image.name, registry)
    expect((await skopeoInspect(`docker://${registry.host}/busybox:1`)).Digest).toBe(pushed.digest)
  })

  test('with TLS and a user', async () => {
    const image = await busyboxImage()
    const auth = { username: 'user', password: 'secret' }
    await using registry = await dockerRegistry({ tls: true, auth })
    const pushed = await pushLayout(image.layout, image.name, registry, { auth })
    const found = await skopeoInspect(
      `docker://${registry.host}/busybox:1`,
      '--creds',
      'user:secret',
    )
    expect(found.Digest).toBe(pushed.digest)
    await expect(skopeoInspect(`docker://${registry.host}/busybox:1`)).rejects.toThrow(
      /unauthorized|authentication/,
    )
  })

  test('with tokens of a server of ours', async () => {
    const image = await busyboxImage()
    const auth = { username: 'user', password: 'secret' }
    await using tokens = await tokenServer({ auth, anonymous: 'pull' })
    await using registry = await dockerRegistry({ token: tokens.token })
    const remote = `docker://${registry.host}/busybox:1`
    const push = ['copy', ...PLAIN, `oci:${image.layout}:${image.name}`, remote]
    await expect(run('skopeo', push)).rejects.toThrow(/denied|unauthorized/)
    await run('skopeo', [...push, '--dest-creds', 'user:secret'])
    expect((await skopeoInspect(remote)).Digest).toMatch(/^sha256:/)
    expect(tokens.requests.map(({ query }) => query.get('scope'))).toContain(
      'repository:busybox:pull',
    )
  })
})

test('over TLS, with certificates of clients', async () => {
  await using temp = await temporaryDirectory()
  const { ca, server, client } = await certificates(temp.path)
  await using registry = await Registry.listen({
    tls: { cert: server.cert, key: server.key, ca: ca.cert },
  })
  await registry.addManifest('app', '1', { schemaVersion: 2 })
  const fetch = (...more: string[]) =>
    run('curl', [
      '--silent',
      '--show-error',
      '--cacert',
      ca.certFile,
      ...more,
      `${registry.url}/v2/_catalog`,
    ])
  const { stdout } = await fetch('--cert', client.certFile, '--key', client.keyFile)
  expect(JSON.parse(stdout)).toEqual({ repositories: ['app'] })
  await expect(fetch()).rejects.toThrow(/certificate required|alert|reset|SSL/i)
})
