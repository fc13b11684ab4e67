import { setTimeout as pause } from 'node:timers/promises'

/** How long a state may be behind what has just happened. */
const SETTLED_MS = 3000

/**
 * Looks at every container that the kills have left, whether what the engine says of it is true, and removes them all, networks and volumes
 * too; at last what no image needs.
 *
 * @param {import('../dist/index.js').Engine} engine
 * @param {(idOrName: string) => boolean} spared what is somebody else's
 * @returns {Promise<{ problems: string[], survivors: Record<string, number> }>} `survivors`: how many there were in each state
 */
export async function checkSurvivors(engine, reference, spared) {
  const problems = []
  const survivors = {}
  const said = (container, what) => problems.push(`container ${container.name} ${what}`)
  const count = (what) => (survivors[what] = (survivors[what] ?? 0) + 1)
  for (const container of await engine.containers.list({ all: true })) {
    if (spared(container.id)) continue
    try {
      const status = await checkOne(engine, container, (what) => said(container, what))
      if (status !== undefined) count(status)
      await container.remove({ force: true })
    } catch (error) {
      // Those of dead programs go by themselves, as do those that remove themselves.
      if (error.code === 'KEELSON_CONTAINER_NOT_FOUND') continue
      said(container, `cannot be dealt with: ${error.stack}\n  ${error.cause?.stack ?? ''}`)
    }
  }
  for (const network of await engine.networks.list()) {
    if (spared(network.name)) continue
    count('networks')
    try {
      // Bridge and all: it can still be used.
      const options = { networks: network.name, ports: [80] }
      await engine.run(reference, ['/bin/busybox', 'true'], options)
      await network.remove()
    } catch (error) {
      problems.push(`network ${network.name}: ${error.stack}\n  ${error.cause?.stack ?? ''}`)
    }
  }
  for (const volume of await engine.volumes.list()) {
    if (spared(volume.name)) continue
    count('volumes')
    try {
      // Whoever was killed while it was filled had not begun to use it. The anonymous ones are empty.
      const mounts = [{ type: 'volume', source: volume.name, target: '/bin' }]
      if (volume.name.length < 64) {
        await engine.run(reference, ['/bin/busybox', 'true'], { mounts })
      }
      await volume.remove()
    } catch (error) {
      problems.push(`volume ${volume.name}: ${error.stack}\n  ${error.cause?.stack ?? ''}`)
    }
  }
  for (const image of await engine.images.list()) {
    // What was committed or made, and what lost its name.
    if (image.references.some((name) => spared(name) || name === reference)) continue
    count('images')
    try {
      await engine.run(image, ['/bin/busybox', 'true'])
      await image.remove()
    } catch (error) {
      if (error.code === 'KEELSON_COMMAND_NOT_FOUND') await image.remove()
      else problems.push(`image ${image.id}: ${error.stack}\n  ${error.cause?.stack ?? ''}`)
    }
  }
  await engine.images.prune()
  return { problems, survivors }
}

async function checkOne(engine, container, said) {
  const found = await engine.containers.get((await container.inspect()).name)
  if (found.id !== container.id) said(`has a name that leads to ${found.id}`)
  const state = await settled(container)
  if (state.wrong !== undefined) said(`is said to be ${state.status}, but ${state.wrong}`)
  await checkLogs(container, said)
  if (state.status === 'paused') await container.unpause()
  if (state.status === 'paused' || state.status === 'running') await checkExec(container, said)
  return state.status
}

/** Its state, when it is true, or after a while. */
async function settled(container) {
  for (let waited = 0; ; waited += 20) {
    const state = await container.state()
    const wrong = untrue(state)
    if (wrong === undefined || waited >= SETTLED_MS) return { ...state, wrong }
    await pause(20)
  }
}

function untrue({ status, pid, exitCode, signal, error }) {
  switch (status) {
    case 'running':
    case 'paused':
      return isThere(pid) ? undefined : `process ${pid} is not there`
    case 'exited':
      return [exitCode, signal, error].some((each) => each !== null && each !== undefined)
        ? undefined
        : 'nothing says how it ended'
    case 'stopping':
      return 'never ends'
    default:
      return undefined
  }
}

function isThere(pid) {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch {
    return false
  }
}

/** A terminal makes newlines of its own. A line without an end is one that was cut short by the kill. */
async function checkLogs(container, said) {
  for await (const { text, partial } of container.logs()) {
    // The shell tells of a process of its own that was killed.
    if (text.trim() === 'Killed') continue
    if (!partial && !/^line \d+ end\r?$/.test(text)) said(`logged a torn line: ${text}`)
  }
}

async function checkExec(container, said) {
  const before = await container.state()
  try {
    await container.exec(['/bin/busybox', 'true'])
  } catch (error) {
    const { status, startedAt } = await container.state()
    // It ends by itself, and starts again: maybe in between.
    if (error.code === 'KEELSON_CONTAINER_STATE' || status !== 'running') return
    if (startedAt?.getTime() !== before.startedAt?.getTime()) return
    said(`runs, and cannot be entered: ${error.stack}`)
  }
}
