'use strict';
// TLS clients that are slow, silent, broken or mean, and how connections end.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const { Lab, assert, eventually } = require('./lab');
const { piecesOf } = require('./wire');
const { Tls13, RECORD, ALERT, EXTENSIONS, clientHello, record, message, extension, vector, u8, u16, bytes } = require('./tls13');
const pki = require('./pki');

const only = (version) => ({ minVersion: version, maxVersion: version });
const VERSIONS = ['TLSv1.2', 'TLSv1.3'];
const web = (more = {}) => ({ listeners: { web: { tls: { certificates: [pki.site.config] } } }, ...more });
const line = (more = {}) => ({ servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp', tls: { certificates: [pki.site.config] } } }, ...more });
const hello = (options) => record(RECORD.HANDSHAKE, clientHello(options), 0x0301);

/** Sends bytes on a connection of their own and waits for its end: the alert that came, or 'closed'. */
async function answerTo(lab, sent) {
  const client = await lab.raw(sent, { tls: false });
  const got = await client.readAll();
  client.destroy();
  for (let at = 0; at + 7 <= got.length; at += 5 + got.readUInt16BE(at + 3)) {
    if (got[at] === RECORD.ALERT) return got[at + 6];
  }
  return 'closed';
}

async function open13(lab, options) { return Tls13.connect(await lab.connect({ tls: false }), options); }

/** The alert that answers what was sent inside a session. */
async function alertFrom(tls) {
  const { alert, type } = await tls.answer();
  assert.equal(type, RECORD.ALERT, 'an alert');
  await tls.client.isClosed();
  return alert;
}

const isServed = async (lab) => assert.equal((await lab.request('/')).status, 200);

describe('TLS clients that do not hurry', { concurrency: 4 }, () => {
  test('200 clients that say nothing delay nobody and are closed after timeouts.handshake', async (t) => {
    const lab = await Lab.start(t, web({ timeouts: { handshake: '10s' } }));
    const began = Date.now();
    const silent = await Promise.all(Array.from({ length: 200 }, () => lab.connect({ tls: false })));
    for (let i = 0; i < 10; i++) await isServed(lab);
    const socket = await lab.websocket('/ws');
    await socket.echoes('hello');
    assert.ok(silent.every((client) => !client.ended), 'served before any of them was closed');
    await Promise.all(silent.map((client) => client.isClosed()));
    const took = Date.now() - began;
    assert.ok(took >= 9900, `closed after ${took} ms`);
    assert.ok(silent.every((client) => client.received === 0));
    await socket.echoes('still here'); // a handshake timeout is for handshakes
  });

  test('clients that stop halfway are closed after timeouts.handshake, and those that dribble too', async (t) => {
    const lab = await Lab.start(t, web({ timeouts: { handshake: '1s' } }));
    const whole = hello();
    const stopped = await Promise.all([1, 4, 5, 6, 60, whole.length - 1, whole.length].map(async (size) => lab.raw(whole.subarray(0, size), { tls: false })));
    const dribbler = await lab.connect({ tls: false });
    for (let i = 0; i < whole.length && !dribbler.ended; i++) {
      await dribbler.write(whole.subarray(i, i + 1));
      await new Promise((go) => setTimeout(go, 50));
    }
    assert.ok(dribbler.ended, 'closed before its last byte');
    await Promise.all(stopped.map((client) => client.isClosed()));
    await isServed(lab);
  });

  test('a handshake that comes byte by byte succeeds', async (t) => {
    const lab = await Lab.start(t, web());
    await Promise.all(VERSIONS.map(async (version) => {
      const client = await lab.connect({ tls: only(version), wire: { change: piecesOf(1) } });
      assert.equal((await client.request('/echo', { method: 'POST', body: 'slow' })).text, 'slow');
    }));
  });

  test('a request may come with the last bytes of the handshake', async (t) => {
    // Finished and the first records in one segment.
    const lab = await Lab.start(t, web());
    const client = await lab.connect({ tls: false });
    const held = [];
    const write = client.write.bind(client);
    let isHolding = false;
    client.write = (data) => (isHolding ? held.push(data) : write(data));
    const tls = await Tls13.connect(client, { send: async (data) => { await write(data); isHolding = true; } });
    tls.write('GET /together HTTP/1.1\r\nHost: a\r\n\r\n');
    await write(Buffer.concat(held));
    isHolding = false;
    assert.match(await tls.readUntil('\r\n\r\n'), /^HTTP\/1\.1 200 /);
  });

  test('a handshake that is cut anywhere leaves nothing behind', async (t) => {
    const lab = await Lab.start(t, web());
    const whole = hello();
    for (let size = 0; size <= whole.length; size += size < 10 ? 1 : 23) {
      const client = await lab.raw(whole.subarray(0, size), { tls: false });
      if (size % 2) client.reset();
      else client.end();
      await client.isClosed();
      client.destroy();
    }
    for (let count = 1; count < 8; count++) { // of the segments that a real client sends before it has a session
      let left = count;
      const wire = { change: (data) => piecesOf(Math.ceil(data.length / 4))(data).filter(() => left-- > 0) };
      const trying = lab.connect({ wire }).catch((err) => err);
      await eventually(() => left <= 0, 'the cut');
      for (const client of lab.clients) client.destroy();
      const outcome = await Promise.race([trying, new Promise((go) => setTimeout(go, 100))]);
      outcome?.destroy?.();
    }
    await isServed(lab);
  });
});

describe('broken and mean TLS clients', { concurrency: 4 }, () => {
  test('garbage is closed at once', async (t) => {
    const lab = await Lab.start(t, web()); // its timeouts are longer than a test waits
    const garbage = [
      Buffer.alloc(100), Buffer.alloc(70000, 0xff), crypto.randomBytes(3000).fill(0, 0, 1), Buffer.from([0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10]),
      bytes(u8(RECORD.HANDSHAKE), u16(0x0301), u16(0)), // an empty handshake record
      bytes(u8(RECORD.HANDSHAKE), u16(0x0301), u16(0xffff), Buffer.alloc(65535)),
      bytes(u8(RECORD.HANDSHAKE), u16(0x0301), u16(16385), Buffer.alloc(16385, 1)),
      bytes(u8(RECORD.HANDSHAKE), u16(0x0501), u16(100), Buffer.alloc(100, 1)),
      record(RECORD.HANDSHAKE, message(1, Buffer.alloc(100, 0xff)), 0x0301), record(RECORD.HANDSHAKE, message(1), 0x0301), record(RECORD.HANDSHAKE, message(2, Buffer.alloc(80)), 0x0301),
      record(RECORD.DATA, Buffer.alloc(50)), record(RECORD.ALERT, [2, 40]), record(RECORD.ALERT, [1, 0]), record(RECORD.CHANGE, [1]), record(24, [1, 0x40, 0]),
    ];
    for (const sent of garbage) await answerTo(lab, sent);
    for (let i = 0; i < 30; i++) await answerTo(lab, bytes(u8(RECORD.HANDSHAKE), u16(0x0301), vector(2, bytes(u8(1), crypto.randomBytes(200)))).fill(0, 6, 8).fill(197, 8, 9));
    await isServed(lab);
  });

  test('a ClientHello with any one byte wrong is answered, never waited for', async (t) => {
    const lab = await Lab.start(t, web({ timeouts: { handshake: '1s' } }));
    const whole = hello();
    for (let at = 5; at < whole.length; at += 3) {
      const broken = Buffer.from(whole);
      broken[at] ^= 0x55;
      const client = await lab.raw(broken, { tls: false });
      client.end();
      await client.isClosed();
      client.destroy();
    }
    await isServed(lab);
  });

  test('a ClientHello of 15 KiB is served and one above 16 KiB is refused', async (t) => {
    const lab = await Lab.start(t, web());
    const padded = (size) => ({ extensions: (usual) => [...usual, EXTENSIONS.padding(size)] });
    const tls = await open13(lab, { hello: padded(15000) });
    await tls.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.match(await tls.readUntil('\r\n\r\n'), /^HTTP\/1\.1 200 /);
    const large = clientHello(padded(40000));
    const records = piecesOf(16000)(large).map((piece) => record(RECORD.HANDSHAKE, piece, 0x0301));
    assert.notEqual(await answerTo(lab, Buffer.concat(records)), undefined);
    await isServed(lab);
  });

  test('extensions that nobody knows are ignored, and one that comes twice is refused', async (t) => {
    const lab = await Lab.start(t, web());
    await open13(lab, { hello: { extensions: (usual) => [extension(0x0a0a), ...usual, extension(0xfafa, [0])], suites: [0x1a1a, 0x1301], versions: [0x2a2a, 0x0304] } });
    for (const twice of [EXTENSIONS.serverName('site.example.com'), EXTENSIONS.versions([0x0304])]) {
      const alert = await answerTo(lab, hello({ extensions: (usual) => [...usual, twice] }));
      assert.ok([ALERT.illegalParameter, ALERT.decodeError, ALERT.unexpectedMessage].includes(alert), `alert ${alert}`);
    }
  });

  test('a hello without a common suite, version or compression gets its alert', async (t) => {
    const lab = await Lab.start(t, web());
    assert.equal(await answerTo(lab, hello({ suites: [0x1399] })), ALERT.handshakeFailure);
    assert.equal(await answerTo(lab, hello({ suites: [0x002f], versions: null })), ALERT.handshakeFailure);
    assert.equal(await answerTo(lab, hello({ versions: [0x0302] })), ALERT.protocolVersion);
    assert.equal(await answerTo(lab, hello({ versions: null, legacyVersion: 0x0301, suites: [0xc02b] })), ALERT.protocolVersion);
    assert.equal(await answerTo(lab, hello({ compression: [1] })), ALERT.illegalParameter);
    assert.equal(await answerTo(lab, hello({ alpn: ['h2'] })), ALERT.noApplicationProtocol);
    await isServed(lab);
  });

  test('a downgrade to 1.2 is marked in the ServerHello', async (t) => {
    const lab = await Lab.start(t, web());
    const client = await lab.raw(hello({ versions: null, suites: [0xc02b], groups: [0x1d, 0x17], extensions: (usual) => [...usual, extension(11, vector(1, [0])), extension(23), extension(0xff01, [0])] }), { tls: false });
    const start = await client.read(5 + 4 + 2 + 32);
    assert.equal(start[5], 2);
    assert.equal(start.subarray(-8).toString('latin1'), 'DOWNGRD\x01'); // RFC 8446, 4.1.3
  });

  test('records of any size carry a stream', async (t) => {
    const lab = await Lab.start(t, line());
    const tls = await open13(lab);
    const sent = [];
    for (const size of [1, 2, 15, 16, 17, 255, 256, 1369, 4096, 16383, 16384]) {
      for (const padding of [0, 1, 100]) {
        if (size + padding > 16384) continue;
        const data = crypto.randomBytes(size);
        sent.push(data);
        await tls.write(data, { padding });
      }
    }
    const tiny = crypto.randomBytes(500);
    sent.push(tiny);
    await tls.client.write(Buffer.concat(piecesOf(1)(tiny).map((one) => tls.seal(RECORD.DATA, one))));
    const whole = Buffer.concat(sent);
    const got = [];
    for (let size = 0; size < whole.length;) {
      const { type, data } = await tls.answer();
      if (type !== RECORD.DATA) continue;
      assert.ok(data.length <= 16384);
      got.push(data);
      size += data.length;
    }
    assert.ok(Buffer.concat(got).equals(whole));
  });

  test('records of odd sizes over 1.2 carry a stream', async (t) => {
    const lab = await Lab.start(t, line());
    for (const version of VERSIONS) {
      const client = await lab.connect({ tls: only(version) });
      for (const size of [512, 1000, 8191, 16384]) {
        client.socket.setMaxSendFragment(size);
        const data = crypto.randomBytes(100003);
        await client.write(data);
        assert.ok(Buffer.from(await client.read(data.length)).equals(data));
      }
      client.destroy();
    }
  });

  test('empty records are nothing, and a flood of them is no harm', async (t) => {
    const lab = await Lab.start(t, line());
    const tls = await open13(lab);
    for (let i = 0; i < 5; i++) await tls.write('');
    await tls.write('', { padding: 300 });
    await tls.write('hello');
    assert.equal(await tls.readUntil('hello'), 'hello');
    await tls.client.write(Buffer.concat(Array.from({ length: 20000 }, () => tls.seal(RECORD.DATA, ''))));
    // Served or refused, both are well; memory and neighbours are what counts.
    const other = await open13(lab);
    await other.write('neighbour');
    assert.equal(await other.readUntil('neighbour'), 'neighbour');
  });

  test('new keys are taken and given as often as a client asks within reason', async (t) => {
    const lab = await Lab.start(t, line());
    const tls = await open13(lab);
    for (const request of [false, true, true, false]) {
      await tls.updateKeys({ request });
      await tls.write('hello');
      let got = '';
      while (got.length < 5) {
        const { type, data } = await tls.answer();
        if (type === RECORD.HANDSHAKE && data[0] === 24) tls.keysWereUpdated();
        else got += data.toString();
      }
      assert.equal(got, 'hello');
    }
    // A thousand requests at once must not be answered into a void: the client reads nothing.
    const mean = await open13(lab);
    mean.client.pause();
    for (let i = 0; i < 1000 && !mean.client.ended; i++) await mean.updateKeys({ request: true });
    const other = await open13(lab);
    await other.write('neighbour');
    assert.equal(await other.readUntil('neighbour'), 'neighbour');
  });

  test('a record that was touched, is too long or out of place ends the session with its alert', async (t) => {
    const lab = await Lab.start(t, line());
    const touched = await open13(lab);
    const bad = touched.seal(RECORD.DATA, Buffer.from('secret'));
    bad[bad.length - 1] ^= 1;
    await touched.client.write(bad);
    assert.equal(await alertFrom(touched), ALERT.badRecordMac);

    const long = await open13(lab);
    await long.write(Buffer.alloc(16385));
    assert.equal(await alertFrom(long), ALERT.recordOverflow);

    const longer = await open13(lab);
    await longer.client.write(bytes(u8(RECORD.DATA), u16(0x0303), u16(16384 + 257), Buffer.alloc(16384 + 257)));
    assert.equal(await alertFrom(longer), ALERT.recordOverflow);

    const again = await open13(lab);
    await again.client.write(again.seal(RECORD.HANDSHAKE, clientHello()));
    assert.equal(await alertFrom(again), ALERT.unexpectedMessage);

    const beat = await open13(lab);
    await beat.client.write(beat.seal(24, Buffer.from([1, 0x40, 0])));
    assert.equal(await alertFrom(beat), ALERT.unexpectedMessage);

    const empty = await open13(lab);
    await empty.client.write(empty.seal(RECORD.HANDSHAKE, ''));
    assert.equal(await alertFrom(empty), ALERT.unexpectedMessage);
    await eventually(() => lab.server('s1').size === 0, 'nothing of it to reach the server', 100);
  });

  test('a hundred clients that vanish in the middle of the handshake leave nothing', async (t) => {
    const lab = await Lab.start(t, web());
    const clients = await Promise.all(Array.from({ length: 100 }, () => lab.raw(hello(), { tls: false })));
    for (const [i, client] of clients.entries()) (i % 2 ? client.reset() : client.destroy());
    await isServed(lab);
  });
});

describe('the end of a TLS connection', { concurrency: 4 }, () => {
  test('limpet says close_notify before its FIN', async (t) => {
    const lab = await Lab.start(t, web());
    for (const version of VERSIONS) {
      const client = await lab.connect({ tls: only(version), wire: { hidesFin: true } });
      assert.equal((await client.request('/', { headers: { Connection: 'close' } })).status, 200);
      await client.until(() => client.ended === 'fin', 'close_notify');
      await eventually(() => client.wire.isEnded, 'the FIN behind it');
      client.destroy();
    }
  });

  test('a server that answers after the close_notify of its client is heard to the end', async (t) => {
    const lab = await Lab.start(t, line({ servers: { s1: { kind: 'raw', script: async (connection) => {
      const question = await connection.readAll();
      for (let i = 0; i < 5; i++) {
        await connection.write(`part ${i} of the answer to ${question.length} bytes;`);
        await new Promise((go) => setTimeout(go, 10));
      }
      await connection.write(Buffer.alloc(300000, '.'));
      connection.end();
    } } } }));
    for (const version of VERSIONS) {
      for (const holdsFin of [true, false]) {
        const client = await lab.connect({ tls: only(version), wire: { holdsFin, hidesFin: true } });
        await client.write(Buffer.alloc(50000));
        client.end();
        const answer = await client.readAll();
        assert.match(answer.toString('latin1', 0, 200), /^part 0 of the answer to 50000 bytes;part 1/);
        assert.equal(answer.subarray(-300000).indexOf('.'), 0);
        assert.equal(client.ended, 'fin', 'close_notify');
        client.destroy();
      }
    }
    await lab.logs({ event: 'end', class: 'tcp', end: 'done' });
  });

  test('a server that ends first leaves its client free to finish', async (t) => {
    const lab = await Lab.start(t, line({ servers: { s1: { kind: 'raw', script: async (connection) => {
      connection.keepsOpen = true;
      await connection.write('bye');
      connection.end();
      await connection.readAll();
    } } } }));
    for (const version of VERSIONS) {
      const client = await lab.connect({ tls: only(version), wire: {} });
      client.keepsOpen = true;
      assert.equal((await client.readAll()).toString(), 'bye');
      await client.write(`last words over ${version}`);
      client.end();
      await lab.server('s1').receives(`last words over ${version}`);
    }
    await eventually(() => lab.server('s1').arrivals.every((arrival) => arrival.isEnded), 'the end at the server');
  });

  test('a client that ends without close_notify is cut off: its server sees no clean end', async (t) => {
    const lab = await Lab.start(t, line({ servers: { s1: { kind: 'tcp', mute: true } } }));
    for (const [i, version] of VERSIONS.entries()) {
      const client = await lab.connect({ tls: only(version) });
      await client.write(`unfinished ${i}`);
      await lab.server('s1').receives(`unfinished ${i}`);
      client.under.end(); // a FIN, as of somebody on the way
      const arrival = lab.server('s1').arrivals[i];
      await lab.server('s1').until(() => arrival.isClosed, 'the server side to end');
      assert.equal(arrival.isEnded, undefined, 'a FIN would say that all was said');
      assert.equal(arrival.error?.code, 'ECONNRESET');
      client.destroy();
    }
  });

  test('a server that is cut off is not ended with close_notify', async (t) => {
    const lab = await Lab.start(t, line());
    for (const version of VERSIONS) {
      const client = await lab.connect({ tls: only(version), wire: { hidesFin: true } });
      await client.write('x');
      await client.read(1);
      lab.server('s1').arrivals.at(-1).socket.resetAndDestroy();
      await client.until(() => client.ended || client.wire.isEnded, 'the end');
      assert.notEqual(client.ended, 'fin', 'close_notify would say that all was said');
      client.destroy();
    }
  });

  test('a fatal alert of a client ends its connection', async (t) => {
    const lab = await Lab.start(t, line());
    const tls = await open13(lab);
    await tls.write('x');
    await tls.readUntil('x');
    await tls.client.write(tls.seal(RECORD.ALERT, [2, ALERT.internalError]));
    await tls.client.isClosed();
    await lab.server('s1').until(() => lab.server('s1').arrivals[0].isClosed, 'the server side to end');
  });

  test('a drain ends TLS connections in their own language', async (t) => {
    const lab = await Lab.start(t, web({ drain: { delay: '0s', deadline: '60s', spread: '5%' } }));
    const socket = await lab.websocket('/ws');
    await socket.echoes('hello');
    const idle = await lab.connect({ wire: { hidesFin: true } });
    await idle.request('/');
    lab.terminate();
    await socket.isClosedWith(1001);
    await idle.until(() => idle.ended === 'fin', 'close_notify');
    await lab.exitsWith(0);
  });
});
