'use strict';
// WebSocket tunnels: with npm `ws` on both sides, and with raw frames for what no library sends.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const { Lab, END, assert } = require('./lab');
const { requestText } = require('./client');
const { OP, frame, closeFrame, acceptOf, makeKey } = require('./frames');

const MiB = 1 << 20;
const upgradeText = (target, headers = {}) => requestText(target, { headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': makeKey(), ...headers } });

/** A raw server that answers the handshake rightly and then plays on. */
const switching = (play, { behind = '' } = {}) => ({ kind: 'raw', script: async (connection, origin, arrival) => {
  const head = (await connection.readUntil('\r\n\r\n')).toString('latin1');
  const key = /sec-websocket-key: *(\S+)/i.exec(head)[1];
  arrival.headSize = Buffer.byteLength(head);
  await connection.write(Buffer.concat([Buffer.from(`HTTP/1.1 101 Switching Protocols\r\nX-Server: ${origin.name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`), Buffer.from(behind)]));
  arrival.isSwitched = true;
  origin.changed();
  await play?.(connection, origin, arrival);
} });

const behindHead = (arrival) => arrival.bytes.subarray(arrival.headSize);

describe('WebSocket', { concurrency: 4 }, () => {
  test('messages go both ways, text and binary', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.websocket('/chat');
    assert.equal(client.server, 's1');
    await client.echoes('hello');
    await client.echoes(crypto.randomBytes(70000));
    await client.echoes('');
    for (let i = 0; i < 100; i++) await client.echoes(`message ${i}`);
    client.close(1000, 'bye');
    await client.isClosedWith(1000);
    assert.deepEqual(await lab.server('s1').until(() => lab.server('s1').closes.length && lab.server('s1').closes, 'the close'), [1000]);
    const start = await lab.logs({ event: 'start', path: '/chat', class: 'websocket', status: 101 });
    const end = await lab.logs({ event: 'end', path: '/chat', class: 'websocket' });
    assert.equal(start.id, end.id);
    assert.equal(end.end, END.done);
    assert.equal(end.close_code, 1000);
    assert.equal(end.messages_in, 103);
    assert.equal(end.messages_out, 103);
    assert.ok(end.bytes_in > 70000 && end.bytes_out > 70000);
    assert.equal(end.ended_by, 'client');
  });

  test('a message of 16 MiB passes unharmed', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.websocket('/', { perMessageDeflate: false });
    await client.echoes(crypto.randomBytes(16 * MiB));
  });

  test('compression is between client and server', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.websocket('/', { perMessageDeflate: { threshold: 0 } });
    assert.match(client.socket.extensions, /permessage-deflate/);
    await client.echoes('the same again and again '.repeat(10000));
    await client.echoes('x');
  });

  test('subprotocols and extension fields pass', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.websocket('/', { protocols: ['chat.v2', 'chat.v1'] });
    assert.equal(client.socket.protocol, 'chat.v2');
    const request = await lab.server('s1').request('/');
    assert.equal(request.get('x-forwarded-for'), '127.0.0.1');
    assert.match(request.get('sec-websocket-protocol'), /chat\.v2/);
  });

  test('fragments stay fragments and pings pass in between', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: switching() } });
    const socket = await lab.rawWebSocket();
    const bytes = Buffer.concat([
      frame(OP.TEXT, 'one ', { fin: false }), frame(OP.PING, 'are you there'),
      frame(OP.CONTINUATION, '', { fin: false }), frame(OP.CONTINUATION, 'two'), frame(OP.PONG, ''),
    ]);
    await socket.write(bytes);
    const arrival = await lab.server('s1').arrival((one) => one.isSwitched);
    await lab.server('s1').until(() => behindHead(arrival).length >= bytes.length, 'all frames');
    assert.ok(behindHead(arrival).equals(bytes));
  });

  test('pings are answered by the other end, both ways', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { onWebSocket: (socket, request, origin) => {
      socket.on('pong', (data) => { origin.messages.push(`pong ${data}`); origin.changed(); });
      socket.ping('from the server');
    } } } });
    const client = await lab.websocket();
    client.ping('from the client');
    await client.until(() => client.pongs.includes('from the client'), 'a pong');
    await lab.server('s1').receives('pong from the server');
  });

  test('a close code and reason pass from either side', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { onWebSocket: (socket) => socket.on('message', () => socket.close(4321, 'enough')) } } });
    const client = await lab.websocket('/by-server');
    await client.send('x');
    assert.equal((await client.isClosedWith(4321)).reason, 'enough');
    const line = await lab.logs({ event: 'end', path: '/by-server' });
    assert.equal(line.close_code, 4321);
    assert.equal(line.ended_by, 'server');
    assert.equal(line.end, END.done);

    const other = await lab.websocket('/by-client');
    other.close(3000, 'my turn');
    await other.isClosedWith(3000);
    await lab.server('s1').until(() => lab.server('s1').closes.includes(3000), 'the server to see 3000');
  });

  test('a close without a code is logged as 1005', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.websocket('/no-code');
    client.close();
    await client.isClosedWith(1005);
    assert.equal((await lab.logs({ event: 'end', path: '/no-code' })).close_code, 1005);
  });

  test('bytes behind the upgrade request are the first of the tunnel', async (t) => {
    const lab = await Lab.start(t);
    const socket = await lab.rawWebSocket('/early', { early: Buffer.concat([frame(OP.TEXT, 'early'), frame(OP.TEXT, 'bird')]) });
    assert.equal(socket.response.status, 101);
    assert.equal(await socket.message(), 'early');
    assert.equal(await socket.message(), 'bird');
  });

  test('many early bytes wait for the 101 without being lost', async (t) => {
    const early = frame(OP.BINARY, crypto.randomBytes(300000));
    const lab = await Lab.start(t, { servers: { s1: { kind: 'raw', script: async (connection, origin) => {
      const head = (await connection.readUntil('\r\n\r\n')).toString('latin1');
      await new Promise((resolve) => { origin.goOn = resolve; origin.changed(); });
      await connection.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(/sec-websocket-key: *(\S+)/i.exec(head)[1])}\r\n\r\n`);
      connection.socket.write(await connection.read(early.length));
    } } } });
    const client = await lab.connect();
    client.socket.write(Buffer.concat([upgradeText('/'), early]));
    await lab.server('s1').until(() => lab.server('s1').goOn, 'the request');
    lab.server('s1').goOn();
    assert.equal((await client.response()).status, 101);
    assert.ok(Buffer.from(await client.read(early.length)).equals(early));
  });

  test('a server may speak right behind its 101', async (t) => {
    const greeting = frame(OP.TEXT, 'welcome', { masked: false });
    const lab = await Lab.start(t, { servers: { s1: switching(null, { behind: greeting }) } });
    const socket = await lab.rawWebSocket();
    assert.equal(await socket.message(), 'welcome');
  });

  test('1xx before the 101 are legal', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { kind: 'raw', script: async (connection) => {
      const head = (await connection.readUntil('\r\n\r\n')).toString('latin1');
      await connection.write(`HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\nSec-WebSocket-Accept: ${acceptOf(/sec-websocket-key: *(\S+)/i.exec(head)[1])}\r\n\r\n`);
    } } } });
    assert.equal((await lab.rawWebSocket()).response.status, 101);
  });

  test('a refused upgrade is an ordinary response on an ordinary connection', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handleUpgrade: (request, answer) => answer.respond(403, { 'Content-Type': 'text/plain' }, 'not you').then(() => true) } } });
    const client = await lab.connect();
    await client.write(Buffer.concat([upgradeText('/no'), requestText('/next')])); // what waits is the next request
    const refusal = await client.response();
    assert.equal(refusal.status, 403);
    assert.equal(refusal.text, 'not you');
    assert.equal(refusal.get('upgrade'), undefined);
    assert.equal((await client.response()).json().target, '/next');
    const ws = await lab.websocket('/no', { wait: false });
    await ws.until(() => ws.refused, 'a refusal');
    assert.equal(ws.refused.statusCode, 403);
  });

  test('an upgrade to something else is an ordinary request', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    for (const headers of [
      { Connection: 'Upgrade, HTTP2-Settings', Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQCAAAAAAIAAAAA' },
      { Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': makeKey() },
      { Connection: 'Upgrade', Upgrade: 'TLS/1.0' },
    ]) {
      const response = await client.request('/plain', { headers });
      assert.equal(response.status, 200);
      const names = response.json().fields.map(([name]) => name.toLowerCase());
      assert.ok(!names.includes('upgrade') && !names.includes('http2-settings'), String(names));
    }
  });

  test('the upgrade fields are rebuilt for the server, whatever else the client listed', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write(upgradeText('/multi', { Connection: 'keep-alive, Upgrade', Upgrade: 'h2c, WebSocket' }));
    assert.equal((await client.response()).status, 101);
    const request = await lab.server('s1').request('/multi');
    assert.match(request.get('upgrade'), /^websocket$/i);
    assert.match(request.get('connection'), /^upgrade$/i);
  });

  test('an upgrade of another version is 426 and names ours', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write(upgradeText('/', { 'Sec-WebSocket-Version': '8' }));
    const response = await client.response();
    assert.equal(response.status, 426);
    assert.equal(response.get('sec-websocket-version'), '13');
    assert.match(response.get('upgrade'), /^websocket$/i);
    assert.equal(lab.server('s1').requests.length, 0);
  });

  test('a tunnel that one side half closed carries the other side until its end', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: switching(async (connection) => {
      await connection.until(() => connection.ended, 'the FIN of the client');
      await connection.write(frame(OP.TEXT, 'still here', { masked: false }));
      connection.end();
    }) } });
    const socket = await lab.rawWebSocket('/half');
    socket.client.end();
    assert.equal(await socket.message(), 'still here');
    assert.equal(await socket.client.isClosed(), 'fin');
    await lab.logs({ event: 'end', path: '/half' });
  });

  test('a server that half closes still hears the client', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: switching((connection) => connection.end()) } });
    const socket = await lab.rawWebSocket();
    socket.client.keepsOpen = true;
    await socket.client.isClosed();
    const bytes = frame(OP.TEXT, 'last words');
    await socket.write(bytes);
    const arrival = await lab.server('s1').arrival((one) => one.isSwitched);
    await lab.server('s1').until(() => behindHead(arrival).equals(bytes), 'the last words');
    socket.client.end();
    await lab.server('s1').until(() => arrival.isEnded, 'the FIN');
  });

  test('a reset of one side ends the other and is logged', async (t) => {
    const lab = await Lab.start(t);
    const socket = await lab.rawWebSocket('/gone');
    await socket.send('x');
    await socket.message();
    socket.client.reset();
    await lab.server('s1').until(() => lab.server('s1').arrivals.every((one) => one.isClosed), 'the server side to end');
    await lab.logs({ event: 'end', path: '/gone', end: END.clientReset });

    const other = await lab.websocket('/killed');
    await lab.server('s1').kill();
    await other.isClosedWith(1006);
    await lab.logs({ event: 'end', path: '/killed', end: (end) => end === END.serverReset || end === END.serverClosed });
  });

  const violations = {
    'a reserved opcode': frame(3, 'x'),
    'a reserved control opcode': frame(11, 'x'),
    'an unmasked frame of a client': frame(OP.TEXT, 'x', { masked: false }),
    'a control frame of 126 bytes': frame(OP.PING, 'x'.repeat(126)),
    'a fragmented control frame': frame(OP.PING, 'x', { fin: false }),
    'a 64-bit length with the top bit': Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    'a continuation without a start': frame(OP.CONTINUATION, 'x'),
    'a start within a message': Buffer.concat([frame(OP.TEXT, 'x', { fin: false }), frame(OP.TEXT, 'y')]),
    'no frames at all': Buffer.from('this was never a WebSocket\r\n'),
  };
  test('a violation of the protocol is still forwarded, byte for byte', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: switching(async (connection) => {
      for (;;) {
        await connection.until(() => { if (connection.ended) throw new Error('over'); return connection.piecesSize > 0; }, 'bytes');
        await connection.write(await connection.read(connection.piecesSize));
      }
    }) } });
    for (const [name, bytes] of Object.entries(violations)) {
      const socket = await lab.rawWebSocket();
      const all = Buffer.concat([bytes, frame(OP.TEXT, 'and on it goes')]);
      await socket.write(all);
      assert.ok(Buffer.from(await socket.client.read(all.length)).equals(all), name);
      socket.destroy();
    }
  });

  test('frames cut at every byte arrive as they were', async (t) => {
    const lab = await Lab.start(t);
    const socket = await lab.rawWebSocket();
    await socket.client.writeSlowly(Buffer.concat([frame(OP.TEXT, 'slow'), frame(OP.BINARY, 'x'.repeat(200)), closeFrame(1000)]));
    assert.equal(await socket.message(), 'slow');
    assert.equal((await socket.frame()).payload.length, 200);
    assert.equal((await socket.frame()).code, 1000);
  });

  test('a Close frame that comes in two pieces is one Close', async (t) => {
    const lab = await Lab.start(t);
    const socket = await lab.rawWebSocket('/split');
    const bytes = closeFrame(1000, 'split');
    await socket.write(bytes.subarray(0, 3));
    await socket.write(bytes.subarray(3));
    assert.equal((await socket.frame()).code, 1000);
    assert.equal((await lab.logs({ event: 'end', path: '/split' })).close_code, 1000);
  });

  test('many tunnels carry their own messages at once', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {}, s3: {} } });
    const clients = await Promise.all(Array.from({ length: 100 }, (_, i) => lab.websocket(`/${i}`)));
    await Promise.all(clients.map(async (client, i) => {
      for (let n = 0; n < 10; n++) await client.echoes(`client ${i} message ${n} ${'x'.repeat((i * n * 37) % 5000)}`);
    }));
  });

  test('requests and upgrades follow each other on the same server', async (t) => {
    const lab = await Lab.start(t, { workers: 1 });
    for (let i = 0; i < 3; i++) {
      await lab.request('/');
      const client = await lab.websocket();
      await client.echoes('x');
      client.close();
      await client.isClosedWith(1005);
    }
    await lab.server('s1').until(() => lab.server('s1').sockets.size === 0, 'every server connection to end');
  });

  test('a connection that spoke HTTP may become a tunnel, also when the upgrade was pipelined', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, pools: { app: { hash: { key: ['cookie:user'] } } } });
    const ranks = await lab.ranks('app', ['a', 'b', 'c', 'd', 'e', 'f']);
    const [x, y] = ['s1', 's2'].map((name) => [...ranks.keys()].find((key) => ranks.get(key)[0] === name));
    const client = await lab.connect();
    await client.request('/first', { headers: { Cookie: `user=${x}` } });
    await client.write(Buffer.concat([
      requestText('/second', { headers: { Cookie: `user=${x}` } }),
      upgradeText('/third', { Cookie: `user=${y}` }),
      frame(OP.TEXT, 'early'),
    ]));
    assert.equal((await client.response()).server, 's1');
    const response = await client.response();
    assert.equal(response.status, 101);
    assert.equal(response.server, 's2');
    const echo = await client.read(7);
    assert.equal(echo.subarray(2).toString(), 'early');
  });

  test('a server that is removed and gone leaves its tunnels to their clients', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, pools: { app: { balance: 'least_connections' } } });
    const clients = await Promise.all(Array.from({ length: 10 }, () => lab.websocket()));
    await lab.server('s2').refuse(); // nothing new, but what it has goes on
    for (const client of clients) await client.echoes('still served');
  });
});
