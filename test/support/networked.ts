import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest'
import type { Container, CreateOptions, Network, RunningProcess, Warning } from '../../src/index.ts'
import { testEngine, type TestEngine } from './engine.ts'
import { lookUp, nameServer, type Lookup } from './names.ts'
import { networkHost, type NetworkHost } from './network-namespace.ts'

/** What tests of networks stand on; each is there from the hooks on. */
export interface Networked {
  host: NetworkHost
  test: TestEngine
  /** `net`, of both families, made anew for each test. */
  network: Network
  /** What the engine has warned of. */
  warnings: Warning[]
  /** A container on `net` that sleeps. */
  start: (options?: Partial<CreateOptions>) => Promise<Container>
}

/** {@link networked}, with containers whose resolver is `dns-server.mjs` on the other host. */
export function networkedWithNames(): Networked {
  const on = networked({ dns: ['192.0.2.2'] })
  let server: AsyncDisposable
  beforeAll(async () => {
    server = await nameServer(on.host.namespaces.outside, '192.0.2.2')
  })
  afterAll(() => server[Symbol.asyncDispose]())
  return on
}

/** Runs a line of shell in a container, whatever its exit code. */
export function sh(container: Container, line: string): RunningProcess {
  return container.exec(['/bin/busybox', 'sh', '-c', line], { reject: false })
}

/** What the name service of a container answers. */
export async function ask(container: Container, method: Lookup, name: string): Promise<unknown> {
  return await lookUp((await container.state()).pid, method, name)
}

/**
 * An engine on a host of its own. After each test its containers and networks are removed.
 *
 * @param defaults of every container
 */
export function networked(defaults: Partial<CreateOptions> = {}): Networked {
  const warnings: Warning[] = []
  const on = {
    warnings,
    start: (options: Partial<CreateOptions> = {}) =>
      on.test.engine.containers.run({
        image: on.test.image,
        command: ['sleep', '1000'],
        networks: 'net',
        ...defaults,
        ...options,
      }),
  } as Networked
  beforeAll(async () => {
    on.host = await networkHost()
    on.test = await testEngine({ onWarning: (warning) => warnings.push(warning) }, (options) =>
      on.host.open(options),
    )
  })
  afterAll(async () => {
    await on.test[Symbol.asyncDispose]()
    await on.host[Symbol.asyncDispose]()
  })
  beforeEach(async () => {
    on.network = await on.test.engine.networks.create({ name: 'net', ipv6: true })
  })
  afterEach(async () => {
    for (const container of await on.test.engine.containers.list({ all: true })) {
      await container.remove({ force: true })
    }
    await on.test.engine.networks.prune()
  })
  return on
}
