import type { Images } from '../image/images.ts'
import type { Journal } from '../store/journal.ts'
import type { RunContext } from './context.ts'
import type { ContainerPlaces } from './record/places.ts'
import type { Removals } from './lifecycle/removals.ts'

/** What the containers of an engine share. */
export interface ContainersContext {
  /** What every container is run with. */
  run: RunContext
  images: Images
  places: ContainerPlaces
  journal: Journal
  removals: Removals
  /** Name of this engine; its directory is `run.directory`. */
  engine: string
  /** Keeps the sweep of images out until the record that holds one is written. */
  lease(): Promise<AsyncDisposable>
}
