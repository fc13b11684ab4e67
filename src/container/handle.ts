import { hostname } from 'node:os'
import { readAttached } from '../network/endpoint/attached.ts'
import type { ContainerStatus } from '../runtime/monitor-protocol.ts'
import type { ContainerCore } from './core.ts'
import {
  containerState,
  inspectContainer,
  type ContainerInspect,
  type ContainerState,
} from './inspect/inspect.ts'
import { hostnameOf } from './namespaces/hostname.ts'
import { findPeers } from './namespaces/peers.ts'
import type { OciConfig } from './config/oci-runtime.ts'
import { configOf } from './lifecycle/start.ts'
import { isActive } from './lifecycle/state.ts'

/** A container as this engine knows it: what it is, and how it is. */
export class ContainerHandle {
  /** What the parts of a container are made on. @internal */
  readonly core: ContainerCore
  /** As it was created; forgotten when it is changed. */
  #config: OciConfig | undefined

  /** @internal use `engine.containers` */
  constructor(core: ContainerCore, config?: OciConfig) {
    this.core = core
    this.#config = config
  }

  /** 64 hexadecimal digits. */
  get id(): string {
    return this.core.id
  }

  /** As this process knows it: {@link Container.inspect} looks whether another one renamed it. */
  get name(): string {
    return this.core.record.name
  }

  /** The image it was made from, as it was asked for. */
  get image(): string {
    return this.core.record.image.reference
  }

  /** The image's and its own. */
  get labels(): Readonly<Record<string, string>> {
    return this.core.record.labels
  }

  get createdAt(): Date {
    return new Date(this.core.record.createdAt)
  }

  /** Whether it outlives its engine. */
  get detached(): boolean {
    return this.core.record.options.detached
  }

  /** How it is now. */
  async state(): Promise<ContainerState> {
    const status = await this.core.status()
    if (status === 'removing') throw this.core.gone()
    return containerState(status, await this.core.state())
  }

  /** How it is now, in one word. A container that was removed is `removing`; one whose removal has failed half way is `dead`. */
  async status(): Promise<ContainerStatus> {
    return await this.core.status()
  }

  /** All about it. */
  async inspect(): Promise<ContainerInspect> {
    await this.core.refresh()
    const state = await this.state()
    const { record, context } = this.core
    const { options } = await findPeers(record.options, context.run.peer, hostname())
    return inspectContainer({
      record,
      state,
      hostname: hostnameOf(record.id, options, hostname()),
      attached: isActive(state.status) ? readAttached(record.run) : undefined,
      runtime: await configOf(this.core),
      directory: context.places.directory(this.id),
      logPath: context.places.log(this.id),
      sink: this.core.sink,
    })
  }

  /** That it is, or would be, started with. @internal */
  protected readonly configuration = async (): Promise<OciConfig> =>
    (this.#config ??= await configOf(this.core))

  /** The one it was created with, as long as that holds. @internal */
  protected get known(): OciConfig | undefined {
    return this.#config
  }

  protected set known(config: OciConfig | undefined) {
    this.#config = config
  }
}
