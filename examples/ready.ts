// A server that is used when it serves, and started again when its health check fails.
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { Engine, wait } from 'keelson'

const server = `require('node:http').createServer((_, answer) => answer.end('hello')).listen(8080)`
const check = `fetch('http://localhost:8080').then(({ ok }) => process.exit(ok ? 0 : 1))`

await using engine = await Engine.open()
await using web = await engine.containers.run({
  image: await engine.images.fromHost(['node']),
  command: ['node', '-e', server],
  healthcheck: {
    test: ['node', '-e', check],
    interval: '10s',
    startPeriod: '30s',
    startInterval: '200ms',
    onFailure: 'restart',
  },
})
await web.ready(wait.all([wait.http({ port: 8080 }), wait.healthy()]), { timeout: '30s' })

const socket = await web.connect(8080)
const [answer] = (await once(get({ createConnection: () => socket }), 'response')) as [
  IncomingMessage,
]
console.log(answer.statusCode, await text(answer))
