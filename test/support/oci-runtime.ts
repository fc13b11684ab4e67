import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { locateHelper } from '../../src/runtime/locate.ts'
import { busyboxEntries } from './busybox-image.ts'
import { tar } from './layers.ts'
import { run } from './process.ts'
import { temporaryDirectory, type TemporaryDirectory } from './temp.ts'

/** The helper as other engines call it, and an image for them. */
export interface OciRuntime extends AsyncDisposable {
  temp: TemporaryDirectory
  /** What they are given as a runtime: they pass no word before the options. */
  path: string
  /** A root file system, to be imported. */
  image: Buffer
}

/** Engines ask systemd for cgroups where it gives them out. */
export const systemd =
  existsSync('/run/systemd/system') && existsSync('/sys/fs/cgroup/cgroup.controllers')

export async function ociRuntime(): Promise<OciRuntime> {
  const temp = await temporaryDirectory('keelson-oci-')
  const path = temp.join('keelson-oci')
  await writeFile(path, `#!/bin/sh\nexec '${locateHelper()}' oci "$@"\n`, { mode: 0o755 })
  const image = tar([...(await busyboxEntries()), { name: 'mnt/', type: '5' }])
  return { temp, path, image, [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose]() }
}

/** An ordinary user asks the manager of their own session. */
export const rootless = process.getuid?.() !== 0

/** What systemd knows of a unit. */
export async function unitProperties(
  unit: string,
  names: string[],
): Promise<Record<string, string>> {
  const manager = rootless ? '--user' : '--system'
  const wanted = `--property=${names.join(',')}`
  const { stdout } = await run('systemctl', [manager, 'show', unit, wanted])
  const lines = stdout.trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)))
}
