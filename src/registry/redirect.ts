import { keelsonError, type KeelsonError } from '../errors.ts'
import { printable } from '../util/printable.ts'
import { isLoopback } from './hosts.ts'

const MAX_REDIRECTS = 10

/** 303 is among them: every request that Keelson lets be redirected is a GET. */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status)
}

/**
 * Where an answer sends us on to.
 *
 * @param passed every URL asked so far, the last one being the redirecting
 * @throws `KEELSON_REGISTRY_PROTOCOL` for a missing or unusable target, a loop, too many hops, or a way from https to http.
 */
export function redirectTarget(passed: readonly URL[], location: string | undefined): URL {
  const from = passed.at(-1)
  if (from === undefined || location === undefined || !URL.canParse(location, from.href)) {
    throw refused('without a usable Location', from)
  }
  const to = new URL(location, from)
  // A fragment never reaches the server; kept, it would hide a loop.
  to.hash = ''
  if (to.protocol !== 'https:' && to.protocol !== 'http:') {
    throw refused(`to a ${printable(to.protocol, 20)} address`, from)
  }
  if (to.username !== '' || to.password !== '')
    throw refused('to an address with credentials', from)
  if (isDowngrade(from, to)) throw refused('from https to http', from)
  if (passed.some((url) => url.href === to.href)) throw refused('in a circle', from)
  if (passed.length > MAX_REDIRECTS) throw refused(`more than ${MAX_REDIRECTS} times`, from)
  return to
}

/** From encrypted to plain. Between two addresses of this machine nobody listens. */
export function isDowngrade(from: URL, to: URL): boolean {
  if (from.protocol !== 'https:' || to.protocol === 'https:') return false
  return !(isLoopback(from.host) && isLoopback(to.host))
}

function refused(how: string, from: URL | undefined): KeelsonError {
  const host = from?.host ?? ''
  return keelsonError('KEELSON_REGISTRY_PROTOCOL', `The registry ${host} redirects ${how}.`, {
    registry: host,
  })
}
