'use strict';
// Plain TCP, IPv6 and Unix sockets.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const path = require('node:path');
const { Lab, END, assert } = require('./lab');

const MiB = 1 << 20;
const tcp = (more = {}) => ({ listeners: { line: { protocol: 'tcp' } }, ...more });

describe('tcp', { concurrency: 3 }, () => {
  test('bytes go both ways whatever they are', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'tcp' } } }));
    const client = await lab.connect();
    for (const bytes of [Buffer.from('GET / HTTP/9.9\n\n'), Buffer.from([0, 1, 2, 255]), crypto.randomBytes(100000)]) {
      await client.write(bytes);
      assert.ok(Buffer.from(await client.read(bytes.length)).equals(bytes));
    }
    client.end();
    await client.isClosed();
    await lab.logs({ event: 'start', class: 'tcp', server: 's1' });
    const line = await lab.logs({ event: 'end', class: 'tcp', server: 's1' });
    assert.equal(line.bytes_in, line.bytes_out);
    assert.equal(line.end, END.done);
  });

  test('a server that speaks first is heard', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'tcp', greeting: '220 welcome\r\n', mute: true } } }));
    assert.equal((await (await lab.connect()).readUntil('\r\n')).toString(), '220 welcome\r\n');
  });

  test('a half-closed connection carries the rest of the other side', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'raw', script: async (connection) => {
      const question = await connection.readAll();
      await connection.write(`you said ${question.length} bytes`);
      connection.end();
    } } } }));
    const client = await lab.connect();
    await client.write(Buffer.alloc(50000));
    client.end();
    assert.equal((await client.readAll()).toString(), 'you said 50000 bytes');
    await lab.logs({ event: 'end', class: 'tcp', end: END.done });
  });

  test('a hundred MiB come back unharmed and in order', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'tcp' } } }));
    const client = await lab.connect();
    const piece = crypto.randomBytes(MiB);
    const sent = crypto.createHash('sha256');
    const got = crypto.createHash('sha256');
    client.socket.removeAllListeners('data');
    let size = 0;
    client.socket.on('data', (data) => { got.update(data); size += data.length; client.changed(); });
    for (let i = 0; i < 100; i++) {
      piece.writeUInt32BE(i, 0);
      sent.update(piece);
      await client.write(Buffer.from(piece));
    }
    await client.until(() => size === 100 * MiB, () => `100 MiB, have ${size}`);
    assert.equal(got.digest('hex'), sent.digest('hex'));
    assert.ok(lab.limpet.memory() < 600 * MiB, 'a stream is never held in memory');
  });

  test('a talk in small messages that turns into a flood loses nothing, also when nobody reads it for a while', async (t) => {
    // Small messages are received without asking for each; a flood must find its way back to backpressure.
    const MESSAGES = 12;
    const flood = crypto.randomBytes(6 * MiB);
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'raw', script: async (connection) => {
      for (let i = 0; i < MESSAGES; i++) await connection.write(await connection.read(5));
      connection.socket.pause();
      await connection.write(flood);
      connection.socket.resume();
      const got = await connection.read(flood.length);
      await connection.write(crypto.createHash('sha256').update(got).digest());
      connection.end();
    } } } }));
    const clients = await Promise.all(Array.from({ length: 4 }, () => lab.connect()));
    await Promise.all(clients.map(async (client) => {
      for (let i = 0; i < MESSAGES; i++) {
        await client.write('hello');
        await client.read(5);
      }
      client.socket.pause();
      const written = client.write(flood);
      await new Promise((go) => setTimeout(go, 300));
      client.socket.resume();
      assert.ok(Buffer.from(await client.read(flood.length)).equals(flood));
      await written;
      assert.ok(Buffer.from(await client.read(32)).equals(crypto.createHash('sha256').update(flood).digest()));
    }));
  });

  test('a reset reaches the other side', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'tcp' } } }));
    const client = await lab.connect();
    await client.write('x');
    await client.read(1);
    client.reset();
    await lab.server('s1').until(() => lab.server('s1').arrivals[0].isClosed, 'the server side to end');
    await lab.logs({ event: 'end', class: 'tcp', end: END.clientReset });
    const other = await lab.connect();
    await other.write('y');
    await other.read(1);
    await lab.server('s1').kill();
    await other.isClosed();
    await lab.logs({ event: 'end', class: 'tcp', end: END.serverReset });
  });

  test('a server that refuses costs the client its connection, or the next server takes it', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'tcp', isDown: true }, s2: { kind: 'tcp' } }, pools: { both: { balance: 'round_robin', servers: ['s1', 's2'] } } }));
    for (let i = 0; i < 4; i++) {
      const client = await lab.connect();
      await client.write('x');
      assert.equal((await client.read(1)).toString(), 'x');
      client.destroy();
    }
    await lab.server('s2').refuse();
    await lab.isTurnedAway();
    await lab.logs({ class: 'tcp', end: END.connectFailed });
  });

  test('an address hashes a tcp client to its home', async (t) => {
    const lab = await Lab.start(t, tcp({ servers: { s1: { kind: 'tcp', greeting: 's1;' }, s2: { kind: 'tcp', greeting: 's2;' }, s3: { kind: 'tcp', greeting: 's3;' } }, pools: { app: { hash: { key: ['client_ip'] } } } }));
    const addresses = Array.from({ length: 15 }, (_, i) => `127.0.5.${i + 1}`);
    const ranks = await lab.ranks('app', addresses, { kind: 'ip' });
    for (const from of addresses) {
      const client = await lab.connect({ from });
      assert.equal((await client.readUntil(';')).toString(), `${ranks.get(from)[0]};`);
      client.destroy();
    }
  });
});

