/**
 * A name server for tests, run as a program in a network namespace: `node dns-server.mjs ADDRESS`. What it answers depends on the
 * first label of the name; it counts nothing, keeps nothing.
 *
 * - `plain`: 198.51.100.7
 * - `big`: 60 addresses; by UDP none, and the word that there are more
 * - `how`: a text: `udp` or `tcp`, and the room that EDNS offers
 * - `silent`: nothing; `broken`: SERVFAIL
 * - anything else: NXDOMAIN
 */
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { argv } from 'node:process'

const [, , address = '127.0.0.1'] = argv
const [A, TXT, OPT] = [1, 16, 41]
const [NO_ERROR, SERVER_FAILURE, NAME_ERROR] = [0, 2, 3]

const udp = createSocket('udp4')
udp.on('message', (query, from) => {
  const reply = answer(query, 'udp')
  if (reply !== undefined) udp.send(reply, from.port, from.address)
})
const tcp = createServer((socket) => {
  let heard = Buffer.alloc(0)
  socket.on('error', () => undefined)
  socket.on('data', (bytes) => {
    heard = Buffer.concat([heard, bytes])
    while (heard.length >= 2 && heard.length >= 2 + heard.readUInt16BE()) {
      const end = 2 + heard.readUInt16BE()
      const reply = answer(heard.subarray(2, end), 'tcp')
      heard = heard.subarray(end)
      if (reply !== undefined) socket.write(Buffer.concat([word(reply.length), reply]))
    }
  })
})
udp.bind(53, address, () => tcp.listen(53, address, () => console.log('ready')))

function answer(query, protocol) {
  const { labels, type, end } = question(query)
  const reply = (code, records, truncated = false) => {
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(0x8180 | (truncated ? 0x200 : 0) | code, 2)
    for (const [at, count] of [1, records.length, 0, 0].entries()) {
      head.writeUInt16BE(count, 4 + 2 * at)
    }
    return Buffer.concat([head, query.subarray(12, end), ...records])
  }
  switch (labels[0]?.toLowerCase()) {
    case 'plain':
      return reply(NO_ERROR, type === A ? [record(A, Buffer.from([198, 51, 100, 7]))] : [])
    case 'big': {
      const addresses = Array.from({ length: 60 }, (_, n) => Buffer.from([198, 51, 100, n]))
      if (protocol === 'udp') return reply(NO_ERROR, [], true)
      return reply(
        NO_ERROR,
        addresses.map((each) => record(A, each)),
      )
    }
    case 'how': {
      const text = Buffer.from(`${protocol} ${room(query, end)}`)
      const data = Buffer.concat([Buffer.from([text.length]), text])
      return reply(NO_ERROR, type === TXT ? [record(TXT, data)] : [])
    }
    case 'silent':
      return undefined
    case 'broken':
      return reply(SERVER_FAILURE, [])
    default:
      return reply(NAME_ERROR, [])
  }
}

function question(query) {
  const labels = []
  let at = 12
  while (query[at] > 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + query[at]))
    at += 1 + query[at]
  }
  return { labels, type: query.readUInt16BE(at + 1), end: at + 5 }
}

/** The size in the OPT record, which is the only one after the question of a client. */
function room(query, end) {
  return query.length > end + 4 && query.readUInt16BE(end + 1) === OPT
    ? query.readUInt16BE(end + 3)
    : 0
}

function record(type, data) {
  return Buffer.concat([
    Buffer.from([0xc0, 12]),
    word(type),
    word(1),
    word(0),
    word(60),
    word(data.length),
    data,
  ])
}

function word(value) {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}
