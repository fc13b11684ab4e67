import { Images, type ImagesOptions } from '../../src/image/images.ts'
import { RegistryClient } from '../../src/registry/client.ts'
import type { RegistryClientOptions } from '../../src/registry/options.ts'
import { Launcher } from '../../src/runtime/launcher.ts'
import type { UserNamespacePlan } from '../../src/runtime/protocol.ts'
import { openSnapshotter, snapshotTrees } from '../../src/snapshot/select.ts'
import type { Snapshotter } from '../../src/snapshot/snapshotter.ts'
import { ContentStore } from '../../src/store/content.ts'
import { run, type Ran } from './process.ts'
import { root as checkout } from './repository.ts'

/** The storage of an engine, without the rest. */
export interface Storage extends AsyncDisposable {
  launcher: Launcher
  store: ContentStore
  snapshotter: Snapshotter
  snapshots: ImagesOptions['snapshots']
  images: Images
}

export type Driver = Snapshotter['name']

/** Opens the storage of an engine on a root, with a launcher of its own. */
export async function openStorage(
  root: string,
  options: { driver?: Driver; registry?: RegistryClientOptions } = {},
): Promise<Storage> {
  const launcher = await Launcher.start()
  const registry = new RegistryClient(options.registry)
  try {
    const store = await ContentStore.open(root, launcher)
    const probe = { overlay: { ok: true }, overlayUserxattr: { ok: true } }
    const snapshotter = await openSnapshotter({
      root,
      helper: launcher,
      driver: options.driver ?? 'overlay',
      probe,
      rootless: false,
    })
    const snapshots = () => snapshotTrees(root, launcher)
    const images = new Images({ store, snapshotter, snapshots, registry, helper: launcher })
    return {
      launcher,
      store,
      snapshotter,
      snapshots,
      images,
      async [Symbol.asyncDispose]() {
        await snapshotter[Symbol.asyncDispose]()
        await registry.close()
        await launcher.close()
      },
    }
  } catch (error) {
    await registry.close()
    await launcher.close()
    throw error
  }
}

/**
 * Runs a piece of JavaScript in a Node process of its own, with `storage` opened on the root, from `build/`.
 * It has to end by itself; `print(value)` becomes a line of its output.
 */
export async function inProcess(
  root: string,
  source: string,
  options: { signal?: AbortSignal; anyExit?: boolean } = {},
): Promise<Ran> {
  return await run(process.execPath, ['--input-type=module', '--eval', program(root, source)], {
    ...options,
  })
}

export interface ProgramOptions {
  driver?: Driver
  /** As an ordinary user: the user namespace of the launcher. */
  user?: UserNamespacePlan
  owners?: 'keep' | 'squash'
}

/** The text of {@link inProcess}, for tests that start the process themselves. */
export function program(
  root: string,
  source: string,
  { driver = 'overlay', user, owners = 'keep' }: ProgramOptions = {},
): string {
  return `
    import { Launcher } from ${from('runtime/launcher.js')}
    import { ContentStore } from ${from('store/content.js')}
    import { openSnapshotter, snapshotTrees } from ${from('snapshot/select.js')}
    import { Images } from ${from('image/images.js')}
    import { RegistryClient } from ${from('registry/client.js')}
    const root = ${JSON.stringify(root)}
    const print = (value) => process.stdout.write(JSON.stringify(value) + '\\n')
    const launcher = await Launcher.start(${JSON.stringify({ user })})
    const store = await ContentStore.open(root, launcher)
    const ok = { ok: true }
    const snapshotter = await openSnapshotter({
      ...${JSON.stringify({ driver, owners, rootless: user !== undefined })},
      root, helper: launcher, probe: { overlay: ok, overlayUserxattr: ok },
    })
    const registry = new RegistryClient()
    const snapshots = () => snapshotTrees(root, launcher)
    const images = new Images({ store, snapshotter, snapshots, registry, helper: launcher })
    ${source}
    await snapshotter[Symbol.asyncDispose]()
    await registry.close()
    await launcher.close()
  `
}

const from = (path: string) => JSON.stringify(`${checkout}/build/${path}`)
