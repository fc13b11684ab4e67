import { describe, expect, test } from 'vitest'
import { parseProxy, proxyFor } from '../../src/registry/proxy.ts'

const PROXY = 'http://proxy:3128'
const chosen = (url: string, env: NodeJS.ProcessEnv) => proxyFor(new URL(url), env)?.href

describe('the proxy', () => {
  test.each<[string, NodeJS.ProcessEnv, string | undefined]>([
    ['https://a.b', { HTTPS_PROXY: PROXY }, 'http://proxy:3128/'],
    ['https://a.b', { https_proxy: PROXY }, 'http://proxy:3128/'],
    ['https://a.b', { HTTP_PROXY: PROXY }, undefined],
    ['http://a.b', { HTTP_PROXY: PROXY }, 'http://proxy:3128/'],
    ['http://a.b', { HTTPS_PROXY: PROXY }, undefined],
    ['https://a.b', { HTTPS_PROXY: 'proxy:3128' }, 'http://proxy:3128/'],
    ['https://a.b', { HTTPS_PROXY: 'http://u:p@proxy' }, 'http://u:p@proxy/'],
    ['https://a.b', { HTTPS_PROXY: '' }, undefined],
    ['https://localhost:5000', { HTTPS_PROXY: PROXY }, undefined],
    ['https://127.1.2.3', { HTTPS_PROXY: PROXY }, undefined],
    ['https://[::1]:1', { HTTPS_PROXY: PROXY }, undefined],
    // A CGI program must not take a header for its environment.
    ['http://a.b', { HTTP_PROXY: PROXY, REQUEST_METHOD: 'GET' }, undefined],
  ])('for %s in %j is %s', (url, env, expected) => {
    expect(chosen(url, env)).toBe(expected)
  })

  test.each<[string, string, boolean]>([
    ['https://a.b', '*', true],
    ['https://a.b', 'x.y,a.b', true],
    ['https://a.b', ' x.y  a.b ', true],
    ['https://c.a.b', 'a.b', true],
    ['https://c.a.b', '.a.b', true],
    ['https://c.a.b', '*.a.b', true],
    ['https://a.b', '.a.b', false],
    ['https://xa.b', 'a.b', false],
    ['https://a.b', 'A.B', true],
    ['https://a.b', 'a.b:443', true],
    ['https://a.b:8443', 'a.b:443', false],
    ['https://a.b:8443', 'a.b', true],
    ['https://10.1.2.3', '10.0.0.0/8', true],
    ['https://11.1.2.3', '10.0.0.0/8', false],
    ['https://10.1.2.3', '10.1.2.3', true],
    ['https://10.1.2.3:5', '10.1.2.3:6', false],
    ['https://10.1.2.3', '10.1.2', false],
    ['https://[2001:db8::5]', '2001:db8::/32', true],
    ['https://[2001:db8::5]', '2001:db8::5', true],
    ['https://[2001:db8::5]:7', '[2001:db8::5]:7', true],
    ['https://[2001:db8::5]', '[2001:db8::5]:7', false],
    ['https://a.b', '10.0.0.0/99,::/x,/8,,', false],
  ])('for %s with NO_PROXY=%s is left out: %s', (url, list, left) => {
    expect(chosen(url, { HTTPS_PROXY: PROXY, NO_PROXY: list }) === undefined).toBe(left)
  })

  test.each(['socks5://x:1', 'ftp://x', 'http://', ':::'])(
    '%s is refused, and not shown',
    (text) => {
      expect(() => parseProxy(text, 'HTTPS_PROXY')).toThrow(
        expect.objectContaining({
          code: 'KEELSON_INVALID_OPTION',
          message: expect.not.stringContaining(text),
        }),
      )
    },
  )
})
