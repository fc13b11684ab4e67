/** Where name services of containers come to with their questions. */
import { closeSync, constants, openSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, isIP, type Server, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { encodeFrame, FrameDecoder } from '../../runtime/frames.ts'
import type { NameResolverAnswer, NameResolverQuestion } from '../../runtime/network-protocol.ts'
import { storageError } from '../../store/errno.ts'
import { typeName, type NameFunction, type NormalizedResolve } from './resolver.ts'

/** Questions at a time, of all containers: a flood of them is no more than that. Each container's name service asks 64 at most. */
const MAX_QUESTIONS = 512
const MAX_QUESTION_BYTES = 16 * 1024
const MAX_RECORDS = 256
const MAX_RECORD = 255
const ADDRESSES = new Map([
  [1, 4],
  [28, 6],
  [255, 0],
])
const POINTER = 12

/** A function at its socket. */
export interface Questions {
  close(): Promise<void>
}

/** @param failed hears of what the function threw, and of answers that are none */
export async function answerQuestions(
  path: string,
  answer: NameFunction,
  { timeout }: NormalizedResolve,
  failed: (error: unknown) => void,
): Promise<Questions> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    const given = AbortSignal.timeout(timeout)
    const over = new AbortController()
    socket.on('error', () => socket.destroy())
    socket.once('close', () => {
      sockets.delete(socket)
      over.abort()
    })
    // Nobody waits for longer; nor does one that asks nothing.
    given.addEventListener('abort', () => socket.destroy(), { once: true })
    socket.unref()
    answerOne(socket, answer, over.signal).catch((error: unknown) => {
      socket.destroy()
      if (!over.signal.aborted) failed(error)
    })
  })
  server.maxConnections = MAX_QUESTIONS
  await listen(server, path)
  server.unref()
  return {
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

async function answerOne(socket: Socket, answer: NameFunction, signal: AbortSignal): Promise<void> {
  const question = await readQuestion(socket)
  if (question === undefined) return
  const { name, type, container } = question
  const told = await answer({ name, type: typeName(type), container, signal })
  socket.end(encodeFrame(encodeAnswer(type, told)))
}

/** What an answer means for a question of that type. Pure. @throws for what is no answer */
export function encodeAnswer(type: number, told: unknown): NameResolverAnswer {
  if (told === undefined) return { answer: 'pass' }
  if (told === null) return { answer: 'refuse' }
  const records: unknown[] = Array.isArray(told) ? told : [told]
  for (const record of records) {
    if (typeof record !== 'string' || !isRecord(type, record)) {
      throw new TypeError(
        `It answered ${JSON.stringify(record)} to a question for ${typeName(type)}: give addresses, names for PTR, null or undefined.`,
      )
    }
  }
  const family = ADDRESSES.get(type)
  const wanted = (records as string[]).filter(
    (record) => type === POINTER || family === 0 || isIP(record) === family,
  )
  return { answer: 'records', records: wanted.slice(0, MAX_RECORDS) }
}

function isRecord(type: number, record: string): boolean {
  return type === POINTER ? record !== '' && record.length <= MAX_RECORD : isIP(record) !== 0
}

/** `undefined`: it hung up. */
async function readQuestion(socket: Socket): Promise<NameResolverQuestion | undefined> {
  const decoder = new FrameDecoder()
  let bytes = 0
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    bytes += (chunk as Buffer).length
    if (bytes > MAX_QUESTION_BYTES) throw new Error('A question is too long.')
    const [question] = decoder.push(chunk as Buffer, 1)
    if (question !== undefined) return question as NameResolverQuestion
  }
  return undefined
}

/** By a descriptor of its directory, as there is not room for every path in the address of a socket. */
async function listen(server: Server, path: string): Promise<void> {
  const directory = openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    server.listen(`/proc/self/fd/${directory}/${basename(path)}`)
    await once(server, 'listening')
  } catch (error) {
    throw storageError(error, 'listen on', path)
  } finally {
    closeSync(directory)
  }
}
