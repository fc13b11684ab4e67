import { createHash } from 'node:crypto'
import { access, mkdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ExecutionParameters } from '../../src/oci/image-config.ts'
import type { Compression } from '../../src/oci/media-types.ts'
import { writeLayout } from './image-layout.ts'
import { layer, type TarEntry } from './layers.ts'
import { run } from './process.ts'
import { cache } from './repository.ts'

/** Debian's static busybox. */
const BUSYBOX = '/usr/bin/busybox'

/** What distinguishes one busybox image from another. */
export interface BusyboxOptions {
  compression?: Compression
  config?: ExecutionParameters
  /** More entries, each a layer of its own above the first. */
  layers?: TarEntry[][]
}

/** An image in an OCI image layout directory that stays for later runs: do not change it. */
export interface CachedImage {
  layout: string
  /** Its name in the layout: `busybox:1`. */
  name: string
}

/**
 * Writes an image of busybox: every applet in /bin, users `root` and `user` (1000, in the groups `user` and `extra`), /tmp.
 * The same options give the same directory, in this run and the next.
 */
export async function busyboxImage(options: BusyboxOptions = {}): Promise<CachedImage> {
  const busybox = await readFile(BUSYBOX)
  const key = createHash('sha256')
    .update(busybox)
    .update(JSON.stringify([FORMAT, options], bytesAsText))
    .digest('hex')
    .slice(0, 16)
  const image = { layout: join(cache, 'images', `busybox-${key}`), name: 'busybox:1' }
  if (await exists(image.layout)) return image
  const compression = options.compression ?? 'gzip'
  const layers = [await busyboxEntries(), ...(options.layers ?? [])]
  const temporary = `${image.layout}.${process.pid}`
  await mkdir(temporary, { recursive: true })
  await writeLayout(temporary, image.name, {
    layers: await Promise.all(layers.map((entries) => layer(entries, compression))),
    config: options.config ?? { Cmd: ['sh'], Env: ['PATH=/bin'] },
  })
  await install(temporary, image.layout)
  return image
}

/** To be raised when the content changes. */
const FORMAT = 1

/** The root file system of {@link busyboxImage}. */
export async function busyboxEntries(): Promise<TarEntry[]> {
  const { stdout } = await run(BUSYBOX, ['--list'])
  const applets = stdout.split('\n').filter((name) => name !== '' && name !== 'busybox')
  const directories = ['bin', 'dev', 'etc', 'home', 'proc', 'root', 'sys', 'usr', 'var']
  return [
    ...directories.map((name) => ({ name: `${name}/`, type: '5' })),
    { name: 'home/user/', type: '5', uid: 1000, gid: 1000 },
    { name: 'tmp/', type: '5', mode: 0o1777 },
    { name: 'etc/passwd', content: PASSWD },
    { name: 'etc/group', content: GROUP },
    { name: 'bin/busybox', mode: 0o755, content: await readFile(BUSYBOX) },
    ...applets.map((name) => ({ name: `bin/${name}`, type: '2', linkname: 'busybox' })),
  ]
}

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n'
const GROUP = 'root:x:0:\nuser:x:1000:\nextra:x:2000:user\n'

/** Puts a finished directory in its place; whoever comes second throws his own away. */
export async function install(temporary: string, target: string): Promise<void> {
  try {
    await rename(temporary, target)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    if (!(await exists(target))) throw error
  }
}

export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

function bytesAsText(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value
}
