'use strict';
// A tcp listener that routes TLS by the name in its ClientHello and never opens it.

const { describe, test } = require('node:test');
const { Lab, assert, eventually } = require('./lab');
const { piecesOf, fragmented } = require('./wire');
const { runLimpet } = require('./limpet');
const { RECORD, EXTENSIONS, clientHello, record, bytes, u8, u16 } = require('./tls13');
const pki = require('./pki');

const all = () => pki.ca.issue('everything', { names: ['a.example.com', '*.db.example.com', 'x.y.db.example.com', 'db.example.com', 'rest.example.com', '*.many.example.com'] }).node;
const echo = (name, more = {}) => ({ kind: 'tcp', tls: all(), greeting: `${name};`, ...more });
const routes = [{ match: { sni: 'a.example.com' }, pool: 'a' }, { match: { sni: '*.db.example.com' }, pool: 'db' }, { pool: 'rest' }];
const routed = (more = {}) => ({
  servers: { a: echo('a'), db: echo('db'), rest: { kind: 'tcp' } },
  pools: { a: ['a'], db: ['db'], rest: ['rest'] },
  listeners: { line: { protocol: 'tcp', routes } }, ...more });
/** The same without a default route. */
const strict = (more = {}) => ({ servers: { a: echo('a') }, pools: { a: ['a'] }, listeners: { line: { protocol: 'tcp', routes: routes.slice(0, 1) } }, ...more });

const hello = (options) => record(RECORD.HANDSHAKE, clientHello(options), 0x0301);
/** Which server answers a name; the certificate is verified, so nobody sits in between. */
async function who(lab, servername, more = {}) {
  const client = await lab.connect({ ...more, tls: { servername, ...more.tls } });
  try {
    return (await client.readUntil(';')).toString().slice(0, -1);
  } finally {
    client.destroy();
  }
}

