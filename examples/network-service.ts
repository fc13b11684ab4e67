// A server of this program where a container expects another one: under its name, in a network from which no way leads out.
import { createServer } from 'node:http'
import { Engine } from 'keelson'

const client = `
  fetch('http://api.example.com/orders/7')
    .then((answer) => answer.json())
    .then(({ state }) => console.log('the order is', state))
`

await using engine = await Engine.open()
const network = await engine.networks.create({ name: 'offline', internal: true })
const api = createServer((request, answer) => {
  console.log('asked for', request.url)
  answer.end(JSON.stringify({ state: 'shipped' }))
})
{
  await using _listener = await network.listen('api.example.com', 80, api)
  const image = await engine.images.fromHost(['node'])
  const { stdout } = await engine.run(image, ['node', '-e', client], { networks: network.name })
  console.log(stdout.trim())
}
await network.remove()
