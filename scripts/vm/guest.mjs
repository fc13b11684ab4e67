/**
 * What the guest does when it has booted: states what kind of machine it is, then runs the tests of `plan.json`, each run as
 * root or as an ordinary user in a session of systemd's, and hands every result over as one line of JSON.
 */
import { spawnSync } from 'node:child_process'
import { appendFileSync, chmodSync, existsSync, readFileSync } from 'node:fs'
import { release } from 'node:os'
import { dirname } from 'node:path'
import { countVitest, none } from '../lib/counts.mjs'
import { PAYLOAD, RESULTS, USER } from './recipe.mjs'

/** How much slower than on the processor itself a test may be before it counts as hanging. */
const SLOWNESS = '10'

const plan = JSON.parse(readFileSync(`${PAYLOAD}/plan.json`, 'utf8'))
const uid = Number(command('id', '-u', USER))
// begun at boot, at its own pace
command('systemctl', 'start', `user@${uid}.service`)

report(facts())
for (const { title, user, node, files } of plan.runs) {
  console.log(`\n== guest: ${title}`)
  report(await countVitest(`guest: ${title}`, (file) => vitest({ user, node, files, file })))
}

/** Each is a promise of the guest; a test that passed on another kind of machine would say nothing. */
function facts() {
  const session = `/sys/fs/cgroup/user.slice/user-${uid}.slice/user@${uid}.service`
  const delegated = read(`${session}/cgroup.controllers`).split(' ')
  const checks = {
    'Linux 6.12': release().startsWith('6.12.'),
    'cgroup v2 and nothing else': existsSync('/sys/fs/cgroup/cgroup.controllers'),
    'AppArmor in force':
      read('/sys/kernel/security/lsm').includes('apparmor') &&
      read('/sys/module/apparmor/parameters/enabled') === 'Y',
    'systemd is the first process': read('/proc/1/comm') === 'systemd',
    'every capability': read('/proc/self/status').includes('CapEff:\t000001ffffffffff'),
    'memory, cpu and pids delegated to the user': ['memory', 'cpu', 'pids'].every((name) =>
      delegated.includes(name),
    ),
  }
  const counts = none()
  console.log(`\n== guest: ${release()}, Node ${process.version}`)
  for (const [name, holds] of Object.entries(checks)) {
    console.log(`  ${holds ? 'yes' : 'NO '} ${name}`)
    if (holds) counts.passed += 1
    else {
      counts.failed += 1
      counts.failures.push(`guest: ${name}`)
    }
  }
  return counts
}

/** @returns {number} exit code of the test runner */
function vitest({ user, node, files, file }) {
  const variables = {
    CI: '1',
    FORCE_COLOR: '0',
    KEELSON_REPORT: file,
    KEELSON_TEST_BUILT: '1',
    KEELSON_TEST_SLOWNESS: SLOWNESS,
  }
  const runner = [
    node,
    `${PAYLOAD}/node_modules/vitest/vitest.mjs`,
    'run',
    '--project=integration',
    '--reporter=default',
    `--reporter=${PAYLOAD}/scripts/lib/reporter.mjs`,
    ...files,
  ]
  if (user === 'root') return interactive(runner, variables)
  chmodSync(dirname(file), 0o777)
  return interactive(inUserSession(runner, { ...variables, TMPDIR: '/var/tmp' }), {})
}

/** As a person who is logged in: a unit of the user's own systemd, which hands its cgroup over. */
function inUserSession(runner, variables) {
  const settings = Object.entries(variables).map(([name, value]) => `--setenv=${name}=${value}`)
  const become = ['runuser', '-u', USER, '--', 'env', `XDG_RUNTIME_DIR=/run/user/${uid}`]
  const unit = ['--user', '--quiet', '--wait', '--collect', '--pipe', '--property=Delegate=yes']
  const directory = `--working-directory=${PAYLOAD}`
  return [...become, 'systemd-run', ...unit, directory, ...settings, ...runner]
}

function interactive([file, ...args], variables) {
  const env = { ...process.env, ...variables }
  return spawnSync(file, args, { cwd: PAYLOAD, env, stdio: 'inherit' }).status ?? 128
}

function report(counts) {
  appendFileSync(`/dev/virtio-ports/${RESULTS}`, `${JSON.stringify(counts)}\n`)
}

function read(path) {
  return readFileSync(path, 'utf8').trim()
}

function command(file, ...args) {
  return spawnSync(file, args, { encoding: 'utf8' }).stdout.trim()
}
