import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { NameResolverFile } from '../../runtime/network-protocol.ts'
import { converting } from '../../store/errno.ts'
import type { Network } from '../network.ts'
import type { NetworkPlaces } from '../places.ts'
import { answerQuestions } from './questions.ts'
import {
  normalizeResolve,
  type NameFunction,
  type NameResolver,
  type ResolveOptions,
} from './resolver.ts'

export interface ResolversContext {
  places: NetworkPlaces
  /** Of this engine, on tmpfs. */
  directory: string
  warn: (code: string, message: string) => void
}

/** The functions of this program that are asked for names. */
export class Resolvers implements AsyncDisposable {
  readonly #context: ResolversContext
  readonly #open = new Set<(program: 'goes' | 'stays') => Promise<void>>()

  constructor(context: ResolversContext) {
    this.#context = context
  }

  async open(
    network: Network,
    answer: NameFunction,
    options: ResolveOptions,
  ): Promise<NameResolver> {
    const normalized = normalizeResolve(answer, options)
    const { places, directory, warn } = this.#context
    // Its directory is there, and the network was not removed.
    await network.ready()
    const resolvers = places.resolvers(network.id)
    await converting('create', resolvers, () => mkdir(resolvers, { recursive: true, mode: 0o700 }))
    const id = `${String(Date.now()).padStart(14, '0')}-${randomBytes(4).toString('hex')}`
    const socket = join(directory, `${id}.names`)
    let warned = false
    const questions = await answerQuestions(socket, answer, normalized, (error) => {
      // Containers ask as often as they like.
      if (warned) return
      warned = true
      warn('network-resolver', `The resolver of the network ${network.name}: ${String(error)}`)
    })
    const file = join(resolvers, `${id}.json`)
    let closed: Promise<void> | undefined
    const close = (program: 'goes' | 'stays') => {
      closed ??= (async () => {
        this.#open.delete(close)
        // One that is to fail when the program is gone stays to say so.
        if (program === 'stays' || normalized.fallback === 'pass') await rm(file, { force: true })
        await questions.close()
      })()
      return closed
    }
    try {
      await publish(file, { socket, ...normalized })
      await removeForsaken(resolvers, 'pass', 'fail')
    } catch (error) {
      await close('stays')
      throw error
    }
    this.#open.add(close)
    return { close: () => close('stays'), [Symbol.asyncDispose]: () => close('stays') }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#open].map((close) => close('goes')))
  }
}

async function publish(file: string, content: NameResolverFile): Promise<void> {
  await converting('write', file, async () => {
    await writeFile(`${file}.new`, JSON.stringify(content), { mode: 0o600 })
    await rename(`${file}.new`, file)
  })
}

/** Removes those whose program is gone. @param fallbacks of these kinds */
export async function removeForsaken(
  resolvers: string,
  ...fallbacks: NameResolverFile['fallback'][]
): Promise<void> {
  const names = await readdir(resolvers).catch(() => [])
  for (const name of names.filter((each) => each.endsWith('.json'))) {
    const file = join(resolvers, name)
    const content = await readFile(file, 'utf8').then(decode, () => undefined)
    if (content === undefined || !fallbacks.includes(content.fallback)) continue
    if (!(await listens(content.socket))) await rm(file, { force: true })
  }
}

function decode(text: string): NameResolverFile | undefined {
  try {
    return JSON.parse(text) as NameResolverFile
  } catch {
    return undefined
  }
}

async function listens(path: string): Promise<boolean> {
  const socket = connect({ path })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
