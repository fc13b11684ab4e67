/** Which tests run in the guest, as whom, with which Node. */
import { readdirSync } from 'node:fs'
import { root } from '../lib/process.mjs'
import { PAYLOAD, USER } from './recipe.mjs'

/** Tests of the checkout and of its compilers: they need both, and would say the same in the guest. */
const NOT_IN_GUEST = ['debian', 'package', 'arm64', 'examples']

/**
 * What depends on the kind of machine little, or is too slow on an emulated processor for every change: only with `all`. In the
 * core set is what cgroup v2, systemd and AppArmor decide: life, limits, executing, networks, other engines.
 */
const NOT_IN_CORE = [
  'aborts',
  'attach',
  'bad-options',
  'connect',
  'container-files',
  'container-lifetime',
  'dead-containers',
  'events',
  'image-archives',
  'image-ids',
  'logs',
  'made-ahead',
  'namespaces',
  'network-connect',
  'network-faults',
  'network-listen',
  'network-macvlan',
  'network-names',
  'network-resolve',
  'removed-containers',
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
