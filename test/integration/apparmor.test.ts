/**
 * Needs the Debian package `apparmor` for its parser. Whether the kernel then confines a container is tested where there is such
 * a kernel, in the virtual machine.
 */
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { appArmorProfile } from '../../src/security/apparmor-profile.ts'
import { ensureAppArmorProfile } from '../../src/security/apparmor.ts'

test.each([{ abi3: false }, { abi3: true }, { owner: '/usr/bin/some program' }])(
  'apparmor_parser accepts the profile with %j',
  (options) => {
    const parser = spawnSync('apparmor_parser', ['--skip-kernel-load', '--skip-cache'], {
      input: appArmorProfile(options),
      encoding: 'utf8',
    })
    expect(parser.error, 'install the Debian package apparmor').toBeUndefined()
    expect(parser.stderr).not.toMatch(/error/i)
    expect(parser.status).toBe(0)
  },
)

test('the profile is in the kernel after it was asked for, where the kernel has AppArmor', async () => {
  const enabled = await readFile('/sys/module/apparmor/parameters/enabled', 'utf8').catch(() => 'N')
  const apparmor = enabled.startsWith('Y')
  // Ordinary users can neither see nor load profiles.
  const loadable = apparmor && process.geteuid?.() === 0
  const found = await ensureAppArmorProfile({ apparmor })
  expect(found).toEqual(loadable ? { profile: 'keelson-default' } : {})
  if (loadable) {
    const loaded = await readFile('/sys/kernel/security/apparmor/profiles', 'utf8')
    expect(loaded).toContain('keelson-default (enforce)')
  }
})
