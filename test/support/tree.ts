import { createHash } from 'node:crypto'
import { lstat, mkdir, readdir, readFile, readlink, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { RootfsMount } from '../../src/runtime/protocol.ts'
import { run } from './process.ts'

/**
 * Everything that tells one tree from another, a line a file: kind, mode, owner, size, time in nanoseconds, device, link target, content,
 * which names are the same file, and extended attributes.
 *
 */
export async function describeTree(
  root: string,
  { directoryTimes = true, links = true } = {},
): Promise<string[]> {
  const lines: string[] = []
  const inodes = new Map<string, string>()
  const xattrs = await extendedAttributes(root)
  const walk = async (path: string): Promise<void> => {
    const full = join(root, path)
    const stat = await lstat(full, { bigint: true })
    const mode = Number(stat.mode)
    const parts = [path, (mode & 0o170000).toString(8), (mode & 0o7777).toString(8)]
    parts.push(`${stat.uid}:${stat.gid}`)
    if (stat.isDirectory()) {
      if (directoryTimes) parts.push(String(stat.mtimeNs))
    } else parts.push(String(stat.mtimeNs))
    if (stat.isFile()) {
      parts.push(
        createHash('sha256')
          .update(await readFile(full))
          .digest('hex')
          .slice(0, 16),
      )
      const first = inodes.get(String(stat.ino))
      if (first === undefined) inodes.set(String(stat.ino), path)
      if (links && stat.nlink > 1n) parts.push(`same as ${first ?? path}`)
    }
    if (stat.isSymbolicLink()) parts.push(await readlink(full))
    if (stat.isCharacterDevice() || stat.isBlockDevice()) parts.push(String(stat.rdev))
    parts.push(...(xattrs.get(path) ?? []))
    lines.push(parts.join(' '))
    if (!stat.isDirectory()) return
    for (const name of (await readdir(full)).sort()) await walk(`${path}/${name}`)
  }
  await walk('.')
  return lines
}

/** By path; overlay's own bookkeeping is no part of a tree. */
async function extendedAttributes(root: string): Promise<Map<string, string[]>> {
  const found = new Map<string, string[]>()
  const { stdout } = await run('getfattr', ['-R', '-P', '-h', '-d', '-m', '-', '-e', 'hex', '.'], {
    cwd: root,
  })
  for (const block of stdout.split('\n\n')) {
    const [name, ...values] = block.split('\n').filter((line) => line !== '')
    if (name === undefined) continue
    const path = name.replace('# file: ', '')
    const own = values.filter((value) => !/^(trusted|user)\.overlay\./.test(value))
    found.set(path === '.' ? '.' : `./${path}`, own.sort())
  }
  return found
}

/** Mounts a root file system at a directory as the helper would, for as long as the scope lasts. */
export async function mounted(rootfs: RootfsMount[], at: string): Promise<AsyncDisposable> {
  await mkdir(at, { recursive: true })
  for (const mount of rootfs) {
    if (mount.type === 'bind') {
      await run('mount', ['--bind', mount.source, at])
      continue
    }
    const options = [`lowerdir=${mount.lower.join(':')}`, ...(mount.options ?? [])]
    if (mount.upper !== undefined) options.push(`upperdir=${mount.upper}`)
    if (mount.work !== undefined) options.push(`workdir=${mount.work}`)
    // fsconfig, which newer programs prefer to mount(2), takes at most 256 bytes of lowerdir
    const env = { LIBMOUNT_FORCE_MOUNT2: 'always' }
    await run('mount', ['-t', 'overlay', 'overlay', '-o', options.join(','), at], { env })
  }
  return {
    async [Symbol.asyncDispose]() {
      for (const _ of rootfs) await run('umount', [at])
      await rmdir(at)
    },
  }
}
