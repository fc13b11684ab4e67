/** What `await using` does, for plain JavaScript on Node 20, which has not the syntax: newest first, to the end. */
export class Owned {
  #things = []

  /**
   * @template {AsyncDisposable} T
   * @param {T} thing
   * @returns {T}
   */
  own(thing) {
    this.#things.push(thing)
    return thing
  }

  async dispose() {
    const failures = []
    while (this.#things.length > 0) {
      try {
        await this.#things.pop()[Symbol.asyncDispose]()
      } catch (error) {
        failures.push(error)
      }
    }
    if (failures.length > 0) throw new AggregateError(failures, 'cleaning up failed')
  }
}
