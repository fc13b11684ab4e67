import { discard } from './body.ts'
import { isRedirect, redirectTarget } from './redirect.ts'
import type { Answer, Request, Transport } from './transport.ts'

/**
 * Sends a request and goes where redirects lead. Credentials stay with the origin they were meant for: once a redirect has left it they
 * are gone for good, for whoever sends us back must not decide what they are used on. What has a
 * body is not sent on at all: a POST may carry credentials in it.
 */
export async function sendFollowing(transport: Transport, request: Request): Promise<Answer> {
  const passed = [request.url]
  let { url, headers } = request
  for (;;) {
    const answer = await transport.send({ ...request, url, headers })
    const { method = 'GET' } = request
    if ((method !== 'GET' && method !== 'HEAD') || !isRedirect(answer.status)) return answer
    await discard(answer, request.signal)
    const next = redirectTarget(passed, answer.headers.location)
    if (next.origin !== url.origin) headers = withoutAuthorization(headers)
    passed.push(next)
    url = next
  }
}

function withoutAuthorization(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'),
  )
}
