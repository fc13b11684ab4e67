/** Node keeps a timer's delay in 31 bits, and takes a longer one for no delay at all. */
const LONGEST = 2 ** 31 - 1

/**
 * Calls `action` after that many milliseconds, however many they are.
 *
 * @returns stops it; calling that twice, or too late, does no harm
 */
export function startTimer(milliseconds: number, action: () => void): () => void {
  let timer: NodeJS.Timeout
  const wait = (left: number) => {
    timer =
      left > LONGEST ? setTimeout(() => wait(left - LONGEST), LONGEST) : setTimeout(action, left)
  }
  wait(milliseconds)
  return () => clearTimeout(timer)
}
