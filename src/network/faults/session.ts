import { randomBytes } from 'node:crypto'
import type { FirewallCommand, LinkOperation } from '../../runtime/network-protocol.ts'
import type { Helper } from '../../runtime/protocol.ts'
import { hostMac } from '../endpoint/endpoint.ts'
import { bridgeName, type NetworkRecord } from '../record.ts'
import { faultError } from './failure.ts'
import type { Station } from './fault.ts'
import type { PlannedFaults } from './plan.ts'
import { planPort } from './port.ts'
import { FaultProcess } from './process.ts'
import { faultTables, hostTable, replaceElements } from './rules.ts'

/** The faults of a network in a process of the helper's, with all that it has made for them. */
export class FaultSession {
  readonly #record: NetworkRecord
  readonly #process: FaultProcess
  /** Of its tables and its port: other programs have theirs. */
  readonly #id = randomBytes(5).toString('hex')
  readonly #vias = new Map<string, string>()
  #made = { tables: false, host: false, port: false }

  constructor(helper: Helper, record: NetworkRecord) {
    this.#record = record
    this.#process = new FaultProcess(helper)
  }

  /** Resolves when it has ended: to the reason, unless it was to. */
  get ended(): Promise<unknown> {
    return this.#process.ended
  }

  /** A hardware address for packets from one member to another that come to the helper. */
  viaOf(from: Station, to: Station): string {
    const key = `${from} ${to}`
    const known = this.#vias.get(key)
    if (known !== undefined) return known
    // Locally administered, and by its middle nobody else's.
    const number = Buffer.alloc(2)
    number.writeUInt16BE(this.#vias.size)
    const bytes = [0x0e, ...Buffer.from(this.#id, 'hex').subarray(0, 3), ...number]
    const via = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':')
    this.#vias.set(key, via)
    return via
  }

  /** From now on this holds, all of it at once. @throws `KEELSON_UNSUPPORTED`, `KEELSON_PERMISSION`, `KEELSON_HELPER_FAILED` */
  async hold({ elements, pipes }: PlannedFaults): Promise<void> {
    const made = {
      tables: true,
      host: this.#made.host || elements.hostPipes.length > 0,
      port: this.#made.port || pipes.length > 0,
    }
    const port = `kf-${this.#id}`
    const table = `keelson-faults-${this.#id}`
    const firewall: FirewallCommand[] = [
      ...(this.#made.tables ? [] : faultTables(table, { port, hostMac: hostMac(this.#record) })),
      ...(made.host && !this.#made.host ? hostTable(table, bridgeName(this.#record.id)) : []),
      ...replaceElements(table, elements, { withHost: made.host }),
    ]
    const links = pipes.map(({ via }): LinkOperation => ({ do: 'fdb', name: port, mac: via }))
    try {
      await this.#process.update({
        ...(made.port && !this.#made.port && { port: planPort(this.#record, port) }),
        links,
        firewall,
        pipes,
      })
    } catch (error) {
      throw faultError(error)
    }
    this.#made = made
  }

  /** Lets what is on its way arrive, and ends. */
  async finish(): Promise<void> {
    await this.#process.finish()
  }

  /** Ends at once. */
  async kill(): Promise<void> {
    await this.#process.kill()
  }
}
