'use strict';
// What is cut never looks complete, and what still flows is not cut: half_closed counts silence, a
// FIN is for what was whole, everything else ends in a reset (over TLS without close_notify).

const { describe, test } = require('node:test');
const { Lab, END, assert, eventually } = require('./lab');
const { OP, frame } = require('./frames');
const pki = require('./pki');

const soon = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const SECURE = { tls: { certificates: [{ cert: pki.site.cert, key: pki.site.key }] } };
const LINE = { protocol: 'tcp' };

/** A tcp server that plays a script; what a side of it saw at the end is arrival.ending. */
const server = (script) => ({ kind: 'raw', script: async (connection, origin, arrival) => {
  connection.until(() => connection.ended, 'the end', 120000).then((ending) => { arrival.ending = ending; origin.changed(); }, () => {});
  await script(connection, origin);
} });
const start = (t, script, { listener = {}, ...more } = {}) => Lab.start(t, { servers: { s1: server(script) }, listeners: { line: { ...LINE, ...listener } }, ...more });
const ending = (lab) => lab.server('s1').until(() => lab.server('s1').arrivals.at(-1)?.ending, 'the server to see the end');

for (const [how, listener] of [['plain', {}], ['TLS', SECURE]]) {
  describe(`half_closed counts silence, ${how}`, { concurrency: 3 }, () => {
    test('an upload goes on though its server has said FIN', async (t) => {
      const lab = await start(t, async (connection) => { await connection.write('go on\n'); connection.end(); }, { listener, timeouts: { half_closed: '1s' } });
      const client = await lab.connect();
      client.keepsOpen = true;
      await client.readUntil('go on\n');
      await client.isClosed();
      for (let i = 0; i < 20; i++) {
        await client.write('x'.repeat(100));
        await soon(110);
      }
      client.end();
      assert.equal(await ending(lab), 'fin');
      assert.equal(lab.server('s1').size, 2000);
    });

    test('a download goes on though its client has said FIN', async (t) => {
      const lab = await start(t, async (connection) => {
        await connection.until(() => connection.ended, 'the FIN');
        for (let i = 0; i < 20; i++) {
          await connection.write('y'.repeat(100));
          await soon(110);
        }
        connection.end();
      }, { listener, timeouts: { half_closed: '1s' } });
      const client = await lab.connect();
      await client.write('all I say');
      client.end();
      assert.equal((await client.readAll()).length, 2000);
      assert.equal(client.ended, 'fin');
    });

    test('a silent one is cut: a reset for the server, whose client has not ended', async (t) => {
      const lab = await start(t, async (connection) => { await connection.write('go on\n'); connection.end(); }, { listener, timeouts: { half_closed: '400ms' } });
      const client = await lab.connect();
      client.keepsOpen = true;
      await client.write('some');
      assert.equal((await client.readAll()).toString(), 'go on\n');
      assert.equal(client.ended, 'fin', 'the client has got all');
      assert.equal(await ending(lab), 'reset');
      await lab.logs({ event: 'end', end: END.halfClosed });
    });

    test('a silent one is cut: a reset for the client, whose server has not ended', async (t) => {
      const lab = await start(t, async (connection) => { await connection.write('half'); }, { listener, timeouts: { half_closed: '400ms' } });
      const client = await lab.connect({ wire: how === 'TLS' ? {} : undefined });
      await client.readUntil('half');
      client.end();
      await client.isClosed();
      if (how === 'plain') assert.equal(client.ended, 'reset');
      else assert.ok(!client.wire.isEnded, 'no FIN, and no close_notify before it');
      assert.equal(await ending(lab), 'fin', 'the server has got all');
    });

    test('an idle stream is cut on both sides', async (t) => {
      const lab = await start(t, async (connection) => { await connection.write('half'); }, { listener, timeouts: { stream_idle: '400ms' } });
      const client = await lab.connect({ wire: how === 'TLS' ? {} : undefined });
      await client.readUntil('half');
      await client.isClosed();
      if (how === 'plain') assert.equal(client.ended, 'reset');
      else assert.ok(!client.wire.isEnded, 'no FIN, and no close_notify before it');
      assert.equal(await ending(lab), 'reset');
    });
  });
}

