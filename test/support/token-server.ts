import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { parseScope } from '../../src/registry-server/authorization.ts'
import { certificates } from './certificates.ts'
import { temporaryDirectory } from './temp.ts'

/** Whom a token server knows. */
export interface TokenServerOptions {
  auth?: { username: string; password: string }
  /** What others may do. Default: nothing when there is a user, else everything. */
  anonymous?: 'pull' | 'none'
  /** Seconds. Default 300. */
  expiresIn?: number
  /** Never answer. */
  hang?: boolean
}

/** A token server that signs what Debian's registry accepts. */
export interface TokenServer extends AsyncDisposable {
  /** For the `token` option of `dockerRegistry`. */
  readonly token: { realm: string; service: string; issuer: string; certificateFile: string }
  /** What was asked of it: the URL's query and the user. */
  readonly requests: { query: URLSearchParams; authorization: string | undefined }[]
}

const SERVICE = 'keelson test registry'
const ISSUER = 'keelson test issuer'

/** Starts a server of the distribution project's token protocol: JSON Web Tokens, ES256, the certificate in the header. */
export async function tokenServer(options: TokenServerOptions = {}): Promise<TokenServer> {
  const temp = await temporaryDirectory('keelson-token-')
  const { server: pair } = await certificates(temp.path)
  const key = createPrivateKey(pair.key)
  const x5c = [new X509Certificate(pair.cert).raw.toString('base64')]
  const requests: TokenServer['requests'] = []

  const token = (scopes: string[], subject: string) => {
    const now = Math.floor(Date.now() / 1000)
    const header = { typ: 'JWT', alg: 'ES256', x5c }
    const expires = now + (options.expiresIn ?? 300)
    const claims = {
      iss: ISSUER,
      sub: subject,
      aud: SERVICE,
      exp: expires,
      nbf: now - 10,
      iat: now,
      jti: randomUUID(),
      access: scopes.map(parseScope).filter((scope) => scope !== undefined),
    }
    const signed = [header, claims]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    const signature = sign('sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' })
    return `${signed}.${signature.toString('base64url')}`
  }

  const http = createServer((request, response) => {
    if (options.hang === true) return
    const query = new URL(request.url ?? '/', 'http://server').searchParams
    requests.push({ query, authorization: request.headers.authorization })
    const scopes = query.getAll('scope').flatMap((scope) => scope.split(' '))
    const known = isUser(request, options.auth)
    if (!known && options.auth !== undefined && options.anonymous !== 'pull') {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="keelson test"' }).end()
      return
    }
    const granted =
      known || options.auth === undefined
        ? scopes
        : scopes.map((scope) => scope.replace(/:[^:]*$/, ':pull'))
    response.writeHead(200, { 'content-type': 'application/json' }).end(
      JSON.stringify({
        token: token(granted, options.auth?.username ?? 'anybody'),
        expires_in: options.expiresIn ?? 300,
      }),
    )
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const address = http.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    token: {
      realm: `http://127.0.0.1:${port}/token`,
      service: SERVICE,
      issuer: ISSUER,
      certificateFile: pair.certFile,
    },
    requests,
    async [Symbol.asyncDispose]() {
      http.close()
      http.closeAllConnections()
      await temp[Symbol.asyncDispose]()
    },
  }
}

function isUser(request: IncomingMessage, auth: TokenServerOptions['auth']): boolean {
  if (auth === undefined) return false
  const basic = Buffer.from(`${auth.username}:${auth.password}`).toString('base64')
  return request.headers.authorization === `Basic ${basic}`
}
