import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root as checkout } from '../support/repository.ts'
import { testUser } from '../support/user.ts'

/** What an ordinary user's program does; it prints one line of JSON. */
function program(body: string): string {
  return `
    import { Engine } from ${JSON.stringify(join(checkout, 'dist/index.js'))}
    const engine = await Engine.open()
    const image = await engine.images.from({
      '/bin/sh': '/bin/busybox', '/bin/busybox': '/bin/busybox', '/bin/cat': { link: 'busybox' }, '/bin/id': { link: 'busybox' },
      '/bin/ls': { link: 'busybox' }, '/etc/passwd': Buffer.from('root:x:0:0::/root:/bin/sh\\nuser:x:1000:1000::/:/bin/sh\\n'),
    })
    try { console.log(JSON.stringify(await (async () => { ${body} })())) } finally { await engine.close() }`
}

it('an ordinary user with subordinate ids runs what root runs', async () => {
  await using user = await testUser()
  const { stdout } = await user.node(
    program(`
      const script = 'id -u; echo x > /made; ls -ln /made; ls /sys/class/net; echo y > /dev/stdout'
      const root = await engine.run(image, ['sh', '-c', script])
      const other = await engine.run(image, ['sh', '-c', 'id -u; cat > /dev/stdout'], { user: 'user', stdin: 'in' })
      const host = await engine.run(image, ['id', '-u'], { networks: 'host' })
      const { rootless } = await engine.info()
      return { root: root.stdout, other: other.stdout, host: host.stdout, rootless }`),
  )
  const said = JSON.parse(stdout) as Record<string, string>
  expect(said['root']).toMatch(/^0\n-rw-r--r-- +1 0 +0 .*\/made\nlo\ny\n$/)
  expect(said).toMatchObject({ other: '1000\nin', host: '0\n', rootless: true })
})

it('an ordinary user without subordinate ids runs programs as the one id there is', async () => {
  await using user = await testUser({ subids: false })
  const { stdout } = await user.node(
    program(`return (await engine.run(image, ['sh', '-c', 'id -u; echo z > /z; cat /z'])).stdout`),
  )
  expect(JSON.parse(stdout)).toBe('0\nz\n')
})

it('a limit where no cgroup is delegated is an error that names the remedy', async () => {
  await using user = await testUser()
  const { stdout } = await user.node(
    program(
      `return await engine.run(image, ['id'], { memory: '64m' }).then(() => 'ran', ({ code, hint }) => ({ code, hint }))`,
    ),
  )
  const said = JSON.parse(stdout) as unknown
  expect(said).toMatchObject({
    code: 'KEELSON_CGROUP_UNAVAILABLE',
    hint: expect.stringMatching(/\w/) as string,
  })
})
