import { assert, constantFrom, pre, property, subarray } from 'fast-check'
import { describe, expect, it } from 'vitest'
import { computeConfig } from '../../../src/container/config/config.ts'
import { normalizeRunOptions } from '../../../src/container/normalize/normalize.ts'
import type { RunOptions } from '../../../src/container/options/options.ts'
import { standbyKey } from '../../../src/container/run/standby.ts'
import { configInput } from '../config-input.ts'

const CHANGES: RunOptions[] = [
  { entrypoint: '/e' },
  { env: { A: '2' } },
  { user: '5' },
  { workdir: '/w' },
  { hostname: 'h' },
  { domainname: 'd' },
  { labels: { a: 'b' } },
  { annotations: { a: 'b' } },
  { storage: 'tmpfs' },
  { networks: 'none' },
  { networks: 'host' },
  { networks: ['a'] },
  { networks: [{ network: 'a', ip: '10.0.0.5' }] },
  { networks: ['a'], ports: ['80:80'] },
  { memory: '64m' },
  { memory: '64m', memorySwap: -1 },
  { memoryReservation: '32m' },
  { cpus: 1 },
  { cpuShares: 512 },
  { cpuset: '0' },
  { pids: 5 },
  { ulimits: { nofile: 64 } },
  { sysctls: { 'kernel.shmmax': '1' } },
  { shmSize: '1m' },
  { oomScoreAdj: 5 },
  { deviceCgroupRules: ['c 10:200 rwm'] },
  { capAdd: ['SYS_TIME'] },
  { capDrop: ['CHOWN'] },
  { readonly: true },
  { seccomp: 'unconfined' },
  { seccomp: { defaultAction: 'SCMP_ACT_ALLOW' } },
  { apparmor: 'unconfined' },
  { noNewPrivileges: true },
  { ipc: 'none' },
  { init: true },
  { extraHosts: { a: '192.0.2.1' } },
  { dns: ['192.0.2.1'] },
  { stdin: 'text' },
  { timeout: '1s' },
  { maxOutput: '1k' },
  { collect: false },
  { reject: false },
  { stripFinalNewline: true },
]

const input = configInput({})
const image = {
  digest: input.image.digest,
  descriptor: { mediaType: '', digest: input.image.digest, size: 0 },
  config: { config: input.image.parameters },
  chain: [],
}

function keyOf(options: RunOptions): string | undefined {
  return standbyKey(normalizeRunOptions(['true'], options), image)
}

/** Ports need a network of their own. */
function isAllowed({ ports, networks }: RunOptions): boolean {
  return ports === undefined || Array.isArray(networks)
}

/** A configuration, as far as it is the same for all programs. */
function shapeOf(options: RunOptions) {
  const config = computeConfig(configInput(options))
  return { ...config, process: { ...config.process, args: [], env: [] } }
}

describe('the key of a standby', () => {
  it('is the same only for options that make the same container', () => {
    const options = subarray(CHANGES, { maxLength: 3 }).map(
      (changes) => Object.assign({}, ...changes) as RunOptions,
    )
    assert(
      property(options, options, constantFrom(...CHANGES), (some, others, one) => {
        for (const other of [others, { ...some, ...one }]) {
          pre([some, other].every(isAllowed))
          const key = keyOf(some)
          if (key !== undefined && key === keyOf(other)) {
            expect(shapeOf(some)).toEqual(shapeOf(other))
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  it.each<RunOptions>([
    { env: { A: '2' } },
    { entrypoint: '/e' },
    { timeout: '1s' },
    { labels: { a: 'b' } },
    { collect: false },
  ])('is the same whatever the program is and however it is watched: %o', (options) => {
    expect(keyOf(options)).toBe(keyOf({}))
  })

  it.each<RunOptions>([
    { networks: 'host' },
    { mounts: ['/host:/target'] },
    { mounts: ['volume:/target'] },
    { devices: ['/dev/null'] },
    { blkio: { weight: 100 } },
    { privileged: true },
    { pid: 'host' },
    { pid: 'container:a' },
    { ipc: 'container:a' },
    { uts: 'host' },
    { userns: 'auto' },
    { seccomp: '/profile.json' },
  ])('is none where the host has to be looked at: %o', (options) => {
    expect(keyOf(options)).toBeUndefined()
  })

  it('is none for an image that declares volumes', () => {
    const declaring = { ...image, config: { config: { Volumes: { '/data': {} } } } }
    expect(standbyKey(normalizeRunOptions(['true'], {}), declaring)).toBeUndefined()
  })
})
