/** Tells whoever listens what has happened: one of `Events`, by its name. */
export type Emit<Events extends Record<keyof Events, [object]>> = <Type extends keyof Events>(
  type: Type,
  event: Events[Type][0],
) => void
