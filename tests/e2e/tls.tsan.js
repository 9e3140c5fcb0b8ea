'use strict';
// Handshakes on two workers while reloads swap what they share, for the thread sanitizer:
// LIMPET_BIN=build/tsan/limpet node --test tls.tsan.js

const { test } = require('node:test');
const { Lab, assert, eventually } = require('./lab');
const pki = require('./pki');

test('handshakes, resumptions, servers over TLS and reloads race without a report', async (t) => {
  const folder = pki.folder(t);
  const site = pki.install(pki.site, folder);
  const rsa = pki.install(pki.ca.issue('rsa.example.com', { kind: 'rsa' }), folder, 'rsa');
  const lab = await Lab.start(t, {
    servers: { s1: { tls: pki.server.node }, s2: { tls: pki.server.node }, s3: { kind: 'tcp', tls: pki.site.node } },
    pools: {
      app: { balance: 'round_robin', servers: ['s1', 's2'], tls: { ca: pki.ca.cert }, keep_alive: { idle: 2, timeout: '1s' }, check: { interval: '200ms', rise: 1, fall: 2 } },
      chat: { servers: ['s1', 's2'], tls: { ca: pki.ca.cert } },
      line: { servers: ['s3'], balance: 'hash', hash: { key: ['sni'] } },
    },
    listeners: {
      web: { routes: [{ match: { upgrade: 'websocket' }, pool: 'chat' }, { pool: 'app' }], tls: { certificates: [site.config, rsa.config], tickets: { secret_file: pki.secret(folder) } } },
      demanding: { pool: 'app', tls: { certificates: [site.config], client_ca: pki.ca.cert } },
      line: { protocol: 'tcp', routes: [{ match: { sni: 'site.example.com' }, pool: 'line' }] },
    },
  });
  const state = { isOver: false, count: 0, resumed: 0 };
  const alice = pki.client('alice').node;
  const loads = Array.from({ length: 6 }, async (_, number) => {
    let session;
    for (let i = 0; !state.isOver; i++) {
      const [listener, more] = [['web', { servername: i % 7 === 3 ? 'rsa.example.com' : 'site.example.com' }], ['demanding', alice], ['line', {}]][number % 3];
      const client = await lab.connect({ listener, tls: { ...(number < 3 ? { maxVersion: 'TLSv1.2' } : {}), session: i % 5 ? session : undefined, ...more } });
      if (client.isResumed) state.resumed++;
      if (listener === 'line') {
        await client.write('hello');
        await client.read(5);
      } else {
        for (let n = 0; n < 3; n++) assert.equal((await client.request('/echo', { method: 'POST', body: 'x'.repeat(n * 9000) })).status, 200);
      }
      session = client.sessions.at(-1) ?? session;
      client.destroy();
      state.count++;
    }
  });
  const sockets = await Promise.all(Array.from({ length: 30 }, () => lab.websocket('/', { listener: 'web' })));
  const chatter = Promise.all(sockets.map(async (socket, i) => {
    while (!state.isOver && socket.isOpen) {
      await socket.echoes(`${i} ${'y'.repeat(i * 100)}`);
      await new Promise((go) => setTimeout(go, 50));
    }
  }));
  for (const one of [...loads, chatter]) one.catch(() => { state.isOver = true; });
  const until = Date.now() + 1000 * Number(process.env.LIMPET_E2E_SECONDS || 10);
  for (let i = 0; i < 12 || Date.now() < until; i++) {
    const before = state.count;
    pki.install(i % 2 ? pki.site : pki.ca.issue('renewed', { names: ['site.example.com'] }), folder);
    if (i % 3 === 0) pki.secret(folder);
    const answer = await lab.reload((config) => {
      if (i % 4 === 0) config.pools.app.tls = { ca: pki.ca.cert, name: 'app.internal' };
      else config.pools.app.tls = { ca: pki.ca.cert };
    });
    assert.ok(answer.isDone, answer.line);
    await eventually(() => state.count > before + 6, 'the load to go on');
  }
  state.isOver = true;
  await Promise.all([...loads, chatter]);
  assert.ok(state.resumed > 0);
  assert.equal(sockets.filter((socket) => !socket.isOpen).length, 0);
});
