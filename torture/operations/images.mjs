/** Pulls, makes, removes images and runs programs in them, by `engine.run`. */
export function imageWork({ engine, reference, below }) {
  const run = (command, options) => engine.run(reference, ['/bin/busybox', ...command], options)
  return {
    run: () => run(['true']),
    output: () => run(['seq', '5000']),
    timeout: () => run(['sleep', '60'], { timeout: 1 + below(40) }),
    tree: () => run(['sh', '-c', 'sleep 60 & sleep 60 & sleep 0.02'], { memory: '64m' }),
    pull: () => engine.images.pull(reference, { policy: 'always' }),
    remove: async () => (await engine.images.get(reference)).remove(),
    prune: () => engine.images.prune(),
    runWithUsers: () => run(['true'], { userns: 'auto' }),
    make: () => engine.images.from({ '/file': Buffer.from(String(below(1000))) }),
  }
}
