const { test } = require('node:test');const { Lab, assert } = require('./lab');const { Tls13, RECORD, ALERT, EXTENSIONS, clientHello, record, message, extension, vector, u8, u16, u24, bytes } = require('./tls13');const pki = require('./pki');const crypto=require('crypto');
test('x', async (t) => {
  const lab = await Lab.start(t, { timeouts:{handshake:'3s'}, servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp', tls: { certificates: [pki.site.config] } } } });
  const name=a=>Object.entries(ALERT).find(([,v])=>v===a)?.[0]??a;
  async function plain(n, want, ...sent){ const c=await lab.connect({tls:false}); const b=Date.now(); for(const s of sent) await c.write(s); let got='';
    try { for(;;){ const h=Buffer.from(await c.read(5)); const body=await c.read(h.readUInt16BE(3)); if(h[0]===21){got+='alert '+name(body[1]);break;} got+=h[0]===22?(body[0]===2?(body.subarray(6,38).toString('hex').startsWith('cf21ad74')?'HRR ':'SH '):'hs'+body[0]+' '):'r'+h[0]+' '; if(got.length>60)break; } } catch(e){ got+='end:'+c.ended; }
    const ms=Date.now()-b; const ok=[want].flat().some(w=>got.includes(w)); console.log(ok?'ok  ':'DIFF', n,'->',got,'want',want,ms>1000?ms+'ms':''); c.destroy(); }
  const H=(o)=>record(22,clientHello(o),0x301); const ext=(f)=>H({extensions:f}); const without=(id)=>ext(u=>u.filter(e=>e.readUInt16BE(0)!==id)); const swap=(id,e)=>ext(u=>u.map(x=>x.readUInt16BE(0)===id?e:x));
  const ks=(...l)=>extension(51,vector(2,...l.map(([g,b])=>bytes(u16(g),vector(2,b)))));
  await plain('zero x25519','illegalParameter',swap(51,ks([0x1d,Buffer.alloc(32)])));
  await plain('short x25519',['illegalParameter','decodeError'],swap(51,ks([0x1d,Buffer.alloc(31,9)])));
  await plain('long x25519',['illegalParameter','decodeError'],swap(51,ks([0x1d,Buffer.alloc(33,9)])));
  await plain('bad p256','illegalParameter',H({groups:[0x17],extensions:u=>u.map(x=>x.readUInt16BE(0)===51?ks([0x17,Buffer.concat([Buffer.from([4]),Buffer.alloc(64,7)])]):x)}));
  await plain('dup shares','illegalParameter',swap(51,ks([0x1d,Buffer.alloc(32,9)],[0x1d,Buffer.alloc(32,9)])));
  await plain('share not in groups','illegalParameter',H({groups:[0x17],}));
  await plain('no groups','missingExtension',without(10)); await plain('no sigalgs','missingExtension',without(13)); await plain('no share','missingExtension',without(51));
  await plain('empty share list','HRR',swap(51,extension(51,vector(2,''))));
  await plain('unknown group share','HRR',H({groups:[0x1e,0x17],extensions:u=>u.map(x=>x.readUInt16BE(0)===51?ks([0x1e,Buffer.alloc(56,7)]):x)}));
  await plain('no common group','handshakeFailure',H({groups:[0x1e],extensions:u=>u.map(x=>x.readUInt16BE(0)===51?ks([0x1e,Buffer.alloc(56,7)]):x)}));
  const many=(n)=>ext(u=>[...u,...Array.from({length:n},(_,i)=>extension(0x4000+i))]);
  await plain('3000 extensions','SH',many(3000));
  const h=clientHello(); const m=(f)=>{const b=Buffer.from(h); f(b); return record(22,b,0x301);};
  await plain('trailing bytes','decodeError',record(22,message(1,h.subarray(4),Buffer.alloc(5)),0x301));
  await plain('extension len too long','decodeError',m(b=>b.writeUInt16BE(b.readUInt16BE(4+2+32+1+32+2+2+2)+3,4+2+32+1+32+2+2+2)));
  await plain('session id 33',['decodeError','illegalParameter'],H({session:Buffer.alloc(33)}));
  await plain('no suites',['decodeError','illegalParameter','handshakeFailure'],H({suites:[]}));
  await plain('odd suites','decodeError',(()=>{const b=bytes(u16(0x303),crypto.randomBytes(32),vector(1,''),vector(2,Buffer.from([0x13,1,0])),vector(1,[0]),vector(2,h.subarray(4+2+32+1+32+2+2+2+2)));return record(22,message(1,b),0x301);})());
  await plain('no compression',['decodeError','illegalParameter'],H({compression:[]}));
  await plain('compression 0 and 1 in 1.3','illegalParameter',H({compression:[0,1]}));
  await plain('sni twice in one',['illegalParameter','decodeError','SH'],swap(0,extension(0,vector(2,bytes(u8(0),vector(2,'a.b')),bytes(u8(0),vector(2,'c.d'))))));
  await plain('sni empty name',['illegalParameter','decodeError','unrecognizedName'],swap(0,extension(0,vector(2,bytes(u8(0),vector(2,''))))));
  await plain('sni empty list',['illegalParameter','decodeError'],swap(0,extension(0,vector(2,''))));
  await plain('sni nul',['illegalParameter','decodeError','SH','unrecognizedName'],swap(0,extension(0,vector(2,bytes(u8(0),vector(2,'site.example.com\0.evil'))))));
  await plain('alpn empty list',['decodeError','illegalParameter'],ext(u=>[...u,extension(16,vector(2,''))]));
  await plain('alpn empty name',['decodeError','illegalParameter'],ext(u=>[...u,extension(16,vector(2,vector(1,'')))]));
  await plain('alpn len lies',['decodeError','illegalParameter'],ext(u=>[...u,extension(16,Buffer.from([0,9,8]))]));
  await plain('versions empty',['decodeError','illegalParameter','protocolVersion'],swap(43,extension(43,vector(1,''))));
  await plain('versions 0x0305 only','protocolVersion',H({versions:[0x0305]}));
  await plain('versions 0x7f1c draft','protocolVersion',H({versions:[0x7f1c]}));
  await plain('legacy 0x0300 with 1.3',['protocolVersion','SH'],H({legacyVersion:0x300}));
  await plain('legacy 0x0304',['SH','protocolVersion'],H({legacyVersion:0x304}));
  await plain('record version 0x0300','SH',(()=>{const b=H();b[2]=0;return b;})());
  await plain('plain record 16385','recordOverflow',bytes(u8(22),u16(0x301),u16(16385),message(1,Buffer.alloc(16381))));
  await plain('psk not last','illegalParameter',ext(u=>[extension(41,vector(2,bytes(vector(2,Buffer.alloc(32,1)),Buffer.alloc(4))),vector(2,vector(1,Buffer.alloc(32)))),extension(45,vector(1,[1])),...u]));
  await plain('psk unknown','SH',ext(u=>[...u,extension(45,vector(1,[1])),extension(41,vector(2,bytes(vector(2,Buffer.alloc(32,1)),Buffer.alloc(4))),vector(2,vector(1,Buffer.alloc(32))))]));
  await plain('psk without modes','missingExtension',ext(u=>[...u,extension(41,vector(2,bytes(vector(2,Buffer.alloc(32,1)),Buffer.alloc(4))),vector(2,vector(1,Buffer.alloc(32))))]));
  await plain('psk binders count',['illegalParameter','decodeError','SH'],ext(u=>[...u,extension(45,vector(1,[1])),extension(41,vector(2,bytes(vector(2,Buffer.alloc(32,1)),Buffer.alloc(4))),vector(2,vector(1,Buffer.alloc(32)),vector(1,Buffer.alloc(32))))]));
  await plain('hello then alert',['end','closeNotify'],H(),record(21,[2,40]));
  await plain('hello then plain finished','unexpectedMessage',H(),record(22,message(20,Buffer.alloc(32))));
  await plain('hello then hello','unexpectedMessage',H(),H());
  await plain('hello then data','unexpectedMessage',H(),record(23,Buffer.alloc(60,1)));
  await plain('hello ccs 2 ','unexpectedMessage',H(),record(20,[2]));
  await plain('hello ccs long','unexpectedMessage',H(),record(20,[1,1]));
  await plain('ccs first',['unexpectedMessage','end'],record(20,[1]),H());
  await plain('empty alert',['decodeError','unexpectedMessage'],H(),record(21,[]));
  await plain('alert first',['end','unexpected','closeNotify'],record(21,[2,0x28]));
  await plain('1.2 signature rsa only',['handshakeFailure'],H({versions:null,suites:[0xc02b],groups:[0x17],extensions:u=>u.map(x=>x.readUInt16BE(0)===13?EXTENSIONS.signatures([0x0401]):x)}));
  await plain('1.2 no curves common',['handshakeFailure'],H({versions:null,suites:[0xc02b],groups:[0x1e]}));
  await plain('1.2 compressed points only',['illegalParameter','handshakeFailure','SH'],H({versions:null,suites:[0xc02b],groups:[0x17],extensions:u=>[...u,extension(11,vector(1,[1]))]}));
  await plain('1.2 reneg nonempty','handshakeFailure',H({versions:null,suites:[0xc02b],groups:[0x17],extensions:u=>[...u,extension(0xff01,vector(1,'abcdef'))]}));
  await plain('1.2 fallback scsv',['SH','86'],H({versions:null,suites:[0xc02b,0x5600],groups:[0x17]}));
  // encrypted phase
  const open=async()=>Tls13.connect(await lab.connect({tls:false}));
  for (const [n,want,f] of [
   ['zero content','unexpectedMessage',s=>s.client.write(s.out.seal(Buffer.alloc(20)))],
   ['no content at all','unexpectedMessage',s=>s.client.write(s.out.seal(Buffer.alloc(0)))],
   ['finished again','unexpectedMessage',s=>s.client.write(s.seal(22,message(20,Buffer.alloc(32))))],
   ['certificate','unexpectedMessage',s=>s.client.write(s.seal(22,message(11,Buffer.alloc(4))))],
   ['ticket from client','unexpectedMessage',s=>s.client.write(s.seal(22,message(4,Buffer.alloc(20))))],
   ['half handshake then data','unexpectedMessage',async s=>{await s.client.write(s.seal(22,message(24,u8(0)).subarray(0,3)));await s.write('x');}],
   ['ku empty',['decodeError','illegalParameter'],s=>s.client.write(s.seal(22,message(24)))],
   ['ku + more in one record',['unexpectedMessage'],s=>s.client.write(s.seal(22,bytes(message(24,u8(0)),message(24,u8(0)))))],
   ['handshake 1MB length',['unexpectedMessage','decodeError','illegalParameter'],s=>s.client.write(s.seal(22,Buffer.from([24,0xf,0xff,0xff,0])))],
   ['alert of 1 byte',['decodeError','unexpectedMessage'],s=>s.client.write(s.seal(21,[2]))],
   ['alert of 3 bytes',['decodeError','unexpectedMessage'],s=>s.client.write(s.seal(21,[1,0,0]))],
   ['alert empty',['unexpectedMessage','decodeError'],s=>s.client.write(s.seal(21,[]))],
   ['warning user_canceled then data','data',async s=>{await s.client.write(s.seal(21,[1,90]));await s.write('x');}],
   ['unknown warning',['end','decodeError','illegalParameter','unexpected'],s=>s.client.write(s.seal(21,[1,200]))],
   ['record too short','badRecordMac',s=>s.client.write(record(23,Buffer.alloc(10)))],
   ['record empty',['badRecordMac','unexpectedMessage'],s=>s.client.write(record(23,Buffer.alloc(0)))],
   ['plain data','',s=>s.client.write(record(22,message(24,u8(0))))],
   ['record wrong version','data',async s=>{const r=s.seal(23,'x');r[1]=9;await s.client.write(r);}],
  ]) { const s=await open(); await f(s); const b=Date.now(); const a=await s.answer().catch(e=>({err:e.message.slice(0,60)})); const got=a.err??(a.alert!==undefined?'alert '+name(a.alert):'data '+a.data.toString()); console.log([want].flat().some(w=>got.includes(w))?'ok  ':'DIFF',n,'->',got,'want',want,Date.now()-b>1000?'SLOW':''); s.client.destroy(); }
  // bad finished
  { const c=await lab.connect({tls:false}); const orig=c.write.bind(c); let n=0; c.write=(d)=>{ if(n++===1){ d=Buffer.from(d); d[d.length-1]^=1;} return orig(d);}; try{ const s=await Tls13.connect(c); const a=await s.next(); console.log('bad finished (mac)',a);}catch(e){console.log('bad finished (mac)',e.message.slice(0,100));} }
});