describe('SNI routes', { concurrency: 4 }, () => {
  test('a name goes where its route says, and the client talks TLS with the server itself', async (t) => {
    const lab = await Lab.start(t, routed());
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const only = { minVersion: version, maxVersion: version };
      assert.equal(await who(lab, 'a.example.com', { tls: only }), 'a');
      assert.equal(await who(lab, 'one.db.example.com', { tls: only }), 'db');
      const client = await lab.connect({ tls: { servername: 'a.example.com', ...only } });
      await client.readUntil(';');
      const data = Buffer.alloc(3000000, 'through');
      client.write(data);
      assert.ok(Buffer.from(await client.read(data.length)).equals(data));
      client.end();
      await client.isClosed();
      assert.equal(client.ended, 'fin');
    }
    await lab.logs({ event: 'end', class: 'tcp', server: 'a', end: 'done' });
  });

  test('names are compared without case and final dot, a wildcard stands for one or more labels', async (t) => {
    const lab = await Lab.start(t, routed());
    const loose = { tls: { checkServerIdentity: () => undefined } };
    for (const name of ['A.EXAMPLE.com', 'a.example.com.']) assert.equal(await who(lab, name, { tls: { ...loose.tls, servername: name } }), 'a', name);
    for (const name of ['One.DB.Example.Com', 'one.db.example.com.', 'x.y.db.example.com']) assert.equal(await who(lab, name, { tls: { ...loose.tls, servername: name } }), 'db', name);
  });

  test('the first route that matches wins', async (t) => {
    const lab = await Lab.start(t, routed({ listeners: { line: { protocol: 'tcp', routes: [{ match: { sni: '*.db.example.com' }, pool: 'db' }, { match: { sni: 'one.db.example.com' }, pool: 'a' }, { match: { sni: '*.example.com' }, pool: 'a' }] } } }));
    assert.equal(await who(lab, 'one.db.example.com'), 'db');
    assert.equal(await who(lab, 'rest.example.com'), 'a');
  });

  test('other names and none take the default route', async (t) => {
    const lab = await Lab.start(t, routed());
    for (const options of [{ name: 'other.example.net' }, { name: null }, { name: 'db.example.com' }, { name: 'xa.example.com' }, { name: 'a.example.com.evil.net' }]) {
      const sent = hello(options);
      const client = await lab.raw(sent, { tls: false });
      assert.ok(Buffer.from(await client.read(sent.length)).equals(sent), 'the echo of the default server');
      client.destroy();
    }
    assert.equal(lab.server('a').arrivals.length + lab.server('db').arrivals.length, 0);
  });

  test('other names and none are closed cleanly and at once when there is no default route', async (t) => {
    const lab = await Lab.start(t, strict()); // its timeouts are longer than a test waits
    for (const options of [{ name: 'other.example.net' }, { name: null }]) {
      const client = await lab.raw(hello(options), { tls: false });
      const { length } = await client.readAll();
      assert.ok(length === 0 || length === 7, 'nothing, or an alert');
      assert.equal(client.ended, 'fin');
    }
    assert.equal(await who(lab, 'a.example.com'), 'a');
    await lab.logs({ class: 'tcp', end: 'no-route' });
  });

  test('a ClientHello may come in any number of segments and records', async (t) => {
    const lab = await Lab.start(t, routed());
    for (const change of [piecesOf(1), piecesOf(7), piecesOf(100), fragmented(1), fragmented(90), fragmented(250)]) {
      assert.equal(await who(lab, 'a.example.com', { wire: { change } }), 'a');
      assert.equal(await who(lab, 'one.db.example.com', { wire: { change } }), 'db');
    }
  });

  test('the server gets exactly the bytes that the client sent', async (t) => {
    const lab = await Lab.start(t, routed({ servers: { a: { kind: 'tcp' }, db: { kind: 'tcp' }, rest: { kind: 'tcp' } } }));
    const sent = Buffer.concat([hello({ name: 'a.example.com' }), Buffer.alloc(50000, 'and what follows it')]);
    const client = await lab.raw(sent, { tls: false });
    assert.ok(Buffer.from(await client.read(sent.length)).equals(sent));
    assert.ok(lab.server('a').arrivals[0].bytes.equals(sent));
    const slow = await lab.connect({ tls: false });
    await slow.writeSlowly(sent.subarray(0, 400));
    assert.ok(Buffer.from(await slow.read(400)).equals(sent.subarray(0, 400)));
  });

  test('what is no ClientHello takes the default route, byte for byte and at once', async (t) => {
    const lab = await Lab.start(t, routed()); // its timeouts are longer than a test waits
    const whole = hello({ name: 'a.example.com' });
    const broken = Buffer.from(whole);
    broken.writeUInt16BE(9999, 5 + 4 + 2 + 32 + 1 + 32); // suites that reach beyond the message
    for (const sent of [Buffer.from('SSH-2.0-OpenSSH_9.2\r\n'), Buffer.from('GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n'), Buffer.from([0]), Buffer.from([0x16, 0x99]), broken,
      record(RECORD.ALERT, [2, 40]), bytes(u8(RECORD.HANDSHAKE), u16(0x0301), u16(0))]) {
      const client = await lab.raw(sent, { tls: false });
      assert.ok(Buffer.from(await client.read(sent.length)).equals(sent), sent.toString('latin1', 0, 20));
      client.destroy();
    }
  });

  test('what is no ClientHello is closed cleanly and at once when there is no default route', async (t) => {
    const lab = await Lab.start(t, strict()); // the same
    for (const sent of ['SSH-2.0-OpenSSH_9.2\r\n', 'GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n', 'x'.repeat(100000), record(RECORD.HANDSHAKE, Buffer.alloc(100, 0xff))]) {
      const client = await lab.raw(Buffer.from(sent), { tls: false });
      await client.isClosed();
      if (sent.length < 50000) assert.equal(client.ended, 'fin');
    }
    assert.equal(lab.server('a').arrivals.length, 0);
  });

  test('a ClientHello above 16 KiB is none', async (t) => {
    const lab = await Lab.start(t, strict());
    const large = clientHello({ name: 'a.example.com', extensions: (usual) => [EXTENSIONS.padding(30000), ...usual] });
    const client = await lab.raw(Buffer.concat(piecesOf(16000)(large).map((piece) => record(RECORD.HANDSHAKE, piece, 0x0301))), { tls: false });
    await client.isClosed();
    assert.equal(lab.server('a').arrivals.length, 0);
    const near = hello({ name: 'a.example.com', extensions: (usual) => [EXTENSIONS.padding(15000), ...usual] });
    await lab.raw(near, { tls: false });
    await eventually(() => lab.server('a').listener.connections !== 0 || lab.server('a').arrivals.length > 0, 'a hello of 15 KiB to arrive');
  });

  test('a client that says nothing, or half a ClientHello, is closed after timeouts.handshake', async (t) => {
    // Also where the default route's server would speak first: until the client speaks, or that
    // timeout has passed, there is no saying which server it is.
    const lab = await Lab.start(t, routed({ timeouts: { handshake: '800ms' }, servers: { a: echo('a'), db: echo('db'), rest: { kind: 'tcp', greeting: '220 welcome\r\n' } } }));
    const began = Date.now();
    const silent = await Promise.all([0, 0, 1, 5, 6, 100].map((size) => lab.raw(hello().subarray(0, size), { tls: false })));
    assert.equal(await who(lab, 'a.example.com'), 'a');
    await Promise.all(silent.map((client) => client.isClosed()));
    const took = Date.now() - began;
    assert.ok(took >= 750, `closed after ${took} ms`);
    assert.ok(silent.every((client) => client.received === 0));
    assert.equal(lab.server('rest').arrivals.length, 0);
  });

  test('a client that ends in its ClientHello leaves nothing', async (t) => {
    const lab = await Lab.start(t, routed());
    const whole = hello({ name: 'a.example.com' });
    for (let size = 0; size < whole.length; size += 9) {
      const client = await lab.raw(whole.subarray(0, size), { tls: false });
      if (size % 2) client.reset();
      else client.end();
      await client.isClosed();
    }
    assert.equal(await who(lab, 'a.example.com'), 'a');
  });

  test('`timeouts.handshake` ends with the ClientHello', async (t) => {
    const lab = await Lab.start(t, routed({ timeouts: { handshake: '2s' } }));
    const client = await lab.connect({ tls: { servername: 'a.example.com' } });
    await client.readUntil(';');
    await new Promise((go) => setTimeout(go, 3000));
    await client.write('hello');
    assert.equal((await client.read(5)).toString(), 'hello');
  });

  test('the hash key `sni` brings a name to its home, whoever asks', async (t) => {
    const servers = Object.fromEntries(['s1', 's2', 's3'].map((name) => [name, echo(name)]));
    const lab = await Lab.start(t, { servers, pools: { app: { balance: 'hash', hash: { key: ['sni'] } } }, listeners: { line: { protocol: 'tcp' } } });
    const asked = Array.from({ length: 15 }, (_, i) => `n${i}.many.example.com`);
    const ranks = await lab.ranks('app', asked);
    for (const [i, name] of asked.entries()) {
      for (const from of ['127.0.0.1', `127.0.6.${i + 1}`]) assert.equal(await who(lab, name, { from }), ranks.get(name)[0], name);
    }
    assert.equal(new Set(asked.map((name) => ranks.get(name)[0])).size, 3);
    assert.equal(await who(lab, 'N1.Many.Example.COM', { tls: { servername: 'N1.Many.Example.COM', checkServerIdentity: () => undefined } }), ranks.get('n1.many.example.com')[0]);
  });

  test('the hash key `sni` works where TLS ends here, too', async (t) => {
    const pair = pki.ca.issue('many', { names: ['*.many.example.com'] });
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {}, s3: {} }, pools: { app: { balance: 'hash', hash: { key: ['sni'] } } }, listeners: { web: { tls: { certificates: [pair.config] } } } });
    const asked = Array.from({ length: 10 }, (_, i) => `n${i}.many.example.com`);
    const ranks = await lab.ranks('app', asked);
    for (const servername of asked) assert.equal((await lab.request('/', { tls: { servername } })).server, ranks.get(servername)[0]);
  });

  test('`sni` is refused in a route of an http listener', async (t) => {
    const lab = await Lab.start(t, routed());
    lab.config.listeners.line.protocol = 'http';
    lab.write();
    const { code, stdout, stderr } = await runLimpet(['check', '-c', lab.file]);
    assert.equal(code, 1);
    assert.match(stdout + stderr, /routes\[0\]\.match\.sni/);
  });
});

