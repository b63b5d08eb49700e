/** What every implementation of `State` does. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DatedObservation, State } from '../../state/state.ts'
import type { AddressObservation } from '../../topics/observations.ts'

/** A place for one state, opened as often as a test likes. */
export interface StatePlace {
  open(): Promise<State>
  remove(): Promise<void>
}

export const observation = (address: string, more: Partial<AddressObservation> = {}): AddressObservation => ({
  address,
  observed: false,
  ptr: [],
  asn: null,
  as_name: null,
  country: null,
  ...more,
})
export const onDay = (day: string, ...observations: readonly AddressObservation[]): DatedObservation[] =>
  observations.map((one) => ({ day, observation: one }))

const DAY = '2026-03-01'
const nowhere = new Map<number, number>()

export function testState(name: string, makePlace: () => Promise<StatePlace>): void {
  describe(name, () => {
    let place: StatePlace
    let state: State
    beforeEach(async () => {
      place = await makePlace()
      state = await place.open()
    })
    afterEach(async () => {
      await state.close()
      await place.remove()
    })

    const find = (address: string, day = DAY, epoch = 1) =>
      state.findObservations(epoch, [{ day, address }]).then(([found]) => found)
    const reopen = async () => {
      await state.close()
      state = await place.open()
    }

    test('a new one knows nothing', async () => {
      expect(await state.observationPositions()).toEqual(new Map())
      expect(await find('192.0.2.1')).toBeUndefined()
      expect(await state.findObservations(1, [])).toEqual([])
    })

    test('what was kept is found as it was, at once and after opening again', async () => {
      const all = [
        observation('192.0.2.1'),
        observation('2001:db8::1', {
          observed: true,
          ptr: [
            { name: 'a.example', confirmed: true },
            { name: 'b.example', confirmed: false },
          ],
          asn: 4_200_000_000,
          as_name: 'Ünïcode "quoted"\\t\\u0000 & Sons',
          country: 'NZ',
        }),
      ]
      expect(await state.keepObservations(1, onDay(DAY, ...all), new Map([[3, 7]]))).toEqual(all)
      for (let round = 0; round < 2; round++) {
        const wanted = [...all, observation('192.0.2.9')].map(({ address }) => ({ day: DAY, address }))
        expect(await state.findObservations(1, wanted)).toEqual([...all, undefined])
        expect(await state.observationPositions()).toEqual(new Map([[3, 7]]))
        await reopen()
      }
    })

    test('the first that was kept stands, in a call, over calls and after opening again', async () => {
      const first = observation('192.0.2.1', { country: 'NZ' })
      const second = observation('192.0.2.1', { country: 'FI' })
      expect(await state.keepObservations(1, onDay(DAY, first, second), nowhere)).toEqual([first, first])
      expect(await state.keepObservations(1, onDay(DAY, second), nowhere)).toEqual([first])
      await reopen()
      expect(await state.keepObservations(1, onDay(DAY, second), nowhere)).toEqual([first])
      expect(await find('192.0.2.1')).toEqual(first)
    })

    test('each epoch and each day has its own answer', async () => {
      const answers = ['AA', 'BB', 'CC'].map((country) => observation('192.0.2.1', { country }))
      await state.keepObservations(1, onDay(DAY, answers[0]!), nowhere)
      await state.keepObservations(1, onDay('2026-03-02', answers[1]!), nowhere)
      await state.keepObservations(2, onDay(DAY, answers[2]!), nowhere)
      for (let round = 0; round < 2; round++) {
        expect(await find('192.0.2.1')).toEqual(answers[0])
        expect(await find('192.0.2.1', '2026-03-02')).toEqual(answers[1])
        expect(await find('192.0.2.1', DAY, 2)).toEqual(answers[2])
        expect(await find('192.0.2.1', '2026-03-02', 2)).toBeUndefined()
        await reopen()
      }
    })

    test('positions move on by partition, also when nothing else is kept', async () => {
      await state.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 5]]))
      await state.keepObservations(1, [], new Map([[0, 6], [11, 2 ** 40]])) // biome-ignore format: pairs
      await reopen()
      expect(await state.observationPositions()).toEqual(new Map([[0, 6], [11, 2 ** 40]])) // biome-ignore format: pairs
    })

    test('many thousand answers over many days are all found again', async () => {
      const rows = Array.from({ length: 30_000 }, (_, n) => ({
        day: `2026-01-${10 + (n % 20)}`,
        observation: observation(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, { asn: n }),
      }))
      for (let from = 0; from < rows.length; from += 700)
        await state.keepObservations(1, rows.slice(from, from + 700), new Map([[1, from]]))
      await reopen()
      const wanted = rows.map(({ day, observation: { address } }) => ({ day, address }))
      expect((await state.findObservations(1, wanted)).map((found) => found?.asn)).toEqual(rows.map((_, n) => n))
      const others = wanted.map(({ address }) => ({ day: '2025-12-31', address }))
      expect((await state.findObservations(1, others)).every((found) => found === undefined)).toBe(true)
    })

    test('of a key the first answer stands, by epoch and day, and is there after opening again', async () => {
      const key = (outcome: string, ...records: readonly string[]) => ({
        name: 's1._domainkey.a.example',
        outcome,
        records: [...records],
      })
      const findKey = (epoch: number, day: string) =>
        state.findKeys(epoch, [{ day, name: 's1._domainkey.a.example' }]).then(([found]) => found)
      await state.keepKeys(1, [
        { day: DAY, key: key('answered', 'v=DKIM1; p="\u00e9\0', 'x') },
        { day: DAY, key: key('no_answer') },
      ])
      await state.keepKeys(1, [{ day: DAY, key: key('no_answer') }])
      await state.keepKeys(1, [{ day: '2026-03-02', key: key('no_answer') }])
      await state.keepObservations(1, [], new Map([[3, 7]]))
      for (let round = 0; round < 2; round++) {
        expect(await findKey(1, DAY)).toEqual(key('answered', 'v=DKIM1; p="\u00e9\0', 'x'))
        expect(await findKey(1, '2026-03-02')).toEqual(key('no_answer'))
        expect(await findKey(2, DAY)).toBeUndefined()
        expect(await find('s1._domainkey.a.example')).toBeUndefined()
        expect(await state.observationPositions()).toEqual(new Map([[3, 7]]))
        await reopen()
      }
      await state.forgetObservations()
      expect(await findKey(1, DAY)).toBeUndefined()
    })

    test('forgetting leaves nothing', async () => {
      await state.keepObservations(1, onDay(DAY, observation('192.0.2.1')), new Map([[0, 5]]))
      await reopen()
      await state.keepObservations(1, onDay(DAY, observation('192.0.2.2')), new Map([[0, 6]]))
      await state.forgetObservations()
      for (let round = 0; round < 2; round++) {
        expect(await find('192.0.2.1')).toBeUndefined()
        expect(await find('192.0.2.2')).toBeUndefined()
        expect(await state.observationPositions()).toEqual(new Map())
        await reopen()
      }
    })

    test('once closed it refuses, and closing again is no error', async () => {
      await state.close()
      await state.close()
      await expect(find('192.0.2.1')).rejects.toThrow('closed')
      await expect(state.keepObservations(1, [], nowhere)).rejects.toThrow('closed')
    })
  })
}
