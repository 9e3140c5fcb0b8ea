'use strict';
// Servers that are spoken to over TLS: who is believed, what is sent, how connections are reused and
// end.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Lab, assert, eventually } = require('./lab');
const { RECORD, clientHello, record, message } = require('./tls13');
const pki = require('./pki');

const MiB = 1 << 20;
const VERSIONS = ['TLSv1.2', 'TLSv1.3'];
const only = (version) => ({ minVersion: version, maxVersion: version });
/** One server with that certificate, in a pool with those `tls`. */
const behind = (pair, tls = { ca: pki.ca.cert }, { server = {}, pool = {}, ...more } = {}) => ({
  workers: 1, servers: { s1: { ...server, tls: { ...pair.node, ...server.tls } } }, pools: { app: { tls, ...pool } }, ...more });

/** limpet says so, in the error log or the access log. */
async function isTold(lab, pattern) {
  await eventually(() => [...lab.limpet.stderr, ...lab.limpet.stdout].some((line) => pattern.test(line)), () => `${pattern} to be told:\n${lab.limpet.complaint()}\n${lab.limpet.stdout.slice(-5).join('\n')}`);
}

async function isRefused(lab, reason) {
  const { status } = await lab.request('/');
  assert.ok([502, 503].includes(status), `status ${status}`);
  await isTold(lab, reason);
  assert.equal(Object.values(lab.servers).reduce((sum, server) => sum + server.requests.length, 0), 0, 'a request reached a server that was not verified');
}

