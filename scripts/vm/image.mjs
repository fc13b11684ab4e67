/** The guest's kernel and disk, made once and kept. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { heading, mustRun, root } from '../lib/process.mjs'
import { FILES, MIRROR, PACKAGES, recipeHash, SETUP, SUITE } from './recipe.mjs'

const CACHE = process.env.XDG_CACHE_HOME
  ? `${process.env.XDG_CACHE_HOME}/keelson/vm`
  : `${root}/.cache/vm`

/** @returns {Promise<{ kernel: string, disk: string }>} */
export async function guestImage() {
  const folder = `${CACHE}/${recipeHash()}`
  if (!existsSync(folder)) {
    if (process.getuid() !== 0) throw new Error('Making the image of the guest takes root.')
    heading('image of the guest (once)')
    await make(folder)
    removeOlder(folder)
  }
  return { kernel: `${folder}/vmlinuz`, disk: `${folder}/root.ext4` }
}

/** Made beside its place and renamed when whole: an interrupted build leaves nothing that looks finished. */
async function make(folder) {
  const unfinished = `${folder}.${process.pid}.tmp`
  const system = `${unfinished}/system`
  mkdirSync(unfinished, { recursive: true })
  try {
    await mustRun([
      'mmdebstrap',
      '--mode=root',
      '--variant=essential',
      `--include=${PACKAGES.join(',')}`,
      '--aptopt=APT::Install-Recommends "false"',
      ...['man', 'doc', 'locale', 'info'].map(
        (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
      ),
      SUITE,
      system,
      MIRROR,
    ])
    for (const [path, content] of Object.entries(FILES)) {
      mkdirSync(dirname(`${system}${path}`), { recursive: true })
      writeFileSync(`${system}${path}`, content)
    }
    await mustRun(['chroot', system, 'sh', '-c', SETUP])
    const kernel = readdirSync(`${system}/boot`).find((name) => name.startsWith('vmlinuz-'))
    renameSync(`${system}/boot/${kernel}`, `${unfinished}/vmlinuz`)
    await makeDisk(system, `${unfinished}/root.ext4`, '6G')
    rmSync(system, { recursive: true })
    renameSync(unfinished, folder)
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
  }
}

/** A sparse ext4 file system with a folder's content, owners and modes; nothing is mounted for it. */
export async function makeDisk(folder, file, size) {
  rmSync(file, { force: true })
  await mustRun(['/usr/sbin/mke2fs', '-q', '-t', 'ext4', '-d', folder, file, size])
}

/** Images of earlier recipes are of no more use. */
function removeOlder(folder) {
  for (const name of readdirSync(CACHE)) {
    const path = `${CACHE}/${name}`
    if (/^[0-9a-f]{16}$/.test(name) && path !== folder) rmSync(path, { recursive: true })
  }
}
