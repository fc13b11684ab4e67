/** Installing Debian packages without a question asked and without a service started. */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { DEBIAN_PACKAGES, MACHINE_PACKAGES } from '../debian-packages.mjs'
import { heading, mustRun, run } from './process.mjs'

const POLICY = '/usr/sbin/policy-rc.d'

/** Names of the packages whose file is not there. */
export function missingDebianPackages() {
  return Object.entries({ ...DEBIAN_PACKAGES, ...MACHINE_PACKAGES })
    .filter(([, files]) => ![files].flat().some((file) => existsSync(file)))
    .map(([name]) => name)
}

/** @param {string[]} names */
export async function installDebianPackages(names) {
  if (!existsSync('/usr/bin/apt-get') || process.getuid() !== 0) {
    throw new Error(
      `The tests need these Debian packages: ${names.join(' ')}. ` +
        'Install them (as root: node scripts/bootstrap.mjs --tests), then try again.',
    )
  }
  heading(`Debian packages: ${names.join(' ')}`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const apt = ['apt-get', '-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Acquire::Retries=3']
  const install = [...apt, '-y', '--no-install-recommends', 'install', ...names]
  await withoutServices(async () => {
    await run([...apt, 'update'], { env })
    await mustRun(install, { env })
  })
}

/**
 * Debian starts a service when its package is installed; `docker-registry` would then hold a port that tests may want.
 * invoke-rc.d asks policy-rc.d, and 101 means "not now".
 */
async function withoutServices(action) {
  const own = !existsSync(POLICY)
  const restore = () => own && rmSync(POLICY, { force: true })
  if (own) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  process.once('exit', restore)
  try {
    await action()
  } finally {
    restore()
    process.removeListener('exit', restore)
  }
}
