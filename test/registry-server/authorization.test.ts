import { describe, expect, test } from 'vitest'
import { Registry } from '../../src/registry-server/index.ts'
import { ask } from './ask.ts'

const auth = { username: 'user', password: 'secret' }
const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString('base64')}` })
const bearer = (value: string) => ({ authorization: `Bearer ${value}` })

test('Basic: only the user comes in', async () => {
  await using registry = await Registry.listen({ auth })
  const refused = await ask(registry, 'GET', '/v2/')
  expect([refused.status, refused.code()]).toEqual([401, 'UNAUTHORIZED'])
  expect(refused.headers['www-authenticate']).toBe('Basic realm="keelson"')
  const status = async (text: string) =>
    (await ask(registry, 'GET', '/v2/', { headers: basic(text) })).status
  expect(await status('user:secret')).toBe(200)
  expect(await status('user:wrong')).toBe(401)
  expect(await status('user')).toBe(401)
})

async function token(registry: Registry, scope: string, headers = {}): Promise<string> {
  const query = new URLSearchParams({ service: 'keelson', scope })
  const answer = await ask(registry, 'GET', `/token?${query.toString()}`, { headers })
  expect(answer.status).toBe(200)
  return (answer.json() as { token: string }).token
}

describe('Bearer', () => {
  test('the challenge names realm, service and scope, and its token opens just that', async () => {
    await using registry = await Registry.listen({ auth, token: true })
    await registry.addManifest('app', '1', { a: 1 })
    await registry.addManifest('other', '1', { a: 1 })
    const refused = await ask(registry, 'GET', '/v2/app/manifests/1')
    expect(refused.headers['www-authenticate']).toBe(
      `Bearer realm="${registry.url}/token",service="keelson",scope="repository:app:pull"`,
    )
    const pull = await token(registry, 'repository:app:pull', basic('user:secret'))
    const status = async (method: string, path: string) =>
      (await ask(registry, method, path, { headers: bearer(pull) })).status
    expect(await status('GET', '/v2/app/manifests/1')).toBe(200)
    expect(await status('GET', '/v2/other/manifests/1')).toBe(401)
    expect(await status('POST', '/v2/app/blobs/uploads/')).toBe(401)
    expect(await status('DELETE', '/v2/app/manifests/1')).toBe(401)
  })

  test('nobody gets a token without being the user, unless anybody may pull', async () => {
    await using strict = await Registry.listen({ auth, token: true })
    expect((await ask(strict, 'GET', '/token?scope=repository:app:pull')).status).toBe(401)
    await using lax = await Registry.listen({ auth, token: { anonymous: 'pull' } })
    await lax.addManifest('app', '1', { a: 1 })
    const anonymous = bearer(await token(lax, 'repository:app:pull,push'))
    const status = async (method: string, path: string) =>
      (await ask(lax, method, path, { headers: anonymous })).status
    expect(await status('GET', '/v2/app/manifests/1')).toBe(200)
    expect(await status('POST', '/v2/app/blobs/uploads/')).toBe(401)
    const wrong = await ask(lax, 'GET', '/token', { headers: basic('user:wrong') })
    expect(wrong.status).toBe(401)
  })

  test('tokens expire and are revoked; a refresh token gives new ones', async () => {
    await using registry = await Registry.listen({ auth, token: true })
    const form = async (fields: Record<string, string>) => {
      const answer = await ask(registry, 'POST', '/token', {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: new URLSearchParams({ scope: 'repository:app:pull', ...fields }).toString(),
      })
      const document = answer.json() as { access_token: string; refresh_token: string }
      return { status: answer.status, ...document }
    }
    const login = { grant_type: 'password', ...auth, access_type: 'offline' }
    const { access_token: first, refresh_token: refresh } = await form(login)
    const status = async (value: string) =>
      (await ask(registry, 'GET', '/v2/', { headers: bearer(value) })).status
    expect(await status(first)).toBe(200)
    registry.revokeTokens()
    expect(await status(first)).toBe(401)
    const again = await form({ grant_type: 'refresh_token', refresh_token: refresh })
    expect(await status(again.access_token)).toBe(200)
    expect((await form({ grant_type: 'refresh_token', refresh_token: 'x' })).status).toBe(401)
    await using brief = await Registry.listen({ token: { expiresIn: 0 } })
    const headers = bearer(await token(brief, ''))
    expect((await ask(brief, 'GET', '/v2/', { headers })).status).toBe(401)
  })
})