describe('servers over TLS: who is believed', { concurrency: 4 }, () => {
  test('a server whose certificate has its address is, and it hears no SNI', async (t) => {
    const lab = await Lab.start(t, behind(pki.server));
    assert.equal((await lab.request('/')).server, 's1');
    const [arrival] = lab.server('s1').arrivals;
    assert.equal(arrival.tls.version, 'TLSv1.3');
    assert.ok(!arrival.tls.name, 'RFC 6066, 3: an address is no server name');
    assert.equal((await lab.server('s1').request('/')).get('x-forwarded-proto'), 'http');
  });

  test('`name` is what is checked and sent as SNI', async (t) => {
    const pair = pki.ca.issue('app.internal');
    const lab = await Lab.start(t, behind(pair, { ca: pki.ca.cert, name: 'app.internal' }));
    assert.equal((await lab.request('/')).server, 's1');
    assert.equal(lab.server('s1').arrivals[0].tls.name, 'app.internal');
  });

  test('wildcards, several names and IPv6 addresses are understood', async (t) => {
    for (const [names, name, options] of [[['*.app.internal'], 'node.app.internal', {}], [['a.internal', 'b.internal'], 'B.Internal', {}], [['::1'], undefined, { host: '::1' }]]) {
      const lab = await Lab.start(t, behind(pki.ca.issue('many', { names }), { ca: pki.ca.cert, ...(name && { name }) }, { server: options }));
      assert.equal((await lab.request('/')).server, 's1', names.join(' '));
    }
  });

  test('a certificate for another name, or another address, is refused', async (t) => {
    await isRefused(await Lab.start(t, behind(pki.ca.issue('other.internal'), { ca: pki.ca.cert, name: 'app.internal' })), /name|host/i);
    await isRefused(await Lab.start(t, behind(pki.ca.issue('*.internal', { names: ['*.internal'] }), { ca: pki.ca.cert, name: 'a.b.internal' })), /name|host/i);
    await isRefused(await Lab.start(t, behind(pki.ca.issue('app.internal'))), /name|address|host/i); // 127.0.0.1 is not in it
    await isRefused(await Lab.start(t, behind(pki.ca.issue('address', { names: ['127.0.0.2'] }))), /name|address|host/i);
    await isRefused(await Lab.start(t, behind(pki.ca.issue('text', { names: ['text.internal'], subject: '/CN=127.0.0.1' }))), /name|address|host/i);
  });

  test('a certificate of an unknown authority, an expired one and one for clients are refused', async (t) => {
    const names = ['127.0.0.1'];
    for (const [pair, reason] of [
      [pki.stranger.issue('app', { names }), /unknown|issuer|authority|signer|CA\b/i],
      [pki.stranger, /unknown|issuer|authority|signer|self|CA\b|name|address/i],
      [pki.ca.issue('app', { names, from: -9, to: -1 }), /expired/i],
      [pki.ca.issue('app', { names, from: 1, to: 9 }), /not yet|valid|date/i],
      [pki.client('app'), /key us|usage|purpose/i],
    ]) await isRefused(await Lab.start(t, behind(pair)), reason);
  });

  test('without `ca` the system decides, and it does not know ours', async (t) => {
    const lab = await Lab.start(t, behind(pki.server, {}));
    await isRefused(lab, /unknown|issuer|authority|signer|CA\b/i);
    const [err] = lab.server('s1').tlsErrors;
    assert.match(err.code ?? err.message, /ALERT_UNKNOWN_CA|ALERT_BAD_CERTIFICATE/);
  });

  test('without `ca` whoever the system trusts is believed', async (t) => {
    // A mount namespace with our root in place of the system's, and beside it what is of no use.
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-bundle-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const bundle = path.join(folder, 'bundle.crt');
    const damaged = pki.ca.pem.replace('MII', '*?!');
    fs.writeFileSync(bundle, `# between --BEGIN and --END\n${damaged}-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n${pki.ca.pem}`);
    const lab = await Lab.start(t, behind(pki.server, {}, { wrapper: [
      'unshare', ...(process.getuid() === 0 ? ['-m'] : ['-rm']), 'sh', '-c', `mount --bind ${bundle} /etc/ssl/certs/ca-certificates.crt && exec "$0" "$@"`] }));
    assert.equal((await lab.request('/')).server, 's1');
  });

  test('`verify: false` believes everyone', async (t) => {
    for (const pair of [pki.stranger.issue('app', { names: ['whatever'] }), pki.ca.issue('app', { names: ['127.0.0.1'], from: -9, to: -1 })]) {
      const lab = await Lab.start(t, behind(pair, { verify: false }));
      assert.equal((await lab.request('/')).server, 's1');
    }
  });

  test('a server below an intermediate, with RSA, with P-384 or with 1.2 only is believed', async (t) => {
    const names = ['127.0.0.1'];
    for (const [pair, tls] of [[pki.intermediate.issue('app', { names }), {}], [pki.ca.issue('app', { names, kind: 'rsa' }), {}], [pki.ca.issue('app', { names, kind: 'p384' }), {}],
      [pki.ca.issue('app', { names, kind: 'rsa' }), only('TLSv1.2')], [pki.server, only('TLSv1.2')]]) {
      const lab = await Lab.start(t, behind(pair, undefined, { server: { tls } }));
      assert.equal((await lab.request('/')).server, 's1');
    }
  });

  test('a server that asks for a client certificate gets ours', async (t) => {
    const us = pki.client('limpet');
    const tls = { requestCert: true, rejectUnauthorized: true, ca: pki.ca.pem };
    for (const version of VERSIONS) {
      const lab = await Lab.start(t, behind(pki.server, { ca: pki.ca.cert, ...us.config }, { server: { tls: { ...tls, ...only(version) } } }));
      assert.equal((await lab.request('/')).server, 's1');
      assert.equal(lab.server('s1').arrivals[0].tls.client, us.fingerprint);
    }
    const without = await Lab.start(t, behind(pki.server, { ca: pki.ca.cert }, { server: { tls } }));
    assert.ok([502, 503].includes((await without.request('/')).status));
  });

  test('a server that fails its handshake hands the client to the next', async (t) => {
    const lab = await Lab.start(t, { servers: { bad: { tls: pki.stranger.issue('app', { names: ['127.0.0.1'] }).node }, good: { tls: pki.server.node } },
      pools: { app: { balance: 'round_robin', tls: { ca: pki.ca.cert } } } });
    for (let i = 0; i < 6; i++) assert.equal((await lab.request('/', { method: 'POST', body: 'x' })).server, 'good');
    assert.equal(lab.server('bad').requests.length, 0);
  });
});

