import { expect, test } from 'vitest'
import { givenOptions } from '../../../src/container/inspect/given-options.ts'
import { normalizeCreateOptions } from '../../../src/container/normalize/create.ts'
import type { CreateOptions } from '../../../src/container/options/create-options.ts'
import { CONTAINER_OPTIONS } from '../../../src/container/normalize/normalize.ts'
import type { RecordedImage } from '../../../src/container/record/record.ts'

const image = { id: 'sha256:1' } as unknown as RecordedImage
const sink = () => {}

/** Every option, as a person writes it. */
const EVERY: Required<Omit<CreateOptions, 'name' | 'signal' | 'platform' | 'pull'>> = {
  image: 'app:1',
  command: 'run',
  entrypoint: '/entry',
  env: ['A=1', 'B'],
  user: 1000,
  workdir: '/work',
  hostname: 'host',
  domainname: 'example.com',
  labels: { a: '1' },
  annotations: { note: 'x' },
  mounts: [
    '/host:/bind:ro,rslave',
    'data:/data:nocopy',
    '/anonymous',
    { type: 'tmpfs', target: '/memory', size: '1m', mode: 0o700, uid: 5 },
    { type: 'tmpfs', target: '/plain' },
    { type: 'image', source: 'other:1', target: '/image', subpath: 'usr' },
    { type: 'bind', source: '/host', target: '/part', subpath: 'a', create: true },
  ],
  storage: { size: '1g' },
  networks: ['one', { network: 'two', aliases: ['b'], ip: '10.0.0.5', priority: 5 }],
  ports: ['8080:80', 443, '127.0.0.1:53:53/udp', { container: [1000, 1001], host: [2000, 2001] }],
  memory: '512m',
  memorySwap: '1g',
  memoryReservation: '256m',
  memorySwappiness: 10,
  blkio: {
    weight: 500,
    weightDevice: { '/dev/sda': 100 },
    readBps: { '/dev/sda': '1m' },
    writeIops: { '/dev/sdb': 50 },
  },
  hugetlb: { '2MB': '64m' },
  cpus: 1.5,
  cpuShares: 512,
  cpuset: '0',
  pids: 0,
  ulimits: { nofile: 100, core: { soft: 0, hard: -1 } },
  sysctls: { 'net.core.somaxconn': '10' },
  shmSize: '1m',
  oomScoreAdj: 10,
  devices: ['/dev/fuse:/dev/other:r'],
  deviceCgroupRules: ['c 10:200 rwm', 'b 8:* r', 'a *:* m'],
  capAdd: ['NET_ADMIN'],
  capDrop: ['ALL'],
  privileged: false,
  readonly: true,
  seccomp: { defaultAction: 'SCMP_ACT_ALLOW' },
  apparmor: 'unconfined',
  noNewPrivileges: true,
  pid: 'container:other',
  ipc: 'shareable',
  uts: 'private',
  userns: 'host',
  init: true,
  extraHosts: { 'db.test': '192.0.2.1', six: '2001:db8::1', up: 'host-gateway' },
  dns: ['192.0.2.53'],
  dnsSearch: ['test'],
  dnsOptions: ['ndots:1'],
  tty: true,
  stdin: true,
  restart: 'on-failure:3',
  stopSignal: 'SIGRTMIN+3',
  stopTimeout: '1m',
  healthcheck: { test: 'true', interval: '1s', retries: 2, onFailure: 'restart' },
  logs: { driver: sink },
  detached: false,
  autoRemove: false,
}

test.each<[string, CreateOptions]>([
  ['every option', EVERY],
  ['none', { image: 'app:1' }],
  [
    'other forms',
    {
      image: 'app:1',
      storage: 'tmpfs',
      networks: 'container:web',
      ipc: 'none',
      pid: 'host',
      userns: 'host',
      healthcheck: 'none',
      logs: { maxSize: '1m', maxFiles: 3 },
      restart: 'always',
      stopSignal: 9,
      stopTimeout: -1,
      memorySwap: -1,
      pids: -1,
      entrypoint: '',
      detached: true,
      ulimits: { nofile: -1 },
    },
  ],
  ['no log', { image: 'app:1', logs: 'none', autoRemove: true, networks: 'host' }],
])('%s: what a container was made with makes its like', (_, options) => {
  const normal = normalizeCreateOptions({ name: 'first', ...options })
  const given = givenOptions({ image, options: normal }, sink)
  expect(normalizeCreateOptions(given)).toEqual({ ...normal, name: undefined })
  expect(givenOptions({ image, options: normalizeCreateOptions(given) }, sink)).toEqual(given)
  expect(Object.values(given)).not.toContain(undefined)
})

test('every option there is has been tried', () => {
  expect(Object.keys(EVERY)).toEqual(expect.arrayContaining([...CONTAINER_OPTIONS]))
})
