/** The generator of report mail beside the checkout, and its truth in our words. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { expectTruth } from './answers.ts'
import { importMail, SHARED, tempFolder, up } from './fixtures.ts'
import type { Truth } from './report-mail.ts'

const run = promisify(execFile)
export const forms = ['files', 'mbox', 'maildir'] as const
export type Form = (typeof forms)[number]

interface GeneratedTruth {
  readonly mails: number
  readonly aggregate: {
    readonly reports: number
    readonly duplicates: number
    readonly records: number
    readonly messages: number
    readonly dmarcPass: number
    readonly dkimAligned: number
    readonly spfAligned: number
  }
  readonly tls: {
    readonly reports: number
    readonly duplicates: number
    readonly success: number
    readonly failure: number
    readonly failureDetails: number
  }
  readonly failure: { readonly mails: number }
  readonly other: { readonly mails: number }
  readonly damaged: { readonly mails: number }
  readonly byDomain: Readonly<
    Record<string, { reports: number; messages: number; dmarcPass: number; tlsSuccess: number; tlsFailure: number }>
  >
}

/** Runs the generator beside the checkout; returns where the mail lies and what is true of it. */
export async function generate(folder: string, seed: number, mails: number, form: Form) {
  const generator = join(SHARED!, 'tools', 'make-mail.mjs')
  await run(process.execPath, [generator, '--out', folder, '--seed', `${seed}`, '--mails', `${mails}`, '--form', form])
  const generated = JSON.parse(await readFile(join(folder, 'truth.json'), 'utf8')) as GeneratedTruth
  return { path: join(folder, form === 'mbox' ? 'mail.mbox' : 'mail'), truth: truthOf(generated) }
}

function truthOf({ mails, aggregate, tls, failure, other, damaged, byDomain }: GeneratedTruth): Truth {
  return {
    mails,
    duplicates: aggregate.duplicates + tls.duplicates,
    aggregate: {
      reports: aggregate.reports,
      records: aggregate.records,
      messages: aggregate.messages,
      passed: aggregate.dmarcPass,
      dkim: aggregate.dkimAligned,
      spf: aggregate.spfAligned,
    },
    tls: { reports: tls.reports, successful: tls.success, failed: tls.failure, details: tls.failureDetails },
    failures: failure.mails,
    other: other.mails,
    rejects: damaged.mails,
    domains: new Map(
      Object.entries(byDomain).map(([domain, { reports, messages, dmarcPass, tlsSuccess, tlsFailure }]) => [
        domain,
        { reports, messages, passed: dmarcPass, tls_successful: tlsSuccess, tls_failed: tlsFailure },
      ]),
    ),
  }
}

/** Imports generated mail, twice, and expects the truth of it over HTTP. */
export async function expectTruthOf(form: Form, seed: number, mails: number): Promise<void> {
  const folder = await tempFolder('truth')
  const data = join(folder, 'data')
  const { path, truth } = await generate(join(folder, form), seed, mails, form)
  expect(await importMail(data, [path])).toEqual({
    read: truth.mails,
    new: truth.mails - truth.duplicates,
    duplicates: truth.duplicates,
    rejects: truth.rejects,
  })
  const running = await up(data)
  expect(await importMail(data, [path])).toEqual({
    read: truth.mails,
    new: 0,
    duplicates: truth.mails,
    rejects: expect.any(Number),
  })
  await expectTruth(running, truth)
  expect(await running.stop()).toBe(0)
}
