// The person and the browser are in the test: one line of JSON goes there, one line comes back.
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export async function ask(question) {
  process.stdout.write(JSON.stringify(question) + '\n')
  return JSON.parse((await lines.next()).value)
}

export const given = JSON.parse(process.argv[2])

// The answer of the last line ends the run; an error ends it with its chain of causes.
export async function run(scenarios) {
  try {
    const done = await scenarios[given.scenario]()
    process.stdout.write(JSON.stringify({ done }) + '\n')
    process.exit(0)
  } catch (error) {
    for (let one = error; one; one = one.cause) console.error(one.stack ?? one, one.code ?? '', one.error ?? '')
    process.exit(1)
  }
}

export function sameOrThrow(found, expected, what) {
  if (found !== expected) throw new Error(`${what}: ${found} is not ${expected}`)
}

export async function refused(promise, code) {
  try {
    await promise
  } catch (error) {
    if (error.code === code || error.error === code || error.cause?.code === code) return
    throw error
  }
  throw new Error(`this should have been refused as ${code}`)
}
