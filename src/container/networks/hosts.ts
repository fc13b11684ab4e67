/** The container's /etc/hosts, which it may have changed itself, as networks come and go. */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { errnoOf } from '../../store/errno.ts'

/** More than that no hosts file is: the container has filled it. */
const MAX_BYTES = 1024 * 1024

/**
 * In place: the file is mounted in the container, and in those that share its network.
 *
 * @param bundle directory of its run
 */
export function rewriteHosts(bundle: string, rewrite: (text: string) => string): void {
  let file: number
  try {
    file = openSync(join(bundle, 'hosts'), constants.O_RDWR | constants.O_NOFOLLOW)
  } catch (error) {
    // In a user namespace it may be somebody else's. The container is known by its name service all the same.
    if (['ENOENT', 'EACCES'].includes(errnoOf(error) ?? '')) return
    throw error
  }
  try {
    if (fstatSync(file).size > MAX_BYTES) return
    const text = Buffer.from(rewrite(readFileSync(file, 'utf8')))
    writeSync(file, text, 0, text.length, 0)
    ftruncateSync(file, text.length)
  } finally {
    closeSync(file)
  }
}

/** Pure. */
export function withAddresses(
  text: string,
  addresses: readonly string[],
  hostname: string,
): string {
  const ended = text === '' || text.endsWith('\n') ? text : `${text}\n`
  return ended + addresses.map((address) => `${address}\t${hostname}\n`).join('')
}

/** Pure. Only the lines that Keelson wrote. */
export function withoutAddresses(
  text: string,
  addresses: readonly string[],
  hostname: string,
): string {
  const gone = new Set(addresses.map((address) => `${address}\t${hostname}`))
  return text
    .split('\n')
    .filter((line) => !gone.has(line))
    .join('\n')
}
