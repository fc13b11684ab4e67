// A worker that outlives the program that started it: run this twice, and the second finds what the first has left running.
import { Engine, wait } from 'keelson'

await using engine = await Engine.open()
const [found] = await engine.containers.list({ all: true, filters: { name: /^worker$/ } })

if (process.argv[2] === 'remove') {
  await found?.remove({ force: true })
} else if (found === undefined) {
  const worker = await engine.containers.run({
    image: await engine.images.fromHost(['sh', 'sleep']),
    name: 'worker',
    command: ['sh', '-c', 'n=0; while true; do n=$((n + 1)); echo "job $n"; sleep 0.1; done'],
    detached: true,
    restart: 'unless-stopped',
    logs: { maxSize: '1m', maxFiles: 3 },
  })
  await worker.ready(wait.log('job 1'))
  console.log('started')
} else {
  await found.ready(wait.log('job 5'))
  const { status, startedAt, restartCount } = await found.state()
  console.log(status, 'since', startedAt?.toISOString(), 'with', restartCount, 'restarts')
  for await (const { text } of found.logs({ tail: 1 })) console.log('it was at', text)
}
