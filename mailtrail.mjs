#!/usr/bin/env node
/**
 * The command. In a clone it runs the TypeScript as it is; an installed package has no TypeScript (Node strips no types
 * below node_modules) and runs dist/. Written so that an old Node can read it and say that it is too old.
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const NEEDED_NODE = 24
const beside = (path) => fileURLToPath(new URL(path, import.meta.url))
const clone = existsSync(beside('main.ts'))

if (Number(process.versions.node.split('.')[0]) >= NEEDED_NODE) {
  const { main } = await import(clone ? './main.ts' : './dist/main.js')
  process.exitCode = await main(process.argv.slice(2))
} else if (clone && existsSync(beside('node_modules/.bin/node'))) {
  runWith(beside('node_modules/.bin/node'))
} else {
  const how = clone ? 'run "npm start" once, which brings it along' : 'install it from https://nodejs.org'
  process.stderr.write(`mailtrail needs Node ${NEEDED_NODE} or newer and this is ${process.version}: ${how}.\n`)
  process.exitCode = 1
}

/** The same command under another Node: same input and output, signals passed on, same end. */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' })
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']
  for (const signal of signals) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    process.stderr.write(`${node} cannot be started (${error.code}): delete node_modules and run "npm start".\n`)
    process.exitCode = 1
  })
  child.on('exit', (code, signal) => {
    if (signal === null) return process.exit(code)
    for (const name of signals) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}
