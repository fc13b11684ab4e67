// Two containers on a network: an application that finds its database by name. This program dials both, and nothing is published.
import { once } from 'node:events'
import { get, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { text } from 'node:stream/consumers'
import { Engine, wait } from 'keelson'
import { Pool } from 'pg'

/** What runs in the container; it could as well be a file of its own, in an image of its own. */
const application = `
  const { Pool } = require('pg')
  const pool = new Pool({ host: 'database', user: 'postgres', password: 'secret' })
  require('node:http')
    .createServer(async (request, answer) => {
      const { rows } = await pool.query('insert into visits default values returning id')
      answer.end('visit ' + rows[0].id)
    })
    .listen(8080)
`
const modules = dirname(dirname(createRequire(import.meta.url).resolve('pg/package.json')))

await using engine = await Engine.open()
const network = await engine.networks.create({ name: 'two-tier' })
{
  await using database = await engine.containers.run({
    image: process.argv[2] ?? 'docker.io/library/postgres:18',
    name: 'database',
    networks: network.name,
    env: { POSTGRES_PASSWORD: 'secret' },
    storage: 'tmpfs',
  })
  await database.ready(wait.port(5432), { timeout: '60s' })
  const pool = new Pool({
    user: 'postgres',
    password: 'secret',
    stream: () => database.createConnection(5432),
  })
  await pool.query('create table visits (id serial)')

  await using web = await engine.containers.run({
    image: await engine.images.fromHost(['node']),
    command: ['node', '-e', application],
    workdir: '/app',
    mounts: [`${modules}:/app/node_modules:ro`],
    networks: network.name,
  })
  await web.ready(wait.port(8080))
  const agent = web.agent()
  for (const path of ['/', '/again']) {
    const [answer] = (await once(get({ port: 8080, path, agent }), 'response')) as [IncomingMessage]
    console.log(await text(answer))
  }
  const { rows } = await pool.query<{ count: string }>('select count(*) from visits')
  console.log(`the database has ${rows[0]?.count}`)
  await pool.end()
}
await network.remove()
