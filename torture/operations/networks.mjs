const NAMES = ['red', 'green', 'default']
/** Some of them are wanted twice. */
const PORTS = ['8080:80', '8080:80/udp', '127.0.0.1:8081:80', '80']

/** Networks, and containers on them with published ports. */
export function networkWork({ engine, reference, below, pick, some }) {
  const network = () => {
    const [first, second] = [pick(NAMES), pick(NAMES)]
    const networks = [{ network: first, aliases: below(2) ? ['web'] : [] }]
    if (second !== first) networks.push({ network: second, priority: 1 })
    return { networks, ports: below(2) ? [pick(PORTS)] : [] }
  }
  const named = () => engine.networks.get(pick(NAMES))
  return {
    network,
    work: {
      createNetwork: () =>
        engine.networks.create({
          name: pick(NAMES),
          internal: below(3) === 0,
          ipv6: below(3) === 0,
        }),
      inspectNetwork: async () => (await named()).inspect(),
      removeNetwork: async () => (await named()).remove(),
      pruneNetworks: () => engine.networks.prune(),
      connect: async () => {
        const container = await some()
        if (container === undefined) return
        await (await named()).connect(container, { priority: below(3), aliases: [pick(NAMES)] })
      },
      disconnect: async () => {
        const container = await some()
        if (container === undefined) return
        await (await named()).disconnect(container, { force: below(2) === 0 })
      },
      resolve: async () => {
        await (await named()).resolve(() => undefined, { fallback: pick(['pass', 'fail']) })
      },
      runOnNetwork: () => engine.run(reference, ['/bin/busybox', 'true'], network()),
    },
  }
}
