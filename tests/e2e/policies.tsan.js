'use strict';
// Timeouts outlive the snapshot they came with, but not their pool: who looks at them, and for how long,
// under the thread sanitizer.

const { describe, test } = require('node:test');
const { Lab, assert, eventually } = require('./lab');

describe('a pool that a reload removes', () => {
  test('is not looked at behind the last answer without a server', async (t) => {
    // Its only server is down, so nothing but the old snapshot holds the pool. The client lets answers
    // gather until limpet waits in the middle of one; a drain then makes that one the last.
    const lab = await Lab.start(t, {
      workers: 1, servers: { s1: {}, dead: { isDown: true } }, drain: { delay: '1s', deadline: '5s' },
      pools: { gone: { servers: ['dead'], check: { interval: '100ms', fall: 1 } }, stays: { servers: ['s1'] } },
      listeners: { web: { bind: 'unix:FOLDER/web.sock', pool: 'gone' } },
    });
    await lab.says(/server dead of pool gone is down/);
    const client = await lab.connect();
    client.pause();
    await client.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(4000));
    let count;
    await eventually(async () => {
      const before = count;
      await new Promise((resolve) => setTimeout(resolve, 200));
      count = lab.limpet.log.length;
      return count > 0 && count === before;
    }, 'answers to stand still');
    // Should it only have paused, on a busy machine, this shows less but nothing else is expected.
    await lab.reload((config) => {
      config.listeners.web.pool = 'stays';
      delete config.pools.gone;
    });
    lab.terminate();
    await lab.says(/drain/);
    client.resume();
    await client.isClosed();
    await lab.exitsWith(0);
  });
});

describe('timeouts of a route', () => {
  test('serve the streams that began with them over reloads that change them', async (t) => {
    const held = [];
    const handle = async (request, answer) => {
      await new Promise((resolve) => held.push(resolve));
      await answer.respond(200, {}, 'at last');
    };
    const routes = [{ match: { upgrade: 'websocket' }, pool: 'app' }, { pool: 'app' }];
    const lab = await Lab.start(t, { servers: { s1: { handle } }, listeners: { web: { routes } } });
    for (let i = 0; i < 10; i++) {
      const sockets = await Promise.all([1, 2, 3, 4].map(() => lab.websocket()));
      const clients = await Promise.all([1, 2, 3, 4].map(() => lab.connect()));
      for (const client of clients) await client.send('/');
      await eventually(() => held.length === 4, 'the requests');
      for (let n = 0; n < 2; n++) {
        const reload = await lab.reload((config) => {
          for (const route of config.listeners.web.routes) route.timeouts = { stream_idle: `${100 + 2 * i + n}s` };
        });
        assert.ok(reload.isDone, reload.line);
      }
      held.splice(0).forEach((release) => release());
      for (const client of clients) assert.equal((await client.response()).text, 'at last');
      for (const socket of sockets) {
        await socket.echoes('still here');
        socket.close(1000);
        await socket.isClosedWith(1000);
      }
    }
    await eventually(async () => (await lab.reload()).snapshots === 1, 'old snapshots to go');
  });
});