describe('a tunnel that one side has closed', { concurrency: 2 }, () => {
  test('goes on while the other speaks, and is cut when it is silent', async (t) => {
    const lab = await Lab.start(t, { timeouts: { half_closed: '1s' }, servers: { s1: { mayFault: true, handleUpgrade: async (request, answer, reader) => {
      const { acceptOf } = require('./frames');
      reader.detach();
      const heard = [];
      answer.socket.on('data', (data) => { heard.push(data); lab.heard = Buffer.concat(heard).length; });
      answer.socket.on('close', () => { lab.isOver = true; });
      answer.socket.on('error', () => { lab.wasReset = true; });
      await answer.head(101, { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Accept': acceptOf(request.get('sec-websocket-key')) });
      answer.close();
      return true;
    } } } });
    const ws = await lab.rawWebSocket('/ws');
    ws.client.keepsOpen = true;
    const bytes = frame(OP.TEXT, 'more');
    for (let i = 0; i < 20; i++) {
      await ws.write(bytes);
      await soon(110);
    }
    await eventually(() => lab.heard === 20 * bytes.length, 'all of it to arrive');
    await eventually(() => lab.isOver, 'the end');
    assert.ok(lab.wasReset, 'the server sees a reset');
  });
});

describe('a tcp stream in a drain', { concurrency: 3 }, () => {
  const flowing = (lines) => async (connection) => {
    for (let i = 0; i < lines && !connection.ended; i++) {
      await connection.write(`${i}\n`);
      await soon(50);
    }
  };
  const drain = { delay: '0s', deadline: '60s', spread: '1%' };

  test('goes on while it flows, and ends with FIN when it is silent', async (t) => {
    const lab = await start(t, flowing(60), { drain });
    const client = await lab.connect();
    await client.readUntil('0\n');
    lab.terminate();
    const rest = await client.readAll();
    assert.equal(client.ended, 'fin');
    assert.match(rest.toString(), /59\n$/);
    await lab.exitsWith(0);
  });

  test('that flows on is reset at the deadline', async (t) => {
    const lab = await start(t, flowing(100000), { drain: { ...drain, deadline: '2s' } });
    const client = await lab.connect();
    await client.readUntil('0\n');
    lab.terminate();
    await client.isClosed();
    assert.equal(client.ended, 'reset');
    assert.equal(await ending(lab), 'reset');
    await lab.exitsWith(1);
  });

  test('that flows the other way goes on, too', async (t) => {
    const lab = await start(t, async () => {}, { drain });
    const client = await lab.connect();
    await client.write('first');
    await lab.server('s1').receives('first');
    lab.terminate();
    for (let i = 0; i < 40; i++) {
      await client.write(`${i},`);
      await soon(50);
    }
    await lab.server('s1').receives('39,');
    assert.equal((await client.readAll()).length, 0);
    assert.equal(await ending(lab), 'fin');
    await lab.exitsWith(0);
  });

  test('whose server is removed goes on while it flows, and is cut at the deadline', async (t) => {
    for (const [lines, deadline, how] of [[60, '60s', 'fin'], [100000, '2s', 'reset']]) {
      const lab = await start(t, flowing(lines), { pools: { app: { servers: ['s1'], drain: { deadline, spread: '1%' } } } });
      const other = await lab.newServer('s2', { kind: 'tcp' });
      const client = await lab.connect();
      await client.readUntil('0\n');
      await lab.reload((config) => { config.pools.app.servers = { s2: other.address }; });
      const rest = await client.isClosed().then(() => client.buffer.toString());
      assert.equal(client.ended, how);
      if (how === 'fin') assert.match(rest, /59\n$/);
    }
  });
});
