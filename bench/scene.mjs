import { execFileSync, spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { Engine } from '../dist/index.js'
import { Owned } from '../scripts/owned.mjs'

const TMPFS_MAGIC = 0x01021994

/** A program that does nothing, in the root file system of every scene. */
export const TRUE = ['/bin/busybox', 'true']

/**
 * Plays with a scene of its own; nothing of it is left afterwards.
 *
 * @param {(scene: Scene) => Promise<void>} play
 */
export async function onScene(play) {
  const directory = mkdtempSync('/var/tmp/keelson-bench-')
  // Where systems have it as tmpfs, which an engine's run-time directory is meant to be on.
  const memory = ['/run', '/dev/shm'].find((path) => statfsSync(path).type === TMPFS_MAGIC)
  const runtime = mkdtempSync(join(memory ?? directory, 'keelson-bench-'))
  const scene = new Scene(directory, runtime)
  try {
    await play(scene)
  } finally {
    await scene.owned.dispose()
    rmSync(directory, { recursive: true, force: true })
    rmSync(runtime, { recursive: true, force: true })
  }
}

class Scene {
  owned = new Owned()
  #runtime
  #rootfs
  #floor

  constructor(directory, runtime) {
    /** On the disk. */
    this.directory = directory
    this.#runtime = runtime
  }

  /** An engine on a root of this name. */
  async engine(name) {
    return this.owned.own(await this.openEngine(name))
  }

  /** The same, for a caller who closes it. */
  async openEngine(name) {
    return await Engine.open({
      root: join(this.directory, name),
      runRoot: join(this.#runtime, name),
    })
  }

  /** A root file system with what those of distributions have: the mount points, too. */
  get rootfs() {
    if (this.#rootfs !== undefined) return this.#rootfs
    const rootfs = (this.#rootfs = join(this.directory, 'rootfs'))
    for (const name of ['bin', 'proc', 'dev', 'sys', 'etc']) {
      mkdirSync(join(rootfs, name), { recursive: true })
    }
    cpSync('/bin/busybox', join(rootfs, 'bin/busybox'))
    symlinkSync('busybox', join(rootfs, 'bin/true'))
    for (const name of ['hosts', 'hostname', 'resolv.conf']) {
      writeFileSync(join(rootfs, 'etc', name), '')
    }
    return rootfs
  }

  /** The same files as an image. */
  async image(engine, config = {}) {
    const files = ['bin', 'proc', 'dev', 'sys', 'etc'].map((name) => [
      `/${name}`,
      join(this.rootfs, name),
    ])
    return await engine.images.from(Object.fromEntries(files), config)
  }

  /** Runs `true` as the kernel alone would have it: milliseconds of each of `count` times. */
  floor(count) {
    this.#floor ??= compile(join(this.directory, 'floor'))
    const place = mkdtempSync(join(this.directory, 'floor-'))
    const arguments_ = [this.rootfs, place, String(count), ...TRUE]
    const { stdout, status, stderr } = spawnSync(this.#floor, arguments_, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`the floor failed: ${stderr}`)
    rmSync(place, { recursive: true })
    return stdout.trim().split('\n').map(Number)
  }
}

function compile(program) {
  const source = new URL('./floor/run.c', import.meta.url).pathname
  execFileSync('cc', ['-O2', '-o', program, source])
  return program
}
