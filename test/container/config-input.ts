import { Ajv, type ValidateFunction } from 'ajv'
import type { ConfigInput } from '../../src/container/config/config.ts'
import { normalizeRunOptions } from '../../src/container/normalize/normalize.ts'
import type { RunOptions } from '../../src/container/options/options.ts'
import { parseDigest } from '../../src/oci/digest.ts'
import { CAPABILITIES } from '../../src/security/capabilities.ts'
import { DEFAULT_PROFILE } from '../../src/security/seccomp/profile.ts'
import { readSpec } from '../support/spec.ts'

const ID = '0123456789abcdef'.repeat(4)

/** The runtime specification's schema of `config.json`. */
export function configSchema(): ValidateFunction {
  const ajv = new Ajv({ strict: false, logger: false })
  for (const name of ['defs.json', 'defs-linux.json', 'config-linux.json']) {
    ajv.addSchema(withoutDialect(readSpec(`oci-runtime/${name}`)), name)
  }
  return ajv.compile(withoutDialect(readSpec('oci-runtime/config-schema.json')))
}

/** The schemas say draft 4, and use nothing of it that later drafts have not. Platforms of which there is no schema here are left out. */
function withoutDialect(schema: unknown): object {
  const { $schema: _, ...rest } = schema as Record<string, unknown>
  const properties = rest['properties'] as Record<string, unknown> | undefined
  if (properties?.['linux'] === undefined) return rest
  const others = new Set(['windows', 'solaris', 'vm', 'zos', 'freebsd'])
  const kept = Object.entries(properties).filter(([name]) => !others.has(name))
  return { ...rest, properties: Object.fromEntries(kept) }
}

/** All that a configuration is made of, on a host that can do everything. */
export function configInput(options: RunOptions, more: Partial<ConfigInput> = {}): ConfigInput {
  return {
    id: ID,
    options: normalizeRunOptions(['true'], options),
    stdin: options.stdin !== undefined,
    terminal: false,
    everyController: false,
    image: { digest: parseDigest(`sha256:${ID}`), parameters: { Env: ['A=1'] } },
    user: { uid: 0, gid: 0, additionalGids: [0], home: '/root' },
    userns: undefined,
    peers: {},
    etc: undefined,
    rootfs: {
      rootfs: [{ type: 'overlay', lower: ['/l'], upper: '/u', work: '/w' }],
      remove: ['/writable'],
      locks: [],
    },
    bundle: '/run/bundle',
    host: {
      architecture: 'amd64',
      kernel: { release: '6.12.0', version: [6, 12] },
      rootless: false,
      thermalThrottle: [],
    },
    hostname: 'host',
    cgroups: {
      v2: { directory: '/sys/fs/cgroup/keelson', controllers: ['memory', 'cpu', 'cpuset', 'pids'] },
      v1: {},
      swapAccounting: true,
      remedy: '',
    },
    capabilities: CAPABILITIES,
    ttyGroup: true,
    seccomp: DEFAULT_PROFILE,
    apparmor: undefined,
    devices: [],
    blockIO: {},
    ...more,
  }
}
