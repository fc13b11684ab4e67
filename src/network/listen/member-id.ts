/** In the place of a container's id, which has no such letters. */
const PREFIX = 'server-'

/** Under which a server's address and name are claimed. */
export function memberId(server: string): string {
  return PREFIX + server
}

/** The name of a server whose claim this is; `undefined` for a container's. */
export function serverOf(member: string): string | undefined {
  return member.startsWith(PREFIX) ? member.slice(PREFIX.length) : undefined
}
