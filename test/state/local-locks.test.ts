import { openLocalLocks } from '../../state/local-locks.ts'
import { testLocks } from './locks.contract.ts'

testLocks('locks within a process', async () => openLocalLocks())
