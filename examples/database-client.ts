// A client from npm on a database that publishes no port: its connections begin inside of the container.
import { Engine, wait } from 'keelson'
import { Pool } from 'pg'

await using engine = await Engine.open()
await using database = await engine.containers.run({
  image: process.argv[2] ?? 'docker.io/library/postgres:18',
  env: { POSTGRES_PASSWORD: 'secret' },
  storage: 'tmpfs',
})
await database.ready(wait.port(5432), { timeout: '60s' })

const pool = new Pool({
  user: 'postgres',
  password: 'secret',
  stream: () => database.createConnection(5432),
})
const queries = ['hello', 'from', 'a', 'pool'].map((word) =>
  pool.query<{ word: string }>('select $1::text as word', [word]),
)
const results = await Promise.all(queries)
console.log(results.map(({ rows }) => rows[0]?.word).join(' '))
await pool.end()
