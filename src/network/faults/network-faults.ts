import { keelsonError, type KeelsonError } from '../../errors.ts'
import type { Helper } from '../../runtime/protocol.ts'
import { throwIfAborted } from '../../util/abort.ts'
import { Semaphore } from '../../util/semaphore.ts'
import type { NetworkPlaces } from '../places.ts'
import type { NetworkRecord } from '../record.ts'
import { NetworkFault, type FaultPlan, type Station } from './fault.ts'
import { findMembers, readPlaces, type FindContainer, type FaultMember } from './members.ts'
import type { NormalizedLink } from './options.ts'
import { planFaults, stageOf, type Reset } from './plan.ts'
import { endConnections } from './reset.ts'
import { FaultSession } from './session.ts'

/** What faults need of their engine. */
export interface FaultsContext {
  helper: Helper
  places: NetworkPlaces
  container: FindContainer
  warn(code: string, message: string): void
}

/** How a network is divided. */
export interface PartitionOptions {
  /** The sender is told: connections are refused and reset, instead of waiting as with a cable that is cut. Default false. */
  reject?: boolean
  signal?: AbortSignal
}

/** The network of faults. */
interface FaultyNetwork {
  record: NetworkRecord
  /** Makes the bridge. */
  ready(): Promise<void>
}

/** The faults of one network that this program has made: what holds is always computed from all of them. */
export class NetworkFaults {
  readonly #context: FaultsContext
  readonly #network: FaultyNetwork
  readonly #turn = new Semaphore(1)
  #faults: readonly FaultPlan[] = []
  #session: FaultSession | undefined
  /** Without faults; they still deliver what was under way. */
  readonly #finishing = new Set<FaultSession>()
  #last = 0

  constructor(context: FaultsContext, network: FaultyNetwork) {
    this.#context = context
    this.#network = network
  }

  async partition(
    one: readonly FaultMember[],
    other: readonly FaultMember[],
    { reject = false, signal }: PartitionOptions,
  ): Promise<NetworkFault> {
    if (typeof reject !== 'boolean') throw invalid('reject', 'must be true or false')
    const pairs = await this.#pairs(one, other)
    return await this.#begin({ id: this.#id(), kind: 'partition', pairs, reject }, false, signal)
  }

  async link(
    a: FaultMember,
    b: FaultMember,
    { reset, ...link }: NormalizedLink,
    signal: AbortSignal | undefined,
  ): Promise<NetworkFault> {
    const pairs = await this.#pairs([a], [b])
    return await this.#begin({ id: this.#id(), kind: 'link', pairs, ...link }, reset, signal)
  }

  /** A member has come, perhaps with another address than before. */
  async follow(): Promise<void> {
    if (this.#faults.length === 0) return
    try {
      await this.#turn.run(() => this.#apply([]))
    } catch (error) {
      const { name } = this.#network.record
      const message = `The faults of the network ${name} do not follow its members: ${String(error)}`
      this.#context.warn('network-faults', message)
    }
  }

  /** Ends them all: the network is removed, or the engine closed. */
  async end(): Promise<void> {
    await this.#turn.run(async () => {
      this.#faults = []
      const sessions = [...this.#finishing, ...(this.#session ? [this.#session] : [])]
      this.#session = undefined
      await Promise.all(sessions.map((session) => session.kill()))
    })
  }

  #begin(fault: FaultPlan, reset: boolean, signal: AbortSignal | undefined): Promise<NetworkFault> {
    return this.#turn.run(async () => {
      throwIfAborted(signal, 'Making a fault')
      this.#faults = [...this.#faults, fault]
      try {
        await this.#apply([])
        const ended = reset ? await this.#reset(fault.pairs, signal) : 0
        throwIfAborted(signal, 'Making a fault')
        // Connections that have ended are nothing that lasts.
        if (!lasts(fault)) await this.#remove(fault)
        return new NetworkFault(() => this.#turn.run(() => this.#remove(fault)), ended)
      } catch (error) {
        await this.#remove(fault).catch(() => {})
        throw error
      }
    }, signal)
  }

  async #reset(
    pairs: readonly [Station, Station][],
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const hold = (resets: readonly Reset[]) => this.#apply(resets)
    return await endConnections(this.#context, this.#network.record, pairs, { hold, signal })
  }

  async #remove(fault: FaultPlan): Promise<void> {
    if (!this.#faults.includes(fault)) return
    this.#faults = this.#faults.filter((each) => each !== fault)
    // What held them is gone, and they with it.
    if (this.#session === undefined) return
    const session = this.#session
    try {
      await this.#apply([])
    } finally {
      if (this.#faults.length === 0) this.#finish(session)
    }
  }

  #finish(session: FaultSession): void {
    this.#session = undefined
    this.#finishing.add(session)
    const delivered = session.finish()
    void delivered.finally(() => this.#finishing.delete(session))
  }

  /** Makes what holds what is to hold. */
  async #apply(resets: readonly Reset[]): Promise<void> {
    const { record } = this.#network
    const faults = this.#faults
    const stations = faults.flatMap(({ pairs }) => pairs.flat())
    const where = await readPlaces(this.#context.places, record, stations)
    const session = (this.#session ??= this.#open())
    const viaOf = (from: Station, to: Station) => session.viaOf(from, to)
    const planned = planFaults(faults, where, viaOf, resets)
    if (planned.pipes.length > 0) await this.#network.ready()
    await session.hold(planned)
  }

  #open(): FaultSession {
    const session = new FaultSession(this.#context.helper, this.#network.record)
    void this.#watch(session)
    return session
  }

  /** One that ends without being asked to has been killed. */
  async #watch(session: FaultSession): Promise<void> {
    const error = await session.ended
    if (this.#session !== session) return
    this.#session = undefined
    const { name } = this.#network.record
    const message = `The faults of the network ${name} have ended by themselves: ${String(error)}`
    this.#context.warn('network-faults', message)
  }

  async #pairs(
    one: readonly FaultMember[],
    other: readonly FaultMember[],
  ): Promise<[Station, Station][]> {
    const { record } = this.#network
    if (record.driver !== 'bridge') {
      throw keelsonError(
        'KEELSON_UNSUPPORTED',
        `The network ${record.name} is of the driver ${record.driver}, whose packets do not pass this host's bridges.`,
        { feature: 'faults', hint: 'Faults are for networks of the driver bridge.' },
      )
    }
    const [left, right] = [await this.#stations(one), await this.#stations(other)]
    const both = left.find((station) => right.includes(station))
    if (both !== undefined) {
      throw invalid('members', `has ${both} on both sides`, 'Nobody is parted from itself.')
    }
    return left.flatMap((a) => right.map((b): [Station, Station] => [a, b]))
  }

  async #stations(members: readonly FaultMember[]): Promise<Station[]> {
    if (!Array.isArray(members) || members.length === 0) {
      throw invalid('members', 'must be a list with somebody in it', "As ['app'], ['database'].")
    }
    const { record } = this.#network
    const found = await Promise.all(
      members.map((member: FaultMember) => findMembers(this.#context, record, member)),
    )
    return [...new Set(found.flat())]
  }

  #id(): string {
    return String(++this.#last)
  }
}

function lasts(fault: FaultPlan): boolean {
  return fault.kind === 'partition' || stageOf(fault).length > 0
}

function invalid(option: string, complaint: string, hint?: string): KeelsonError {
  return keelsonError('KEELSON_INVALID_OPTION', `The option ${option} ${complaint}.`, {
    option,
    hint,
  })
}
