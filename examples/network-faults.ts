// A test with a network partition: what a client of a service does while it cannot be reached, and afterwards.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Engine, wait, type Container } from 'keelson'

/** A key-value store in a few words: what was last written, on port 7000. */
const store = `
  let value = 'nothing'
  require('node:http').createServer(async (request, answer) => {
    if (request.method === 'PUT') value = await require('node:stream/consumers').text(request)
    answer.end(value)
  }).listen(7000)
`
const fetchIn = async (app: Container, options: object) => {
  const call = `fetch('http://store:7000/', ${JSON.stringify(options)})`
  const program = `${call}.then(async (it) => console.log(await it.text()), () => process.exit(1))`
  return await app.exec(['node', '-e', program], { reject: false, timeout: '3s' })
}

await using engine = await Engine.open()
const image = await engine.images.fromHost(['node', 'sleep'])

await test('a client whose store is cut off waits, and goes on when it is back', async () => {
  const network = await engine.networks.create({ name: 'cluster' })
  {
    const on = { image, networks: network.name }
    await using database = await engine.containers.run({
      ...on,
      name: 'store',
      command: ['node', '-e', store],
    })
    await using app = await engine.containers.run({ ...on, name: 'app', command: ['sleep', '1h'] })
    await database.ready(wait.port(7000), { timeout: '30s' })

    assert.equal((await fetchIn(app, { method: 'PUT', body: 'one' })).stdout, 'one\n')
    {
      await using _ = await network.partition([app], [database])
      assert.equal((await fetchIn(app, {})).timedOut, true)
    }
    assert.equal((await fetchIn(app, {})).stdout, 'one\n')

    await using slow = await network.link('app', 'store').latency('200ms').loss('1%').apply()
    const before = performance.now()
    assert.equal((await fetchIn(app, {})).stdout, 'one\n')
    assert.ok(performance.now() - before >= 800, 'a connection and a request, there and back')
    await slow.heal()
  }
  await network.remove()
})
console.log('tested')