describe('servers over TLS: connections', { concurrency: 4 }, () => {
  test('bodies of any size go both ways', async (t) => {
    for (const version of VERSIONS) {
      const lab = await Lab.start(t, { ...behind(pki.server, undefined, { server: { tls: only(version) } }), listeners: { web: { tls: { certificates: [pki.site.config] } } } });
      const client = await lab.connect();
      for (const size of [0, 1, 16384, 16385, 100000, 20 * MiB]) {
        const body = crypto.randomBytes(size);
        const response = await client.request('/echo', { method: 'POST', body });
        assert.ok(response.body.equals(body));
      }
    }
  });

  test('a connection is kept for the next request', async (t) => {
    const lab = await Lab.start(t, behind(pki.server));
    for (let i = 0; i < 8; i++) assert.equal((await lab.request(`/${i}`)).status, 200);
    assert.equal(lab.server('s1').arrivals.length, 1);
  });

  test('a session is resumed when a new connection is needed', async (t) => {
    const handle = async (request, answer) => {
      await answer.respond(200, { Connection: 'close' }, 'once');
      answer.close();
      return true;
    };
    for (const version of VERSIONS) {
      const lab = await Lab.start(t, behind(pki.server, undefined, { server: { handle, tls: only(version) } }));
      for (let i = 0; i < 6; i++) assert.equal((await lab.request(`/${i}`)).text, 'once');
      const resumed = lab.server('s1').arrivals.map((arrival) => arrival.tls.isResumed);
      assert.deepEqual(resumed, [false, true, true, true, true, true], version);
    }
  });

  test('a session is never resumed around a verification', async (t) => {
    const handle = async (request, answer) => {
      await answer.respond(200, { Connection: 'close' });
      answer.close();
      return true;
    };
    for (const version of VERSIONS) {
      const lab = await Lab.start(t, behind(pki.server, { verify: false }, { server: { handle, tls: only(version) } }));
      for (let i = 0; i < 2; i++) assert.equal((await lab.request('/')).status, 200);
      const answer = await lab.reload((config) => { config.pools.app.tls = { ca: pki.stranger.cert }; });
      assert.ok(answer.isDone, answer.line);
      await eventually(async () => [502, 503].includes((await lab.request('/')).status), 'the server to be refused');
      assert.ok([502, 503].includes((await lab.request('/')).status));
    }
  });

  test('WebSockets reach servers over TLS, from plain clients and from wss', async (t) => {
    const lab = await Lab.start(t, { ...behind(pki.server), listeners: { plain: {}, web: { tls: { certificates: [pki.site.config] } } } });
    for (const listener of ['plain', 'web']) {
      const client = await lab.websocket('/ws', { listener });
      await client.echoes('hello');
      await client.echoes(crypto.randomBytes(3 * MiB));
      for (let i = 0; i < 50; i++) await client.echoes(`message ${i}`);
      client.close(1000);
      await client.isClosedWith(1000);
    }
    await lab.server('s1').until(() => lab.server('s1').closes.length === 2, 'both closes');
    assert.deepEqual(lab.server('s1').closes, [1000, 1000]);
  });

  test('events pass one by one', async (t) => {
    const lab = await Lab.start(t, behind(pki.server));
    const source = lab.eventSource('/sse');
    await source.receives('hello from s1');
    await lab.server('s1').until(() => lab.server('s1').streams?.size, 'the stream');
    for (let i = 0; i < 5; i++) {
      for (const stream of lab.server('s1').streams) await stream.event(`event ${i}`);
      await source.receives(`event ${i}`);
    }
  });

  test('tcp streams end on each side by itself', async (t) => {
    for (const version of VERSIONS) {
      const lab = await Lab.start(t, behind(pki.server, undefined, { listeners: { line: { protocol: 'tcp' } }, server: { kind: 'raw', tls: only(version), script: async (connection) => {
        const question = await connection.readAll();
        await connection.write(`you said ${question.length} bytes`);
        connection.end();
      } } }));
      const client = await lab.connect();
      await client.write(Buffer.alloc(200000));
      client.end();
      assert.equal((await client.readAll()).toString(), 'you said 200000 bytes');
      assert.equal(client.ended, 'fin');
    }
  });

  test('a server that speaks first is heard', async (t) => {
    const lab = await Lab.start(t, behind(pki.server, undefined, { listeners: { line: { protocol: 'tcp' } }, server: { kind: 'tcp', greeting: '220 welcome\r\n' } }));
    assert.equal((await (await lab.connect()).readUntil('\r\n')).toString(), '220 welcome\r\n');
  });

  test('a response without a length is whole only with close_notify', async (t) => {
    const handle = async (request, answer) => {
      await answer.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe whole or a part');
      if (request.path === '/whole') answer.close();
      else setTimeout(() => answer.reset(), 50);
      return true;
    };
    for (const version of VERSIONS) {
      const lab = await Lab.start(t, behind(pki.server, undefined, { server: { handle, tls: only(version) } }));
      assert.equal((await lab.request('/whole')).text, 'the whole or a part');
      await assert.rejects(lab.request('/cut'), /ended/, version);
      const old = await lab.connect();
      await old.send('/cut', { version: '1.0' });
      await assert.rejects(old.response(), /ended/, version);
    }
  });

  test('a tcp stream that is cut off is not ended cleanly', async (t) => {
    const lab = await Lab.start(t, behind(pki.server, undefined, { listeners: { line: { protocol: 'tcp' } }, server: { kind: 'raw', script: async (connection) => {
      await connection.read(1);
      await connection.write('half of it');
      setTimeout(() => connection.destroy(), 50);
    } } }));
    const client = await lab.connect();
    await client.write('x');
    assert.equal((await client.readAll()).toString(), 'half of it');
    assert.equal(client.ended, 'reset');
  });

  test('a server that speaks no TLS, or nothing at all, costs an error and no more than timeouts.connect', async (t) => {
    const lab = await Lab.start(t, { servers: { plain: { kind: 'raw', script: async (connection) => { await connection.read(1); await connection.write('HTTP/1.1 400 Bad Request\r\n\r\n'); connection.end(); } }, mute: { kind: 'silent' } }, timeouts: { connect: '700ms', response: '10m' },
      pools: { plain: { tls: { ca: pki.ca.cert }, servers: ['plain'] }, mute: { tls: { ca: pki.ca.cert }, servers: ['mute'] } },
      listeners: { web: { routes: [{ match: { path: '/plain' }, pool: 'plain' }, { pool: 'mute' }] } } });
    const { status } = await lab.request('/plain');
    assert.ok([502, 503].includes(status), `status ${status}`);
    // The other timeouts are longer than a test waits.
    assert.ok([502, 503, 504].includes((await lab.request('/mute')).status));
  });

  test('a server that chooses among protocols is not led to HTTP/2', async (t) => {
    const lab = await Lab.start(t, behind(pki.server, undefined, { server: { tls: { ALPNProtocols: ['h2', 'http/1.1'] } } }));
    assert.equal((await lab.request('/')).server, 's1');
    assert.notEqual(lab.server('s1').arrivals[0].socket.alpnProtocol, 'h2');
  });

  test('a PROXY header goes before the TLS', async (t) => {
    for (const version of ['v1', 'v2']) {
      const lab = await Lab.start(t, behind(pki.server, undefined, { server: { proxied: true }, pool: { proxy_protocol: version } }));
      assert.equal((await lab.request('/', { from: '127.0.9.9' })).server, 's1');
      assert.equal(lab.server('s1').proxied[0].source, '127.0.9.9');
      assert.equal(lab.server('s1').proxied[0].version, Number(version[1]));
    }
  });
});

