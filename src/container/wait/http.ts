import type { ClientRequestArgs, IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { parseDuration, type Duration } from '../../util/duration.ts'
import { checkPort } from '../connect/connect.ts'
import { refuseUnknown } from '../normalize/call.ts'
import { poll, runningPid, whileRunning, type WaitOptions } from './leaf.ts'

import type { WaitStrategy } from './strategy.ts'

export interface WaitHttpOptions extends WaitOptions {
  /** In the container. */
  port: number
  /** With its query. Default `/`. */
  path?: string
  /** Default `GET`. */
  method?: string
  headers?: Record<string, string>
  /** The status that counts, or those, or a test of it. Default: 200 to 399. */
  status?: number | readonly number[] | ((status: number) => boolean)
  /** Must accept the body, of which at most 1 MiB is read. */
  body?: (text: string) => boolean
  /** HTTPS, whatever its certificate. Default `false`. */
  tls?: boolean
  /** How long one answer may take. Default 5 s. */
  patience?: Duration
}

const OPTIONS = 'port path method headers status body tls patience timeout'.split(' ')
const MAX_BODY = 1024 * 1024

export function waitForHttp(options: WaitHttpOptions): WaitStrategy {
  refuseUnknown(options, OPTIONS, 'wait.http()')
  const { port, path = '/', method = 'GET', tls = false, body } = options
  checkPort(port)
  const patience = parseDuration(options.patience ?? 5000, 'patience')
  const accepts = statusTest(options.status)
  const description = `${method} ${tls ? 'https' : 'http'}://localhost:${port}${path} to answer`
  return whileRunning(description, options, (target, signal, note) =>
    poll(signal, async () => {
      await runningPid(target, signal)
      const impatience = AbortSignal.timeout(patience)
      const own = AbortSignal.any([signal, impatience])
      try {
        const socket = await target.connect(port, own)
        const answer = await ask(tls ? await secured(socket) : socket, {
          path,
          method,
          headers: { host: `localhost:${port}`, connection: 'close', ...options.headers },
          signal: own,
        })
        note(`the last answer had status ${answer.status}`)
        return accepts(answer.status) && (body === undefined || body(answer.text))
      } catch (error) {
        if (signal.aborted) throw error
        const why = error instanceof Error ? error.message : String(error)
        note(impatience.aborted ? `no answer came within ${patience} ms` : why)
        return false
      }
    }),
  )
}

function statusTest(status: WaitHttpOptions['status']): (status: number) => boolean {
  if (typeof status === 'function') return status
  if (typeof status === 'number') return (each) => each === status
  if (status !== undefined) return (each) => status.includes(each)
  return (each) => each >= 200 && each < 400
}

/** Nobody vouches for a certificate inside of a test container, and nothing secret is sent. */
async function secured(socket: Duplex): Promise<Duplex> {
  const { connect } = await import('node:tls')
  return connect({ socket, rejectUnauthorized: false })
}

async function ask(
  socket: Duplex,
  options: ClientRequestArgs,
): Promise<{ status: number; text: string }> {
  try {
    const { request } = await import('node:http')
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const asking = request({ ...options, createConnection: () => socket })
      asking.once('response', resolve).once('error', reject).end()
      socket.once('error', reject)
    })
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of answer) {
      chunks.push(chunk as Buffer)
      size += (chunk as Buffer).length
      if (size > MAX_BODY) break
    }
    const text = Buffer.concat(chunks).subarray(0, MAX_BODY).toString()
    return { status: answer.statusCode ?? 0, text }
  } finally {
    socket.destroy()
  }
}
