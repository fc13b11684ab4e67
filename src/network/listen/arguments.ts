/** What `network.listen()` is given, checked before anything is done. */
import type { Server } from 'node:net'
import { keelsonError, type KeelsonError } from '../../errors.ts'
import { show } from '../../util/printable.ts'

const LABEL = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/
const LONGEST = 128

/** @returns the name as it is looked up. @throws `KEELSON_INVALID_OPTION` */
export function checkServerName(name: unknown): string {
  const lower = typeof name === 'string' ? name.toLowerCase() : ''
  if (lower.length <= LONGEST && lower.split('.').every((label) => LABEL.test(label))) return lower
  throw invalid(
    'name',
    `The name ${show(name)} is none for a server.`,
    `Use up to ${LONGEST} letters, digits, "_" and "-", with dots between.`,
  )
}

/** @throws `KEELSON_INVALID_OPTION` */
export function checkServerPort(port: unknown): void {
  if (Number.isInteger(port) && Number(port) > 0 && Number(port) < 65_536) return
  throw invalid('port', `${show(port)} is not a port.`, 'It is a number from 1 to 65535.')
}

/** @throws `KEELSON_INVALID_OPTION` */
export function checkServer(server: Server): void {
  if (typeof server?.listen !== 'function' || typeof server.close !== 'function') {
    throw invalid('server', 'What is to listen is no server.', 'Pass one of node:http or node:net.')
  }
  if (server.listening) throw listensAlready()
}

/** A server listens in one place. */
export function listensAlready(): KeelsonError {
  return invalid('server', 'The server listens already.', 'Make another one for this port.')
}

function invalid(option: string, message: string, hint: string): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', message, { option, hint })
}
