// A Postgres that lives no longer than this program: started, waited for, queried, dumped, stopped.
import { Engine, wait } from 'keelson'

await using engine = await Engine.open()
await using database = await engine.containers.run({
  image: process.argv[2] ?? 'docker.io/library/postgres:18',
  env: { POSTGRES_PASSWORD: 'secret' },
  memory: '512m',
})
await database.ready(wait.port(5432), { timeout: '60s' })

const psql = ['psql', '--username=postgres', '--tuples-only', '--no-align']
await database.exec([...psql, '--command', `create table words as select 'hello' as word`])
const { stdout } = await database.exec([...psql, '--command', 'select word from words'])
console.log(stdout.trim())

await database.exec(['pg_dump', '--username=postgres', '--file=/tmp/dump.sql'])
await database.copyOut('/tmp/dump.sql', 'dump.sql')

await database.stop()
const { exitCode } = await database.wait()
console.log('stopped with exit code', exitCode)
