import { beforeAll, expect, it } from 'vitest'
import type { CachedImage } from '../support/busybox-image.ts'
import { debianImage } from '../support/debian-image.ts'
import { dockerRegistry } from '../support/docker-registry.ts'
import { testEngine } from '../support/engine.ts'
import { pushLayout } from '../support/push.ts'

let image: CachedImage
// Made from its packages the first time.
beforeAll(async () => {
  image = await debianImage()
})

it('a Debian comes from a registry and runs: its package manager finds every file as it was packed', async () => {
  const { layout, name } = image
  await using registry = await dockerRegistry()
  await pushLayout(layout, name, registry, { repository: 'debian', tag: 'bookworm' })
  await using test = await testEngine()
  const { stdout } = await test.engine.run(
    `${registry.host}/debian:bookworm`,
    [
      'bash',
      '-c',
      '. /etc/os-release; echo $VERSION_CODENAME; dpkg --verify bash coreutils libc6 passwd; getcap -r /usr/bin; perl -e "print 6*7"',
    ],
    { timeout: '50s' },
  )
  expect(stdout).toBe('bookworm\n42')
})
