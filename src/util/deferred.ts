/** A promise and the functions that settle it (`Promise.withResolvers` of Node 22). */
export function deferred<T>(): {
  promise: Promise<T>
  resolve: (value: T) => void
  reject: (error: unknown) => void
} {
  let settle: [(value: T) => void, (error: unknown) => void] | undefined
  const promise = new Promise<T>((...both) => (settle = both))
  // The executor has run: Promise calls it at once.
  const [resolve, reject] = settle as [(value: T) => void, (error: unknown) => void]
  return { promise, resolve, reject }
}