describe('addresses', { concurrency: 3 }, () => {
  test('IPv6 works on both sides', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { host: '::1' } }, listeners: { web: { bind: '[::1]:PORT' } } });
    const response = await lab.request('/');
    assert.equal(response.server, 's1');
    assert.equal((await lab.server('s1').request('/')).get('x-forwarded-for'), '::1');
  });

  test('a star binds both families', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { bind: '*:PORT' } } });
    for (const host of ['127.0.0.1', '::1']) assert.equal((await lab.request('/', { host })).status, 200);
    assert.equal((await lab.server('s1').request('/')).get('x-forwarded-for'), '127.0.0.1');
  });

  test('Unix sockets work on both sides', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { unix: true }, s2: { unix: true } }, listeners: { web: { bind: 'unix:FOLDER/web.sock' } }, pools: { app: { balance: 'round_robin' } } });
    const names = new Set();
    for (let i = 0; i < 4; i++) names.add((await lab.request('/')).server);
    assert.deepEqual([...names].sort(), ['s1', 's2']);
    const client = await lab.websocket('/ws');
    await client.echoes('through a file');
  });

  test('a client without an address is served although there is nothing to hash', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, listeners: { web: { bind: 'unix:FOLDER/web.sock' } }, pools: { app: { hash: { key: ['client_ip'] } } } });
    const first = await lab.request('/');
    assert.equal(first.status, 200);
    for (let i = 0; i < 5; i++) assert.equal((await lab.request('/')).status, 200);
  });

  test('one listener binds several addresses', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { bind: ['127.0.0.1:PORT', '[::1]:PORT', 'unix:FOLDER/web.sock'] } } });
    for (const index of [0, 1, 2]) assert.equal((await lab.request('/', { index })).status, 200);
  });

  test('the socket file is gone after the end and a stale one is no obstacle', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { bind: 'unix:FOLDER/web.sock' } } });
    const file = path.join(lab.folder, 'web.sock');
    lab.limpet.signal('SIGKILL');
    await lab.limpet.exits();
    lab.spawn();
    await lab.isReady();
    assert.equal((await lab.request('/')).status, 200);
    lab.terminate();
    await lab.exitsWith(0);
    assert.ok(!require('node:fs').existsSync(file));
  });
});