describe('servers that break TLS', { concurrency: 4 }, () => {
  const raw = (script) => ({ servers: { s1: { kind: 'raw', script } }, timeouts: { connect: '2s' }, pools: { app: { tls: { ca: pki.ca.cert } } } });
  const says = (...sent) => async (connection) => {
    await connection.read(5);
    for (const one of sent) await connection.write(one);
    connection.end();
  };
  const large = record(RECORD.HANDSHAKE, message(11, Buffer.alloc(16000)));
  for (const [what, script] of Object.entries({
    'close at once': async (connection) => connection.end(),
    'reset at once': async (connection) => connection.reset(),
    'talk garbage': says(crypto.randomBytes(2000)),
    'talk zeros': says(Buffer.alloc(20000)),
    'refuse with an alert': says(record(RECORD.ALERT, [2, 40])),
    'say close_notify': says(record(RECORD.ALERT, [1, 0])),
    'say something else first': says(record(RECORD.HANDSHAKE, message(20, Buffer.alloc(12)))),
    'send our own hello back': says(record(RECORD.HANDSHAKE, clientHello())),
    'stop within a message': says(record(RECORD.HANDSHAKE, message(2, Buffer.alloc(70)).subarray(0, 30))),
    'announce a record of 64 KiB': says(Buffer.from([22, 3, 3, 255, 255]), Buffer.alloc(65535)),
    'send messages without end': async (connection) => {
      await connection.read(5);
      const first = Buffer.from(large);
      first.writeUIntBE(0xffff00, 6, 3);
      first[5] = 2;
      for (let i = 0; i < 1000 && !connection.isGone; i++) await Promise.race([connection.write(i === 0 ? first : large), connection.isClosed()]);
    },
  })) {
    test(`those that ${what} cost an error and leave nothing behind`, async (t) => {
      const lab = await Lab.start(t, raw(script));
      const { status } = await lab.request('/');
      assert.ok([502, 503, 504].includes(status), `status ${status}`);
      await isTold(lab, /\bs1\b/);
    });
  }

  test('one that asks for a renegotiation is not followed', async (t) => {
    const handle = async (request, answer) => {
      if (request.path !== '/again') return false;
      answer.socket.renegotiate({ requestCert: true }, () => {});
      await answer.respond(200);
      return true;
    };
    const lab = await Lab.start(t, behind(pki.server, undefined, { server: { handle, tls: only('TLSv1.2') } }));
    assert.equal((await lab.request('/')).status, 200);
    await lab.request('/again').catch(() => {}); // whole or broken, both are well
    assert.equal((await lab.request('/')).status, 200);
  });
});

