import { keelsonError } from '../../errors.ts'
import type { WireBytes } from '../../runtime/protocol.ts'
import { printable } from '../../util/printable.ts'

/** A path in a root file system: text, or, where a name is no UTF-8, its bytes. Without a leading slash it begins at the root all the same. */
export type FilePath = string | Uint8Array

/** @throws `KEELSON_INVALID_OPTION` for what no path can be */
export function checkPath(path: FilePath): FilePath {
  const valid =
    typeof path === 'string'
      ? path !== '' && !path.includes('\0')
      : path instanceof Uint8Array && path.length > 0 && !path.includes(0)
  if (valid) return path
  throw keelsonError(
    'KEELSON_INVALID_OPTION',
    'A path must be text or bytes without NUL, and not empty.',
    {
      hint: 'Paths of containers are absolute: "/etc/passwd".',
    },
  )
}

export function toWire(path: FilePath): WireBytes {
  if (typeof path === 'string') return path
  const bytes = Buffer.from(path)
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : { base64: bytes.toString('base64') }
}

export function fromWire(name: WireBytes): Buffer {
  return typeof name === 'string' ? Buffer.from(name) : Buffer.from(name.base64, 'base64')
}

/** As text; bytes that are no UTF-8 show as U+FFFD. */
export function shown(path: FilePath): string {
  return printable(typeof path === 'string' ? path : Buffer.from(path).toString('utf8'))
}
