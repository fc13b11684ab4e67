/** Which tests run in the guest, as whom, with which Node. */
import { readdirSync } from 'node:fs'
import { root } from '../lib/process.mjs'
import { PAYLOAD, USER } from './recipe.mjs'

/** Tests of the checkout and of its compilers: they need both, and would say the same in the guest. */
const NOT_IN_GUEST = ['debian', 'package', 'arm64', 'examples']

/** What does not depend on the kind of machine, and is slow on an emulated processor: only with `all`. */
const NOT_IN_CORE = [
  'attach',
  'bad-options',
  'container-files',
  'container-lifetime',
  'containers',
  'exec',
  'image-archives',
  'logs',
  'made-ahead',
  'namespaces',
  'network',
  'network-names',
  'observe',
  'oci-runtime/bundle',
  'oci-runtime/docker',
  'oci-runtime/podman',
  'run-options',
  'torture',
  'volumes',
  'from-host',
  'image-from',
  'images',
  'pull',
  'registry',
  'registry-server',
  'store',
  'tools',
]

/** Tests that any user can run and that look at that user's own session. The others need root, and make ordinary users. */
const ANY_USER = ['session', 'systemd', 'oci-runtime/podman']

const DEBIAN_NODE = { title: "Debian's Node", path: '/usr/bin/node' }
const NEWER_NODE = { title: 'a newer Node', path: `${PAYLOAD}/node` }

/**
 * The core set runs as root with one Node and as an ordinary user with the other; `all`: every test, and each with both.
 * @param {{ all: boolean, words: string[] }} options `words`: instead, only files whose path contains one of them
 */
export function planRuns({ all, words }) {
  const left = all || words.length > 0 ? NOT_IN_GUEST : [...NOT_IN_GUEST, ...NOT_IN_CORE]
  const files = testFiles().filter((file) => !named(file, left) && contains(file, words))
  const asUser = files.filter((file) => named(file, ANY_USER))
  const core = [runOf('root', DEBIAN_NODE, files), runOf(USER, NEWER_NODE, asUser)]
  const others = [runOf('root', NEWER_NODE, files), runOf(USER, DEBIAN_NODE, asUser)]
  return [...core, ...(all ? others : [])].filter((run) => run.files.length > 0)
}

function runOf(user, node, files) {
  const who = user === 'root' ? 'root' : 'an ordinary user'
  return { title: `${who}, ${node.title}`, user, node: node.path, files }
}

function testFiles() {
  return readdirSync(`${root}/test/integration`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `test/integration/${file}`)
    .toSorted()
}

function contains(file, words) {
  return words.length === 0 || words.some((word) => file.includes(word))
}

function named(file, names) {
  return names.some((name) => file.endsWith(`/${name}.test.ts`))
}
