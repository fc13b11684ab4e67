import { mkdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { computeConfig } from '../../src/container/config/config.ts'
import { hostnameOf } from '../../src/container/namespaces/hostname.ts'
import { etcFiles } from '../../src/container/config/etc-files.ts'
import { normalizeRunOptions } from '../../src/container/normalize/normalize.ts'
import { findUser } from '../../src/container/user/user.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import type { ExecutionParameters } from '../../src/oci/image-config.ts'
import { readHostFacts } from '../../src/runtime/host.ts'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { hostDevice, hostDevices } from '../../src/security/host-devices.ts'
import { loadSeccomp, type SeccompOption } from '../../src/security/seccomp/load.ts'
import { dockerd, type Dockerd } from '../support/dockerd.ts'
import { tar } from '../support/layers.ts'
import { readSpec } from '../support/spec.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { cases, type Case } from './cases.ts'
import { compare, DIFFERENCES, isMeant } from './differences.ts'
import { etcFacts, facts, type Facts, type RuntimeConfig } from './facts.ts'

// What Docker hands to its runtime is taken from the bundle; ours is what the helper would be given.

const PASSWD = 'root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n'
const GROUP = 'root:x:0:\nuser:x:1000:\nstaff:x:50:user\n'
const FULL: ExecutionParameters = {
  Env: ['A=1', 'B=2'],
  WorkingDir: '/srv',
  User: 'user',
  Entrypoint: ['/entry', '-e'],
  Cmd: ['serve'],
}

const temp = await temporaryDirectory()
mkdirSync(temp.join('shared'))
let docker: Dockerd
beforeAll(async () => {
  docker = await dockerd(temp.join('shared'))
  const archive = tar([
    { name: 'etc/', type: '5' },
    { name: 'etc/passwd', content: PASSWD },
    { name: 'etc/group', content: GROUP },
  ])
  await docker.import('plain:1', archive)
  await docker.import('full:1', archive, [
    ...(FULL.Env ?? []).map((line) => `ENV ${line}`),
    `WORKDIR ${FULL.WorkingDir}`,
    `USER ${FULL.User}`,
    `ENTRYPOINT ${JSON.stringify(FULL.Entrypoint)}`,
    `CMD ${JSON.stringify(FULL.Cmd)}`,
  ])
})
afterAll(async () => {
  await docker?.[Symbol.asyncDispose]()
  await temp[Symbol.asyncDispose]()
})

/** Differences that showed in any case. */
const seen = new Set<(typeof DIFFERENCES)[number]>()

describe("a container's configuration is Docker's, but for what is meant", () => {
  test.each(cases(temp.join('shared')))('$name', async (each) => {
    const { differences } = await compareWithDocker(each)
    const unmeant = Object.entries(differences).filter(([name, values]) => {
      const meant = known().filter((difference) => isMeant(difference, each.name, name, values))
      for (const difference of meant) seen.add(difference)
      return meant.length === 0
    })
    expect(Object.fromEntries(unmeant)).toEqual({})
  })

  test('every difference that is meant is there', () => {
    expect(known().filter((difference) => !seen.has(difference))).toEqual([])
  })
})

// Then versions of Docker make no difference: this is about how conditions of the profile are resolved.
describe("a seccomp profile comes out as Docker's for the same profile", () => {
  const profile = readSpec('moby-seccomp-default.json') as object
  test.each([
    [[], []],
    [['ALL'], []],
    [['SYS_ADMIN', 'SYS_PTRACE'], []],
    [['SYS_CHROOT', 'SYSLOG'], ['ALL']],
  ])('capabilities +%j -%j', async (capAdd, capDrop) => {
    const { differences } = await compareWithDocker({
      name: 'profile',
      options: { seccomp: profile, capAdd, capDrop },
      host: {
        SecurityOpt: [`seccomp=${JSON.stringify(profile)}`],
        CapAdd: capAdd,
        CapDrop: capDrop,
      },
    })
    const seccomp = Object.entries(differences).filter(([name]) => /^(syscall|seccomp)/.test(name))
    expect(Object.fromEntries(seccomp)).toEqual({})
  })
})

function known() {
  return DIFFERENCES.filter(({ before }) => before === undefined || docker.version < before)
}

async function compareWithDocker(each: Case) {
  const { SecurityOpt = [], ...host } = (each.host ?? {}) as { SecurityOpt?: string[] }
  const plain = each.image !== 'full'
  const call = await docker.runtimeCall({
    Image: plain ? 'plain:1' : 'full:1',
    ...(plain && { Cmd: ['true'] }),
    ...each.docker,
    HostConfig: {
      // As on hosts with cgroup v2, whatever this one has; and the name of a profile says nothing.
      CgroupnsMode: 'private',
      SecurityOpt: ['apparmor=unconfined', ...SecurityOpt],
      ...host,
    },
  })
  const theirs = {
    ...facts(call.config as RuntimeConfig, call.id),
    ...etcFacts(call.etc, call.id),
  }
  return { differences: compare(theirs, await ours(each, call.id)) }
}

async function ours(each: Case, id: string): Promise<Facts> {
  const command = 'command' in each ? each.command : ['true']
  const options = normalizeRunOptions(command, each.options)
  const parameters = each.image === 'full' ? FULL : {}
  const config = computeConfig({
    id,
    options,
    image: { digest: parseDigest(`sha256:${'0'.repeat(64)}`), parameters },
    user: findUser(options.user ?? parameters.User ?? '', { passwd: PASSWD, group: GROUP }),
    rootfs: { rootfs: [], remove: [], locks: [] },
    userns: undefined,
    peers: {},
    etc: undefined,
    bundle: '/run/bundle',
    stdin: false,
    terminal: false,
    blockIO: {},
    everyController: false,
    // The directories of this processor's throttling are masked too, by newer versions of Docker as well.
    host: { ...(await readHostFacts()), rootless: false, thermalThrottle: [] },
    hostname: hostname(),
    cgroups: {
      v2: { directory: '/cgroup', controllers: ['memory', 'cpu', 'cpuset', 'pids'] },
      v1: {},
      swapAccounting: true,
      remedy: '',
    },
    capabilities: CAPABILITIES,
    ttyGroup: true,
    seccomp: await loadSeccomp(options.seccomp as SeccompOption | undefined, options),
    apparmor: undefined,
    devices: options.privileged
      ? await hostDevices()
      : await Promise.all(options.devices.map(find)),
  })
  const [hosts, resolvConf] = await Promise.all(
    ['/etc/hosts', '/etc/resolv.conf'].map((path) => readFile(path, 'utf8')),
  )
  const etc = etcFiles(hostnameOf(id, options, hostname()), options, {
    hosts: hosts ?? '',
    resolvConf: resolvConf ?? '',
  })
  return { ...facts(config as unknown as RuntimeConfig, id), ...etcFacts(etc, id) }
}

async function find({ path, target, access }: { path: string; target: string; access: string }) {
  const device = await hostDevice(path)
  if (device === undefined) throw new Error(`there is no ${path}`)
  return { ...device, path: target, access }
}
