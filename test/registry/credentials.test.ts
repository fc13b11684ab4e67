import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { findCredentials } from '../../src/registry/credentials.ts'

const encode = (pair: string) => Buffer.from(pair).toString('base64')
const ANN = { username: 'ann', password: 'pw' }

async function home(files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'keelson-'))
  onTestFinished(() => rm(directory, { recursive: true }))
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true })
    await writeFile(join(directory, name), text)
    if (name.startsWith('bin/')) await chmod(join(directory, name), 0o755)
  }
  return directory
}

async function find(
  registry: string,
  files: Record<string, string>,
  {
    env = () => ({}),
    repository = 'a/b',
    signal,
  }: { env?: (home: string) => NodeJS.ProcessEnv; repository?: string; signal?: AbortSignal } = {},
) {
  const homeDirectory = await home(files)
  const path = `${homeDirectory}/bin:/usr/bin:/bin`
  const sources = {
    env: { PATH: path, HOME: homeDirectory, ...env(homeDirectory) },
    homeDirectory,
    helperTimeout: 2000,
  }
  return await findCredentials(registry, repository, sources, signal)
}

const docker = (config: unknown) => ({ '.docker/config.json': JSON.stringify(config) })

describe('auths', () => {
  test.each<[string, string, object, unknown]>([
    ['by host', 'r.x:5000', { 'r.x:5000': { auth: encode('ann:pw') } }, ANN],
    [
      'with colons in the password',
      'r.x',
      { 'r.x': { auth: encode('ann:p:w:') } },
      { username: 'ann', password: 'p:w:' },
    ],
    ['with NUL padding', 'r.x', { 'r.x': { auth: encode('ann:pw\0\0') } }, ANN],
    ['in plain', 'r.x', { 'r.x': ANN }, ANN],
    [
      'of Docker Hub',
      'docker.io',
      { 'https://index.docker.io/v1/': { auth: encode('ann:pw') } },
      ANN,
    ],
    [
      'of Docker Hub, by another name',
      'docker.io',
      { 'registry-1.docker.io': { auth: encode('ann:pw') } },
      ANN,
    ],
    ['by an old URL', 'r.x', { 'https://r.x/v1/': { auth: encode('ann:pw') } }, ANN],
    [
      'with an identity token',
      'r.x',
      { 'r.x': { auth: encode('ann:'), identitytoken: 'it' } },
      { identityToken: 'it' },
    ],
    ['with a registry token', 'r.x', { 'r.x': { registrytoken: 'rt' } }, { registryToken: 'rt' }],
    [
      'for a namespace',
      'r.x',
      {
        'r.x': { auth: encode('no:no') },
        'r.x/a': { auth: encode('ann:pw') },
        'r.x/a/c': { auth: encode('no:no') },
      },
      ANN,
    ],
    ['of another host only', 'r.x', { 'r.y': { auth: encode('ann:pw') }, 'x.r.x': ANN }, undefined],
    ['that are empty', 'r.x', { 'r.x': {} }, undefined],
  ])('%s', async (_, registry, auths, expected) => {
    expect(await find(registry, docker({ auths }))).toEqual(expected)
  })

  test.each([
    ['no JSON', '{"auths": {"r.x": {"auth": "c2VjcmV0"'],
    ['a list', '[]'],
    ['an auth without a colon', JSON.stringify({ auths: { 'r.x': { auth: encode('secret') } } })],
    ['an entry that is text', JSON.stringify({ auths: { 'r.x': 'c2VjcmV0' } })],
  ])('in a file that is %s fail, and show no secret', async (_, text) => {
    const failure = await find('r.x', { '.docker/config.json': text }).catch(
      (error: unknown) => error,
    )
    expect(failure).toMatchObject({
      code: 'KEELSON_CREDENTIALS',
      message: expect.stringContaining('config.json'),
    })
    expect(String(failure)).not.toContain('c2VjcmV0')
    expect(failure).not.toHaveProperty('cause')
  })

  test('of an empty file are none', async () => {
    expect(await find('r.x', { '.docker/config.json': '\n' })).toBeUndefined()
    expect(await find('r.x', {})).toBeUndefined()
  })
})

const knowing = (name: string) =>
  JSON.stringify({ auths: { 'r.x': { auth: encode(`${name}:pw`) } } })

