import { FULL_ID } from './places.ts'

/** Content of the file of a name, or of a range of ids. */
export interface NameClaim {
  id: string
  /** Directory of the engine that made it: its lock says whether that engine lives. */
  engine: string
}

/** `undefined` for what no engine wrote whole. */
export function decodeClaim(text: string): NameClaim | undefined {
  try {
    const value = JSON.parse(text) as Partial<NameClaim> | null
    if (typeof value?.id !== 'string' || typeof value.engine !== 'string') return undefined
    return FULL_ID.test(value.id) ? { id: value.id, engine: value.engine } : undefined
  } catch {
    return undefined
  }
}
