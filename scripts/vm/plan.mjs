/** Which tests run in the guest, as whom, with which Node. */
import { readdirSync } from 'node:fs'
import { root } from '../lib/process.mjs'
import { PAYLOAD, USER } from './recipe.mjs'

/** Emulation is some twenty times slower than the processor: the core set is what depends on the kind of machine. */
const CORE = ['guest']

/** Tests of the checkout, or of the host's own tools: their answers would be the same in the guest. */
const NOT_IN_GUEST = ['package']

const DEBIAN_NODE = '/usr/bin/node'
const NEWER_NODE = `${PAYLOAD}/node`

/** @param {{ all: boolean, words: string[] }} options */
export function planRuns({ all, words }) {
  const files = testFiles().filter((file) => !named(file, NOT_IN_GUEST))
  const chosen =
    words.length > 0 || all
      ? files.filter((file) => contains(file, words))
      : files.filter((file) => named(file, CORE))
  const pairs = [
    ['root', DEBIAN_NODE],
    [USER, NEWER_NODE],
    ...(all
      ? [
          ['root', NEWER_NODE],
          [USER, DEBIAN_NODE],
        ]
      : []),
  ]
  return pairs.map(([user, node]) => ({
    title: `${user === 'root' ? 'root' : 'an ordinary user'}, ${node === DEBIAN_NODE ? "Debian's Node" : 'a newer Node'}`,
    user,
    node,
    files: chosen,
  }))
}

function testFiles() {
  return readdirSync(`${root}/test/integration`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/integration/${file}`)
    .sort()
}

function contains(file, words) {
  return words.length === 0 || words.some((word) => file.includes(word))
}

function named(file, names) {
  return names.some((name) => file.endsWith(`/${name}.test.ts`))
}
