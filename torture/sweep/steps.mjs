/**
 * `node --import ./torture/sweep/steps.mjs`: counts the steps by which a program changes the world (each change of a file system, each
 * message to the helper or a monitor, before and after it is sent), so that the program can be struck at the n-th.
 */
import fs from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { Socket } from 'node:net'

const CHANGES =
  'appendFile chmod chown copyFile link mkdir rename rm rmdir symlink truncate unlink utimes writeFile'.split(
    ' ',
  )
const HANDLED = ['appendFile', 'datasync', 'sync', 'truncate', 'utimes', 'write', 'writeFile']

let armed
let count = 0

/** From here on steps are counted. @param {(n: number, step: string) => void} strike called at each, before it is done */
export function arm(strike) {
  count = 0
  armed = strike
}

/** @returns how many there were since `arm` */
export function disarm() {
  armed = undefined
  return count
}

for (const name of CHANGES) {
  wrap(promises, name)
  wrap(fs, `${name}Sync`)
}
wrap(promises, 'open', writes)
wrap(fs, 'openSync', writes)
syncBuiltinESMExports()
const handle = await promises.open('/dev/null')
for (const name of HANDLED) wrap(Object.getPrototypeOf(handle), name)
await handle.close()

const { write } = Socket.prototype
Socket.prototype.write = function (...args) {
  const ours = this !== process.stdout && this !== process.stderr
  if (ours) step('before a message')
  const written = write.apply(this, args)
  if (ours) step('after a message')
  return written
}

function wrap(owner, name, counts = () => true) {
  const original = owner[name]
  owner[name] = function (...args) {
    if (counts(args)) step(`${name} ${typeof args[0] === 'string' ? args[0] : ''}`)
    return original.apply(this, args)
  }
}

function writes([, flags = 'r']) {
  return typeof flags === 'number'
    ? (flags & (fs.constants.O_CREAT | fs.constants.O_WRONLY | fs.constants.O_RDWR)) !== 0
    : flags !== 'r'
}

function step(what) {
  if (armed !== undefined) armed(++count, what)
}
