import { text } from 'node:stream/consumers'

const NAMES = ['north', 'south']

/** Volumes, those without a name among them, and containers that have some, or an image, or their writable layer in memory. */
export function volumeWork({ engine, reference, below, pick }) {
  const mounts = () =>
    pick([
      // Filled from the image.
      { mounts: [`${pick(NAMES)}:/bin`, { type: 'volume', target: '/anonymous' }] },
      { mounts: [{ type: 'image', source: reference, target: '/image' }] },
      { storage: 'tmpfs' },
    ])
  const named = () => engine.volumes.get(pick(NAMES))
  return {
    mounts,
    work: {
      createVolume: () => engine.volumes.create({ name: pick(NAMES) }),
      removeVolume: async () => (await named()).remove(),
      pruneVolumes: () => engine.volumes.prune({ all: below(2) === 0 }),
      cloneVolume: async () => (await named()).clone(pick(NAMES)),
      exportVolume: async () => text((await named()).export()),
      runWithVolume: () => engine.run(reference, ['/bin/busybox', 'true'], mounts()),
    },
  }
}