test('sources are asked in order', async () => {
  const files = {
    'auth-file': knowing('registry-auth-file'),
    'docker/config.json': knowing('docker-config'),
    '.docker/config.json': knowing('home'),
    'run/containers/auth.json': knowing('runtime'),
    '.config/containers/auth.json': knowing('user'),
  }
  const everything = (at: string): Record<string, string> => ({
    DOCKER_AUTH_CONFIG: knowing('inline'),
    REGISTRY_AUTH_FILE: `${at}/auth-file`,
    DOCKER_CONFIG: `${at}/docker`,
    XDG_RUNTIME_DIR: `${at}/run`,
  })
  const without =
    (...names: string[]) =>
    (at: string) =>
      Object.fromEntries(Object.entries(everything(at)).filter(([name]) => !names.includes(name)))
  const user = async (env: (at: string) => NodeJS.ProcessEnv, missing: string[] = []) => {
    const present = Object.fromEntries(
      Object.entries(files).filter(([name]) => !missing.includes(name)),
    )
    const found = await find('r.x', present, { env })
    return found !== undefined && 'username' in found ? found.username : undefined
  }
  expect(await user(without())).toBe('inline')
  expect(await user(without('DOCKER_AUTH_CONFIG'))).toBe('registry-auth-file')
  expect(await user(without('DOCKER_AUTH_CONFIG', 'REGISTRY_AUTH_FILE'))).toBe('docker-config')
  expect(await user(() => ({}))).toBe('home')
  const noDocker = ['.docker/config.json']
  expect(await user((at) => ({ XDG_RUNTIME_DIR: `${at}/run` }), noDocker)).toBe('runtime')
  expect(await user(() => ({}), noDocker)).toBe('user')
})

const script = (body: string) => ({ 'bin/docker-credential-test': `#!/bin/sh\n${body}\n` })

describe('a credential helper', () => {
  const answering = script(
    '[ "$1" = get ] || exit 3; server=$(cat); printf \'{"ServerURL":"%s","Username":"%s","Secret":"pw"}\' "$server" "$server"',
  )

  test('of credHelpers is asked for its host, that of credsStore for the others', async () => {
    expect(
      await find('r.x', { ...docker({ credHelpers: { 'r.x': 'test' } }), ...answering }),
    ).toEqual({ username: 'r.x', password: 'pw' })
    expect(
      await find('r.y', { ...docker({ credHelpers: { 'r.x': 'test' } }), ...answering }),
    ).toBeUndefined()
    expect(await find('r.y', { ...docker({ credsStore: 'test' }), ...answering })).toEqual({
      username: 'r.y',
      password: 'pw',
    })
  })

  test('is asked for Docker Hub by its old URL', async () => {
    expect(
      await find('docker.io', { ...docker({ credsStore: 'test' }), ...answering }),
    ).toMatchObject({ username: 'https://index.docker.io/v1/' })
  })

  test('may answer with an identity token', async () => {
    const files = script('cat >/dev/null; echo \'{"Username":"<token>","Secret":"it"}\'')
    expect(await find('r.x', { ...docker({ credsStore: 'test' }), ...files })).toEqual({
      identityToken: 'it',
    })
  })

  test('that knows nothing leaves it to auths', async () => {
    const files = script('echo "credentials not found in native keychain"; exit 1')
    const config = { credsStore: 'test', auths: { 'r.x': { auth: encode('ann:pw') } } }
    expect(await find('r.x', { ...docker(config), ...files })).toEqual(ANN)
  })

  test.each([
    ['fails', 'cat >/dev/null; echo "keychain is locked"; exit 1', /status 1: keychain is locked/],
    ['answers nonsense', 'cat >/dev/null; echo secret-nonsense', /JSON/],
    ['answers half', 'cat >/dev/null; echo \'{"Username":"u"}\'', /without Username and Secret/],
    ['writes without end', 'cat >/dev/null; exec cat /dev/zero', /more than a megabyte/],
    ['hangs', 'exec sleep 60', /within 2000 ms/],
  ])('that %s is KEELSON_CREDENTIALS', async (_, body, message) => {
    const failure = await find('r.x', { ...docker({ credsStore: 'test' }), ...script(body) }).catch(
      (error: unknown) => error,
    )
    expect(failure).toMatchObject({
      code: 'KEELSON_CREDENTIALS',
      message: expect.stringMatching(message),
      hint: expect.stringContaining('credsStore'),
    })
    expect(String(failure)).not.toContain('secret-nonsense')
  })

  test('that is not installed is named', async () => {
    await expect(find('r.x', docker({ credsStore: 'absent' }))).rejects.toMatchObject({
      code: 'KEELSON_CREDENTIALS',
      message: 'The credential helper docker-credential-absent cannot be started.',
      cause: expect.objectContaining({ code: 'ENOENT' }),
    })
  })

  test('has a name, not a path', async () => {
    await expect(find('r.x', docker({ credsStore: '../../tmp/evil' }))).rejects.toMatchObject({
      code: 'KEELSON_CREDENTIALS',
    })
  })

  test('is killed when the caller leaves', async () => {
    const files = { ...docker({ credsStore: 'test' }), ...script('exec sleep 60') }
    await expect(find('r.x', files, { signal: AbortSignal.timeout(100) })).rejects.toMatchObject({
      code: 'KEELSON_ABORTED',
    })
  })
})
