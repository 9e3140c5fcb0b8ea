'use strict';
// A final answer before the request is whole reaches its client, also one that writes everything
// before it reads; the rest of the body goes on to a server that wants it, or is read to its end.

const { describe, test } = require('node:test');
const { once } = require('node:events');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Lab, END, assert } = require('./lab');
const pki = require('./pki');

const MiB = 1 << 20;
const soon = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const PUT = (length, more = '') => `PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n${more}\r\n`;

/** A server that answers as soon as it has the head, and then does what `afterwards` says. */
const early = (status, fields, afterwards, body = 'early') => ({ kind: 'raw', script: async (connection, origin) => {
  await connection.readUntil('\r\n\r\n');
  await connection.write(`HTTP/1.1 ${status} Early\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`);
  await afterwards(connection, origin);
} });
const closes = (connection) => connection.end();
const resets = (connection) => connection.reset();
const reads = async (connection, origin) => {
  connection.readsOn = true;
  await connection.until(() => connection.ended, 'the end', 60000);
  origin.changed();
};
const stops = async (connection) => { connection.pause(); await connection.until(() => connection.ended, 'the end', 60000); };

/** Writes all of a body, reads nothing meanwhile; then reads. */
async function writesFirst(client, head, body) {
  client.pause();
  await client.write(head);
  await client.write(body);
  client.resume();
  return client.response();
}

