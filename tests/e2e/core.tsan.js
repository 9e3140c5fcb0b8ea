'use strict';
// A mix of everything for the thread sanitizer: LIMPET_BIN=build/tsan/limpet node --test core.tsan.js
// Workers, control and helper thread meet in accepts, picks, reloads, health and the drain, so this
// does all of them at once, for LIMPET_E2E_SECONDS and thirty reloads at least.

const { test } = require('node:test');
const { Lab, assert, eventually } = require('./lab');

test('traffic, reloads, failing servers and a drain race without a report', async (t) => {
  const lab = await Lab.start(t, {
    servers: { s1: {}, s2: {}, s3: {}, s4: {} },
    drain: { delay: '200ms', deadline: '60s', spread: '5%' },
    pools: {
      app: { balance: 'round_robin', servers: ['s1', 's2', 's3'], check: { interval: '100ms', rise: 1, fall: 1 } },
      chat: { balance: 'least_connections', servers: ['s1', 's2'], check: { type: 'websocket', interval: '200ms' }, drain: { deadline: '2s' } },
      keyed: { balance: 'hash', hash: { key: ['cookie:user'] }, servers: ['s1', 's2', 's3'] },
    },
    listeners: { line: { protocol: 'tcp', pool: 'app' }, web: { routes: [{ match: { upgrade: 'websocket' }, pool: 'chat' }, { match: { path: '/keyed' }, pool: 'keyed' }, { pool: 'app' }] } },
  });
  const state = { isOver: false, count: 0 };
  const web = { listener: 'web' };
  const loads = Array.from({ length: 6 }, async (_, number) => {
    while (!state.isOver) {
      // A tcp client is reset while all servers fail their checks, as they may on a busy machine.
      const client = number > 0 ? await lab.connect(web) : await lab.connect({ listener: 'line' }).catch(() => null);
      if (client === null) {
        await new Promise(setImmediate);
        continue;
      }
      for (let i = 0; i < 30 && !state.isOver && !client.ended; i++) {
        await client.request(i % 2 ? '/keyed' : '/echo', { method: 'POST', body: 'x'.repeat(i * 500), headers: { Cookie: `user=${number}-${i}` } }).catch(() => {});
        state.count++;
      }
      client.destroy();
    }
  });
  const sockets = await Promise.all(Array.from({ length: 60 }, () => lab.websocket('/', web)));
  const chatter = sockets.map(async (socket, i) => {
    while (!state.isOver && socket.isOpen) await socket.echoes(`${i} ${'y'.repeat(i * 10)}`).catch(() => {});
  });
  const events = lab.eventSource('/sse', web);

  const port = await lab.newPort();
  const until = Date.now() + 1000 * Number(process.env.LIMPET_E2E_SECONDS || 20);
  for (let i = 0; i < 30 || Date.now() < until; i++) {
    const before = state.count;
    const answer = await lab.reload((config) => {
      if (i % 3 === 0) config.listeners.more = { bind: `127.0.0.1:${port}`, pool: 'keyed' };
      else delete config.listeners.more;
      if (i % 2 === 0) config.pools.chat.servers.s4 = lab.server('s4').address;
      else delete config.pools.chat.servers.s4;
    });
    assert.ok(answer.isDone, answer.line);
    if (i % 8 === 3) await lab.server('s3').kill();
    if (i % 8 === 6) await lab.server('s3').revive();
    lab.limpet.signal('SIGUSR1');
    for (let n = 0; n < 5; n++) (await lab.websocket('/', { ...web, wait: false })).isOpened().catch(() => {});
    await eventually(() => state.count > before + 60, 'the load to go on');
  }
  events.destroy();
  state.isOver = true;
  await Promise.all([...loads, ...chatter]);
  lab.terminate();
  for (const socket of sockets) await socket.until(() => socket.closed, 'a Close');
  await lab.limpet.exits();
});
