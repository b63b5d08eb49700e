/**
 * A disk that answers with an error: what is durable is not known then, so the process ends itself, and the next start has
 * all that was acknowledged. Made with a library that is loaded before the C library's and lets `fsync` or `write` fail.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { endAll, tempFolder, until, up } from '../fixtures.ts'
import { mailIdOf, makeMails } from '../report-mail.ts'

const LIMIT = 120_000

/** Calls on files of the log fail with EIO while the file that `FAIL_FLAG` names holds their name. */
const SHIM = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
static int fails(int fd, const char *call) {
  const char *flag = getenv("FAIL_FLAG");
  if (flag == NULL || access(flag, F_OK) != 0) return 0;
  char link[64], path[4096], wanted[64] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (strstr(path, "log.sqlite") == NULL) return 0;
  int file = open(flag, O_RDONLY);
  if (file < 0) return 0;
  ssize_t got = read(file, wanted, sizeof wanted - 1);
  close(file);
  if (got < 0 || strstr(wanted, call) == NULL) return 0;
  errno = EIO;
  return 1;
}
#define REAL(name) static __typeof__(&name) real; if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
int fsync(int fd) { REAL(fsync); return fails(fd, "sync") ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fails(fd, "sync") ? -1 : real(fd); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(pwrite64); return fails(fd, "write") ? -1 : real(fd, b, n, o); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(pwrite); return fails(fd, "write") ? -1 : real(fd, b, n, o); }
`

function hasCompiler(): boolean {
  if (process.platform !== 'linux') return false
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false // no compiler here: the tests below say that they were skipped
  }
}

afterEach(endAll)

describe.skipIf(!hasCompiler())('a disk with errors (skipped without Linux and a C compiler)', () => {
  test.each(['sync', 'write'])(
    'a %s that fails ends the process with a reason, and the next start has all that was acknowledged',
    async (call) => {
      const folder = await tempFolder('io-error')
      const data = join(folder, 'data')
      const library = join(folder, 'shim.so')
      const flag = join(folder, 'fail')
      writeFileSync(join(folder, 'shim.c'), SHIM)
      execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(folder, 'shim.c'), '-ldl'])
      const { mails } = makeMails(31, 60)
      const running = await up(data, { env: { LD_PRELOAD: library, FAIL_FLAG: flag } })
      const acknowledged = new Set<string>()
      let refused = 0
      const ended = new Promise<number | null>((resolve) => running.child.once('close', resolve))
      for (const [n, { bytes }] of mails.entries()) {
        if (n === 30) await writeFile(flag, call)
        try {
          const response = await running.post('/mail', bytes, { 'content-type': 'message/rfc822' })
          if (response.status === 202) acknowledged.add(mailIdOf(bytes))
          else refused++
        } catch {
          refused++ // it has ended
        }
      }
      expect(await ended).toBe(1)
      expect(running.said().stderr).toMatch(/disk|I\/O/i)
      expect(refused).toBeGreaterThan(0)
      expect(acknowledged.size).toBeGreaterThan(20)
      await rm(flag)

      const again = await up(data)
      await again.idle()
      const kept = new Set(
        (await again.list<{ id: string }>(`/mail?from=2026-01-01&to=2100-01-01`)).map(({ id }) => id),
      )
      expect([...acknowledged].filter((id) => !kept.has(id))).toEqual([])
      for (const { bytes } of mails)
        expect((await again.post('/mail', bytes, { 'content-type': 'message/rfc822' })).status).toBe(202)
      await until('all mails to be there', 60, async () => {
        const { totals } = await again.get<{ totals: { mails: number } }>('/status')
        return totals.mails === new Set(mails.map(({ bytes: each }) => mailIdOf(each))).size
      })
      expect(await again.stop()).toBe(0)
    },
    LIMIT,
  )

  test('the shim lets calls fail, or the tests above show nothing', async () => {
    const folder = await tempFolder('shim')
    const [library, flag, file] = ['shim.so', 'fail', 'log.sqlite'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ]
    writeFileSync(join(folder, 'shim.c'), SHIM)
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, join(folder, 'shim.c'), '-ldl'])
    writeFileSync(flag, 'sync')
    const code = `const fs = require('fs'); const f = fs.openSync(process.argv[1], 'w'); try { fs.fsyncSync(f) } catch (e) { process.stdout.write(e.code) }`
    const env = { ...process.env, LD_PRELOAD: library, FAIL_FLAG: flag }
    expect(execFileSync(process.execPath, ['-e', code, file], { env }).toString()).toBe('EIO')
    expect(await readFile(flag, 'utf8')).toBe('sync')
  })
})