describe('an early answer', { concurrency: 3 }, () => {
  const servers = {
    'that closes': early(401, 'Connection: close\r\n', closes),
    'that resets': early(413, 'Connection: close\r\n', resets),
    'that keeps its connection and reads on': early(401, '', reads),
    'that says close and reads on': early(401, 'Connection: close\r\n', reads),
    'that keeps its connection and reads nothing more': early(401, '', stops),
  };
  for (const [what, server] of Object.entries(servers)) {
    for (const isSecure of [false, true]) {
      test(`of a server ${what} reaches a client that writes 16 MiB before it reads${isSecure ? ', over TLS' : ''}`, async (t) => {
        const lab = await Lab.start(t, { timeouts: { stalled: '1s' }, servers: { s1: server }, listeners: { web: isSecure ? { tls: { certificates: [{ cert: pki.site.cert, key: pki.site.key }] } } : {} } });
        const client = await lab.connect();
        const response = await writesFirst(client, PUT(16 * MiB), Buffer.alloc(16 * MiB));
        assert.ok([401, 413].includes(response.status));
        assert.equal(response.text, 'early');
      });
    }
  }

  for (const [what, settings, status] of [['413', { limits: { body: '1MiB' } }, 413], ['404', { listeners: { web: { routes: [{ match: { path: '/other' }, pool: 'app' }] } } }, 404], ['503', { servers: { s1: { isDown: true } } }, 503]]) {
    test(`of limpet's own, ${what}, reaches such a client, too`, async (t) => {
      const lab = await Lab.start(t, settings);
      const client = await lab.connect();
      assert.equal((await writesFirst(client, PUT(16 * MiB), Buffer.alloc(16 * MiB))).status, status);
      const chunked = await lab.connect();
      const chunk = Buffer.concat([Buffer.from('100000\r\n'), Buffer.alloc(MiB), Buffer.from('\r\n')]);
      const body = Buffer.concat([...Array.from({ length: 8 }, () => chunk), Buffer.from('0\r\n\r\n')]);
      assert.equal((await writesFirst(chunked, 'PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', body)).status, status);
    });
  }

  /** Answers the first request early, as `server` does, and every other one at once. */
  const then = (server) => ({ kind: 'raw', script: async (connection, origin, arrival) => {
    if (origin.arrivals.length === 1) {
      await server.script(connection, origin, arrival);
      return;
    }
    await connection.readUntil('\r\n\r\n');
    await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext');
  } });
  for (const [what, server] of Object.entries({ closes: early(401, '', closes), resets: early(413, '', resets) })) {
    test(`leaves the client its connection when the rest is read, though the server ${what}`, async (t) => {
      const lab = await Lab.start(t, { servers: { s1: then(server) } });
      const client = await lab.connect();
      await client.write(`${PUT(10)}12345`);
      assert.equal((await client.response()).get('connection'), undefined);
      await soon(100);
      await client.write('67890');
      assert.equal((await client.request('/next')).text, 'next');
    });
  }

  for (const [what, head, first, rest] of [['with a length', PUT(10), '12345', '67890'], ['in chunks', 'PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n', '5\r\n12345\r\n', '5\r\n67890\r\n0\r\n\r\n']]) {
    test(`of a server that keeps its connection: the rest goes on to it, ${what}, and both stay`, async (t) => {
      const lab = await Lab.start(t, { workers: 1, servers: { s1: { kind: 'raw', script: async (connection) => {
        await connection.readUntil('12345');
        await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly');
        await connection.readUntil(rest);
        await connection.readUntil('/next HTTP/1.1');
        await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext');
      } } } });
      const client = await lab.connect();
      await client.write(head + first);
      const response = await client.response();
      assert.equal(response.text, 'early');
      assert.equal(response.get('connection'), undefined);
      await soon(100);
      await client.write(rest);
      await soon(100);
      assert.equal((await client.request('/next')).text, 'next');
      assert.equal(lab.server('s1').arrivals.length, 1, 'over the same connection');
    });
  }

  test('whose rest does not come is given up after timeouts.body, with a FIN', async (t) => {
    const lab = await Lab.start(t, { timeouts: { body: '400ms' }, servers: { s1: early(401, 'Connection: close\r\n', closes) } });
    const client = await lab.connect();
    await client.write(PUT(100) + 'some');
    assert.equal((await client.response()).status, 401);
    assert.equal((await client.readAll()).length, 0);
    assert.equal(client.ended, 'fin');
    await lab.logs({ path: '/up', status: 401, end: END.done });
  });

  test('to Expect: 100-continue says close, and nothing behind it is taken for a request', async (t) => {
    const lab = await Lab.start(t, { timeouts: { linger: '500ms' }, servers: { s1: early(401, '', reads) } });
    for (const [sends, what] of [['', 'a client that sends no body'], ['GET /x HTTP/1.1\r\nHost: a\r\n\r\n', 'one whose body looks like a request']]) {
      const client = await lab.connect();
      client.keepsOpen = true;
      await client.write(PUT(1000, 'Expect: 100-continue\r\n'));
      const response = await client.response();
      assert.equal(response.status, 401);
      assert.equal(response.get('connection'), 'close', what);
      await client.write(sends).catch(() => {});
      assert.equal((await client.readAll()).length, 0);
    }
    assert.equal(lab.limpet.log.filter((line) => line.path === '/x').length, 0);
  });

  test('a client that writes all in spite of Expect: 100-continue gets it as well', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: early(401, '', stops) } });
    const client = await lab.connect();
    assert.equal((await writesFirst(client, PUT(16 * MiB, 'Expect: 100-continue\r\n'), Buffer.alloc(16 * MiB))).status, 401);
  });

  test('behind a 100 the connection may stay', async (t) => {
    const lab = await Lab.start(t, {});
    const client = await lab.connect();
    await client.write('PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n');
    assert.equal((await client.responseHead()).status, 100);
    await client.write('body');
    assert.equal((await client.response()).text, 'body');
    assert.equal((await client.request('/next')).status, 200);
  });

  const OK = (text) => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
  for (const isPipelined of [true, false]) {
    test(`what its server says behind it is nobody's answer${isPipelined ? ', not the next request\'s in line' : ''}`, async (t) => {
      const lab = await Lab.start(t, { workers: 1, servers: { s1: { kind: 'raw', script: async (connection, origin) => {
        const isFirst = origin.arrivals.length === 1;
        await connection.readUntil('\r\n\r\n');
        await connection.write(OK(isFirst ? 'early' : 'own'));
        if (!isFirst) return;
        await soon(150);
        await connection.write(OK('evil'));
      } } } });
      const client = await lab.connect();
      await client.write(PUT(10));
      assert.equal((await client.response()).text, 'early');
      await soon(300);
      if (isPipelined) {
        await client.write('1234567890GET /next HTTP/1.1\r\nHost: a\r\n\r\n');
        assert.equal((await client.response()).text, 'own');
      } else {
        await client.write('1234567890');
        assert.equal((await client.request('/next')).text, 'own');
      }
    });
  }

  test('of 413 to a body that is whole keeps the connection', async (t) => {
    const lab = await Lab.start(t, { limits: { body: '1KiB' } });
    const client = await lab.connect();
    await client.write(`PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n${'x'.repeat(2048)}\r\n0\r\n\r\n`);
    const response = await client.response();
    assert.deepEqual([response.status, response.get('connection')], [413, undefined]);
    assert.equal((await client.request('/next')).status, 200);
  });

  test('stands though a bad chunk follows it', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: early(200, '', reads) } });
    const client = await lab.connect();
    await client.write('PUT /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n');
    assert.equal((await client.response()).text, 'early');
    await client.write('zz\r\n');
    assert.equal((await client.readAll()).length, 0);
    assert.equal(client.ended, 'fin');
  });

  // Only a program outside of node can be deaf and go on talking.
  const DEAF = `use Socket; socket(L, PF_UNIX, SOCK_STREAM, 0); bind(L, pack_sockaddr_un(shift)) or die; listen(L, 5);
    print "ready\\n"; close(STDOUT); accept(C, L); my $got = "";
    while (index($got, "abc") < 0) { sysread(C, $got, 65536, length $got) or exit }
    syswrite(C, "HTTP/1.1 200 OK\\r\\nContent-Type: text/event-stream\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n");
    shutdown(C, 0); $SIG{PIPE} = "IGNORE";
    while (syswrite(C, "9\\r\\ndata: x\\n\\n\\r\\n")) { select(undef, undef, undef, 0.1) }`;
  test('that is a stream of events has its turn in a drain, though the rest of the body never came', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-deaf-'));
    const place = path.join(folder, 's.sock');
    const deaf = spawn('perl', ['-e', DEAF, place], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => { deaf.kill(); fs.rmSync(folder, { recursive: true }); });
    await once(deaf.stdout, 'data');
    const lab = await Lab.start(t, { timeouts: { body: '300ms' }, drain: { deadline: '60s', spread: '1%' }, pools: { app: { servers: { deaf: `unix:${place}` } } } });
    const client = await lab.connect();
    await client.write(`${PUT(1000)}abc`);
    await client.readUntil('data: x');
    await client.write('def');
    await soon(1000);
    lab.terminate();
    assert.ok((await client.readAll()).toString().endsWith('data: x\n\n\r\n0\r\n\r\n'));
    assert.equal(client.ended, 'fin');
  });
});
