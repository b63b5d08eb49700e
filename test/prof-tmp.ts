import { join } from 'node:path'
import { globSync, statSync, openSync, writeSync, closeSync } from 'node:fs'
import { importMail, tempFolder, endAll } from './fixtures.ts'
import { makeMails, writeMails } from './report-mail.ts'
import { openEmbeddedStore } from '../projections/embedded-store.ts'
import { prepareStore } from '../projections/schema.ts'
import { openSqliteLog } from '../topics/sqlite-log.ts'
import { firstGeneration } from '../topics/generation.ts'
for (let n=0;n<Number(process.argv[2]);n++) {
const f = await tempFolder('prof')
const {mails}=makeMails(6,300); await writeMails(join(f,'m'),mails)
const d=join(f,'d')
await importMail(d,[join(f,'m')])
for (const file of globSync('**/data.bin',{cwd:join(d,'store')})) { const p=join(d,'store',file); const size=statSync(p).size; if(size<64) continue; const fd=openSync(p,'r+'); writeSync(fd,Buffer.alloc(Math.min(64,size>>1),0x5a),0,undefined,size>>1); closeSync(fd) }
const log=await openSqliteLog({path:join(d,'log.sqlite')})
const raw=await openEmbeddedStore({folder:join(d,'store'),tmp:f,onRestart:p=>console.log('restart',p),onDamaged:r=>console.log('damaged',r)})
const timed=(name:'query'|'command')=>async(sql:string,o?:unknown)=>{const b=performance.now();const t=setInterval(()=>console.log('   still',name,sql.slice(0,90)),4000);try{return await (raw as never as Record<string,(s:string,o?:unknown)=>Promise<unknown>>)[name]!(sql,o)}catch(e){console.log('  FAIL',sql.slice(0,80),String(e).slice(0,200));throw e}finally{clearInterval(t);const ms=performance.now()-b;if(ms>1000)console.log('  slow',Math.round(ms),sql.slice(0,80))}}
const store={...raw,query:timed('query'),command:timed('command'),insert:raw.insert.bind(raw),stream:raw.stream.bind(raw),close:()=>raw.close()}
const b=performance.now()
try { console.log(n, (await prepareStore(store as never,firstGeneration(''),{log})).reason?.slice(0,100), Math.round(performance.now()-b)) } catch(e){console.log('ERR',String(e).slice(0,300))}
await raw.close(); await log.close(); await endAll()
}