describe('checks over TLS', { concurrency: 4 }, () => {
  const quick = { interval: '100ms', rise: 1, fall: 1 };
  const refuses = (request, answer) => (request.path === '/health' ? answer.respond(500).then(() => true) : false);

  for (const check of [{ type: 'tcp' }, { type: 'http', path: '/health' }, { type: 'websocket', path: '/ws', ping: true }]) {
    test(`a ${check.type} check passes a server that is well and fails one that is not believed`, async (t) => {
      const lab = await Lab.start(t, behind(pki.server, undefined, { pool: { check: { ...check, ...quick } } }));
      assert.equal((await lab.request('/')).status, 200);
      if (check.type !== 'tcp') await lab.server('s1').request(check.path);
      const wrong = await Lab.start(t, behind(pki.stranger.issue('app', { names: ['127.0.0.1'] }), undefined, { pool: { check: { ...check, ...quick } } }));
      await wrong.says(/\bs1\b.*\bdown\b/);
      assert.equal((await wrong.request('/')).status, 503);
      assert.equal(wrong.server('s1').requests.length, 0);
    });
  }

  test('an http check reads the status over TLS', async (t) => {
    const lab = await Lab.start(t, behind(pki.server, undefined, { server: { handle: refuses }, pool: { check: { type: 'http', path: '/health', ...quick } } }));
    assert.equal((await lab.request('/')).status, 503);
    await lab.says(/\bs1\b.*\bdown\b/);
  });

  test('a server that comes back with a good certificate is up again', async (t) => {
    const lab = await Lab.start(t, behind(pki.stranger.issue('app', { names: ['127.0.0.1'] }), undefined, { pool: { check: { type: 'tcp', ...quick } } }));
    assert.equal((await lab.request('/')).status, 503);
    const from = lab.limpet.stderr.length;
    lab.server('s1').listener.setSecureContext(pki.server.node);
    await lab.says(/\bs1\b.*\bup\b/, from);
    assert.equal((await lab.request('/')).status, 200);
  });

  test('a check says which step failed', async (t) => {
    const lab = await Lab.start(t, behind(pki.ca.issue('app', { names: ['127.0.0.1'], from: -9, to: -1 }), undefined, { pool: { check: { type: 'http', ...quick } } }));
    await lab.says(/\bs1\b.*\bdown\b.*(TLS|certificate|expired)/i);
  });

  test('a check of a pool with PROXY headers sends one', async (t) => {
    for (const version of ['v1', 'v2']) {
      const lab = await Lab.start(t, behind(pki.server, undefined, { server: { proxied: true }, pool: { proxy_protocol: version, check: { type: 'http', ...quick } } }));
      assert.equal((await lab.request('/')).status, 200);
      assert.ok(lab.server('s1').proxied.length >= 2);
    }
  });
});