describe('PROXY headers to servers', { concurrency: 4 }, () => {
  for (const [word, version] of [['v1', 1], ['v2', 2]]) {
    test(`${word} says who the client is before the first byte of its TLS`, async (t) => {
      const lab = await Lab.start(t, { servers: { a: echo('a', { proxied: true }) }, pools: { a: { servers: ['a'], proxy_protocol: word } },
        listeners: { line: { protocol: 'tcp', bind: ['127.0.0.1:PORT', '[::1]:PORT', 'unix:FOLDER/line.sock'], routes: [{ match: { sni: 'a.example.com' }, pool: 'a' }] } } });
      const { proxied } = lab.server('a');
      const client = await lab.connect({ from: '127.0.9.7', tls: { servername: 'a.example.com' } });
      await client.readUntil(';');
      const { port } = lab.where();
      assert.equal(proxied[0].version, version);
      assert.deepEqual([proxied[0].family, proxied[0].source, proxied[0].sourcePort, proxied[0].destination, proxied[0].destinationPort],
        ['TCP4', '127.0.9.7', client.under.localPort, '127.0.0.1', port]);
      await lab.connect({ index: 1, tls: { servername: 'a.example.com' } });
      await lab.server('a').until(() => proxied.length === 2, 'the second header');
      assert.deepEqual([proxied[1].family, proxied[1].source, proxied[1].destination], ['TCP6', '::1', '::1']);
      await lab.connect({ index: 2, tls: { servername: 'a.example.com' } });
      await lab.server('a').until(() => proxied.length === 3, 'the third header');
      assert.equal(proxied[2].family, undefined, 'a client without an address is UNKNOWN or LOCAL or AF_UNSPEC');
    });

    test(`${word} goes before HTTP, on a connection that belongs to its client alone`, async (t) => {
      const lab = await Lab.start(t, { workers: 1, servers: { s1: { proxied: true } }, pools: { app: { proxy_protocol: word } } });
      const origin = lab.server('s1');
      const one = await lab.connect({ from: '127.0.9.1' });
      const two = await lab.connect({ from: '127.0.9.2' });
      for (let i = 0; i < 3; i++) {
        assert.equal((await one.request(`/one/${i}`)).status, 200);
        assert.equal((await two.request(`/two/${i}`)).status, 200);
      }
      for (const [i, arrival] of origin.arrivals.entries()) {
        const mine = arrival.requests.map((request) => request.target.slice(0, 4));
        assert.deepEqual(new Set(mine), new Set([origin.proxied[i].source === '127.0.9.1' ? '/one' : '/two']));
      }
      const three = await lab.connect({ from: '127.0.9.3' });
      one.destroy();
      await one.until(() => one.isGone, 'the client to be gone');
      await three.request('/three');
      assert.equal(origin.proxied.at(-1).source, '127.0.9.3', 'a connection of another client was reused');
      const socket = await lab.websocket('/ws', { from: '127.0.9.4' });
      await socket.echoes('hello');
      assert.equal(origin.proxied.at(-1).source, '127.0.9.4');
    });
  }
});
