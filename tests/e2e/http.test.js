'use strict';
// HTTP/1.x through limpet: bodies both ways, connections kept on both sides, what is added and removed.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const { Lab, END, assert } = require('./lab');
const { requestText } = require('./client');

const MiB = 1 << 20;
const describedFields = (response, name) => response.json().fields.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);

/** An origin that answers /case with these raw bytes and then does what `after` says. */
const answering = (bytes, after) => ({
  handle: async (request, answer) => {
    await request.body;
    await answer.write(bytes);
    if (after === 'close') answer.close();
    if (after === 'reset') answer.reset();
  },
});

describe('bodies', { concurrency: 4 }, () => {
  test('a request and its response pass through and name the server', async (t) => {
    const lab = await Lab.start(t);
    const response = await lab.request('/hello?x=1');
    assert.equal(response.status, 200);
    assert.equal(response.server, 's1');
    assert.equal(response.json().target, '/hello?x=1');
    const line = await lab.logs({ event: 'request', path: '/hello' });
    assert.equal(line.end, END.done);
    assert.equal(line.status, 200);
    assert.equal(line.method, 'GET');
    assert.equal(line.pool, 'app');
    assert.equal(line.server, 's1');
    assert.equal(line.listener, 'web');
    assert.equal(line.client.replace(/:\d+$/, ''), '127.0.0.1');
    assert.equal(line.retries, 0);
    assert.ok(line.bytes_out > response.body.length - 1);
    assert.ok(line.total_ms >= line.response_ms);
    assert.ok(!JSON.stringify(line).includes('x=1'), 'a query is not logged unless named');
  });

  test('a query parameter that is named is logged and no other is', async (t) => {
    const lab = await Lab.start(t, { log: { access: { query: ['room'] } } });
    await lab.request('/q?room=blue&token=secret');
    const line = await lab.logs({ path: /^\/q/ });
    assert.match(JSON.stringify(line), /blue/);
    assert.doesNotMatch(JSON.stringify(line), /secret/);
  });

  test('the text format of the access log has a line per request', async (t) => {
    const lab = await Lab.start(t, { log: { access: { format: 'text' } } });
    await lab.request('/in-text');
    await lab.limpet.until(() => lab.limpet.stdout.some((line) => line.includes('/in-text') && line.includes('done')), 'a text line');
  });

  test('a body with a length reaches the server and comes back', async (t) => {
    const lab = await Lab.start(t);
    const response = await lab.request('/echo', { method: 'POST', body: 'twelve bytes' });
    assert.equal(response.text, 'twelve bytes');
    assert.equal(response.get('content-length'), '12');
  });

  test('a chunked request body stays chunked, with its extensions and trailers', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write('POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n');
    assert.equal((await client.response()).text, 'hello world');
    const request = await lab.server('s1').request('/echo');
    assert.equal(request.get('content-length'), undefined);
    assert.deepEqual(request.trailers, ['X-Sum: 42']);
  });

  test('a chunked response passes with its chunks and trailers', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n1;ext="v;w"\r\n!\r\n0\r\nX-Sum: 42\r\n\r\n') } });
    const client = await lab.connect();
    for (let i = 0; i < 2; i++) {
      const response = await client.request('/');
      assert.equal(response.text, 'hello!');
      assert.deepEqual(response.trailers, [['X-Sum', '42']]);
    }
  });

  test('a response until close ends the client connection', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 200 OK\r\nX-Server: s1\r\n\r\nuntil I close', 'close') } });
    const client = await lab.connect();
    const response = await client.request('/');
    assert.ok(response.isUntilClose || response.chunks.length > 0);
    assert.equal(response.text, 'until I close');
    await lab.logs({ end: END.done, status: 200 });
  });

  test('a response of HTTP/1.0 without a length is whole at the close', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.0 200 OK\r\nX-Server: s1\r\n\r\nold but good', 'close') } });
    assert.equal((await lab.request('/')).text, 'old but good');
  });

  test('HEAD, 204 and 304 have no body and keep the connection', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      const status = Number(request.path.slice(1));
      if (status === 200) await answer.head(200, { 'Content-Length': 1000 });
      else await answer.head(status, status === 304 ? { 'Content-Length': 77 } : {});
    } } } });
    const client = await lab.connect();
    for (const [method, status] of [['HEAD', 200], ['GET', 204], ['GET', 304], ['HEAD', 304], ['HEAD', 200], ['POST', 204]]) {
      const response = await client.request(`/${status}`, { method });
      assert.equal(response.status, status);
      assert.equal(client.buffer.length, 0);
      if (method === 'HEAD' && status === 200) assert.equal(response.get('content-length'), '1000');
    }
    assert.equal(lab.server('s1').requests.length, 6);
  });

  test('HEAD and 304 keep the fields that describe a body and still have none', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      const status = request.path === '/304' ? 304 : 200;
      await answer.head(status, { 'Transfer-Encoding': 'chunked', ETag: '"x"' });
    } } } });
    const client = await lab.connect();
    for (const [method, target] of [['HEAD', '/200'], ['GET', '/304'], ['HEAD', '/200']]) {
      const response = await client.request(target, { method });
      assert.equal(response.get('etag'), '"x"');
      assert.equal(client.buffer.length, 0);
    }
  });

  test('an informational response reaches the client before the final one', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok') } });
    const response = await lab.request('/');
    assert.equal(response.text, 'ok');
    assert.deepEqual(response.informational.map((one) => one.status), [103, 102]);
    assert.equal(response.informational[0].get('link'), '</a.css>');
  });

  test('a client of HTTP/1.0 gets no informational response', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok') } });
    const response = await lab.request('/', { version: '1.0' });
    assert.equal(response.text, 'ok');
    assert.deepEqual(response.informational, []);
  });

  test('a client that expects 100-continue gets it from the server before it sends its body', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write('POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    assert.equal((await client.responseHead()).status, 100);
    await client.write('body');
    assert.equal((await client.response()).text, 'body');
  });

  test('a server may refuse a body that waits for 100-continue', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => { await answer.respond(413, { Connection: 'close' }, 'no'); answer.close(); } } } });
    const client = await lab.connect();
    await client.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n');
    const response = await client.response();
    assert.equal(response.status, 413);
    assert.deepEqual(response.informational, []);
  });

  test('ten MiB go up and come back unharmed, by length and in chunks', async (t) => {
    const lab = await Lab.start(t);
    const body = crypto.randomBytes(10 * MiB);
    const byLength = await lab.request('/echo', { method: 'PUT', body });
    assert.ok(byLength.body.equals(body));

    const client = await lab.connect();
    await client.write(requestText('/echo', { method: 'PUT', headers: { 'Transfer-Encoding': 'chunked' } }));
    for (let at = 0; at < body.length; at += 300001) {
      const part = body.subarray(at, at + 300001);
      await client.write(Buffer.concat([Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n')]));
    }
    await client.write('0\r\n\r\n');
    assert.ok((await client.response()).body.equals(body));
  });

  test('a response of ten MiB in chunks of every size comes whole', async (t) => {
    const body = crypto.randomBytes(10 * MiB);
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Transfer-Encoding': 'chunked' });
      let size = 1;
      for (let at = 0; at < body.length; at += size, size = Math.min(size * 2 + 1, 200000)) await answer.chunk(body.subarray(at, at + size));
      await answer.lastChunk();
    } } } });
    assert.ok((await lab.request('/')).body.equals(body));
  });

  test('bytes that arrive one by one mean the same', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      const body = await request.body;
      const bytes = Buffer.from(`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nX-T: 1\r\n\r\n`);
      for (const byte of bytes) {
        await answer.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
    } } } });
    const client = await lab.connect();
    for (let i = 0; i < 2; i++) {
      await client.writeSlowly('POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n');
      assert.equal((await client.response()).text, 'abcde');
    }
  });

  test('heads that are cut inside a value are not mixed with heads in between, both ways', async (t) => {
    // One worker reads them all, so whatever it forgets about a cut head is overwritten by the next.
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { handle: async (request, answer) => {
      if (request.path === '/quick') return false;
      await answer.write('HTTP/1.1 200 OK\r\nContent-Type: text/pl');
      await new Promise((resolve) => { lab.goOn = resolve; lab.changed(); });
      await answer.write(`ain\r\nContent-Length: ${request.target.length}\r\n\r\n${request.target}`);
      return true;
    } } } });
    const other = await lab.connect();
    const between = () => other.request(`/quick?${'y'.repeat(300)}`, { headers: { 'X-Long-Name-In-Between': 'y'.repeat(300), 'X-B': 'c' } });
    const text = 'GET /cut HTTP/1.1\r\nHost: test.example\r\nCookie: a=b\r\nX-Last: z\r\n\r\n';
    for (let at = 5; at < text.length; at += 3) {
      lab.goOn = null;
      const client = await lab.connect();
      await client.write(text.slice(0, at));
      await between();
      await client.write(text.slice(at));
      await lab.until(() => lab.goOn, `the request that was cut at ${at} to reach the server`);
      await between();
      lab.goOn();
      const response = await client.response();
      assert.equal(response.text, '/cut');
      assert.equal(response.get('content-type'), 'text/plain');
      const request = lab.server('s1').requests.filter((one) => one.target === '/cut').at(-1);
      assert.deepEqual([request.get('host'), request.get('cookie'), request.get('x-last')], ['test.example', 'a=b', 'z']);
      client.destroy();
    }
  });

  test('a server that answers early is heard while the body still flows', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => { await answer.respond(403, {}, 'enough'); await request.body; } } } });
    const client = await lab.connect();
    await client.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345');
    const response = await client.response();
    assert.equal(response.status, 403);
    assert.equal(response.text, 'enough');
  });

  test('a server that answers early and closes does not lose its answer', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { kind: 'raw', script: async (connection) => {
      await connection.readUntil('\r\n\r\n');
      await connection.write('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig');
      connection.end();
    } } } });
    const client = await lab.connect();
    await client.write(requestText('/', { method: 'POST', headers: { 'Content-Length': 5 * MiB } }));
    client.socket.write(Buffer.alloc(5 * MiB));
    const response = await client.response();
    assert.equal(response.status, 413);
    assert.equal(response.text, 'big');
  });
});

describe('connections', { concurrency: 4 }, () => {
  test('a client connection is kept for many requests', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    for (let i = 0; i < 20; i++) assert.equal((await client.request(`/n/${i}`)).json().target, `/n/${i}`);
    assert.equal(client.ended, undefined);
  });

  test('a server connection is used again', async (t) => {
    const lab = await Lab.start(t, { workers: 1 });
    for (let i = 0; i < 10; i++) await lab.request(`/n/${i}`);
    assert.equal(lab.server('s1').arrivals.length, 1);
  });

  test('small requests, large heads and bodies follow each other on one connection, whole or in pieces', async (t) => {
    // Small ones are received differently: a head that outgrows a message's buffer must find its place.
    const lab = await Lab.start(t, { workers: 1 });
    const client = await lab.connect();
    let n = 0;
    const small = async (count) => { for (let i = 0; i < count; i++) assert.equal((await client.request(`/small/${n++}`)).status, 200); };
    for (const size of [1500, 2030, 2600, 5000, 9000, 13000, 15800]) {
      await small(6);
      const big = 'c'.repeat(size);
      const response = await client.request(`/big/${size}`, { headers: { Cookie: big } });
      assert.equal(response.status, 200);
      assert.equal((await lab.server('s1').request(`/big/${size}`)).get('cookie'), big);
      await small(6);
      const text = `GET /cut/${size} HTTP/1.1\r\nHost: a\r\nCookie: ${big}\r\n\r\n`;
      for (let at = 0; at < text.length; at += 1000) {
        await client.write(text.slice(at, at + 1000));
        await new Promise(setImmediate);
      }
      assert.equal((await client.response('GET')).status, 200);
      assert.equal((await lab.server('s1').request(`/cut/${size}`)).get('cookie'), big);
      await small(6);
      const body = Buffer.alloc(size * 20, 'b');
      assert.equal((await client.request(`/body/${size}`, { method: 'POST', body })).status, 200);
      assert.equal((await lab.server('s1').request(`/body/${size}`)).bodySize, body.length);
    }
    await client.write(`GET /over HTTP/1.1\r\nHost: a\r\nCookie: ${'c'.repeat(17000)}\r\n\r\n`);
    assert.equal((await client.response('GET')).status, 431);
  });

  for (const ends of [false, true]) test(`a large head pipelined behind a waiting request is read when its turn comes${ends ? ', also when it is cut' : ''}`, async (t) => {
    let go;
    const held = new Promise((resolve) => { go = resolve; });
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { handle: async (request, answer) => {
      if (request.path === '/held') await held;
      await answer.respond(200, {}, request.path);
    } } } });
    const client = await lab.connect();
    for (let i = 0; i < 6; i++) await client.request('/small');
    await client.send('/held');
    await lab.server('s1').request('/held');
    const second = `GET /second HTTP/1.1\r\nHost: a\r\nCookie: ${'c'.repeat(7000)}\r\n\r\n`;
    await client.write(ends ? second.slice(0, -100) : second);
    if (ends) client.end();
    go();
    assert.equal((await client.response()).text, '/held');
    if (ends) await client.isClosed();
    else assert.equal((await client.response()).text, '/second');
  });

  test('small responses and large heads follow each other on one server connection', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { handle: async (request, answer) => {
      const size = Number(request.path.slice(1));
      await answer.write(`HTTP/1.1 200 OK\r\nX-Big: ${'h'.repeat(size)}\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`);
    } } } });
    const client = await lab.connect();
    for (const size of [1, 1, 1, 1, 1, 1, 3000, 1, 1, 1, 1, 1, 1, 12000, 1, 1, 1, 1, 1, 1, 2000]) {
      const response = await client.request(`/${size}`);
      assert.equal(response.get('x-big'), 'h'.repeat(size));
      assert.equal(response.text, 'x'.repeat(size));
    }
    assert.equal(lab.server('s1').arrivals.length, 1);
  });

  test('Connection: close of the client is obeyed', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    const response = await client.request('/', { headers: { Connection: 'close' } });
    assert.match(response.get('connection'), /close/);
    assert.equal(await client.isClosed(), 'fin');
  });

  test('a client that breaks its promise to close still gets its whole answer', async (t) => {
    // What it says behind its last request lies unread when the answer ends: a bare close would be a reset.
    const big = 'x'.repeat(3000000);
    const lab = await Lab.start(t, { servers: { s1: answering(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length}\r\n\r\n${big}`) } });
    const client = await lab.connect();
    await client.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    await client.readUntil('\r\n\r\n');
    for (let i = 0; i < 5; i++) await client.write('and one more thing ');
    const body = await client.readAll();
    assert.equal(body.length, big.length);
    assert.equal(await client.isClosed(), 'fin');
  });

  test('Connection: close of the server closes only its own connection', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: answering('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok', 'close') } });
    const client = await lab.connect();
    for (let i = 0; i < 3; i++) {
      const response = await client.request('/');
      assert.equal(response.text, 'ok');
      assert.equal(response.get('connection'), undefined);
    }
    assert.equal(lab.server('s1').arrivals.length, 3);
  });

  test('a client of HTTP/1.0 is closed unless it asks to be kept', async (t) => {
    const lab = await Lab.start(t);
    const closing = await lab.connect();
    await closing.request('/', { version: '1.0' });
    assert.equal(await closing.isClosed(), 'fin');
    const kept = await lab.connect();
    for (let i = 0; i < 3; i++) {
      const response = await kept.request('/', { version: '1.0', headers: { Connection: 'keep-alive' } });
      assert.match(response.get('connection'), /keep-alive/i);
    }
    const version = (await lab.server('s1').request('/')).version;
    assert.equal(version, 'HTTP/1.1');
  });

  test('a client of HTTP/1.0 gets a chunked response without its chunks', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n') } });
    for (const headers of [{}, { Connection: 'keep-alive' }]) {
      const response = await lab.request('/', { version: '1.0', headers });
      assert.equal(response.get('transfer-encoding'), undefined);
      assert.ok(response.isUntilClose);
      assert.equal(response.text, 'hello world');
    }
  });

  test('a client of HTTP/1.0 needs no Host', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.raw('GET /old HTTP/1.0\r\n\r\n');
    assert.equal((await client.response()).status, 200);
  });

  test('pipelined requests are answered in order, each by the server of its cookie', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {}, s3: {} }, pools: { app: { hash: { key: ['cookie:user'] } } } });
    const users = Array.from({ length: 40 }, (_, i) => `user-${i}`);
    const ranks = await lab.ranks('app', users);
    const client = await lab.connect();
    await client.write(Buffer.concat(users.map((user) => requestText(`/${user}`, { headers: { Cookie: `a=b; user=${user}` } }))));
    for (const user of users) {
      const response = await client.response();
      assert.equal(response.json().target, `/${user}`);
      assert.equal(response.server, ranks.get(user)[0]);
    }
    assert.equal(new Set([...ranks.values()].map(([first]) => first)).size, 3);
  });

  test('pipelined requests with bodies are kept apart', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    const bodies = Array.from({ length: 10 }, (_, i) => `body ${i} `.repeat(i * 700 + 1));
    await client.write(Buffer.concat(bodies.map((body) => requestText('/echo', { method: 'POST', body }))));
    for (const body of bodies) assert.equal((await client.response()).text, body);
  });

  test('nothing is answered behind a request that ends the connection', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write(Buffer.concat([requestText('/first', { headers: { Connection: 'close' } }), requestText('/second')]));
    assert.equal((await client.response()).json().target, '/first');
    assert.equal((await client.readAll()).length, 0);
    assert.equal(lab.server('s1').requests.length, 1);
  });

  test('a client that says FIN behind its request still gets a finite response', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Length': 3 * MiB });
      for (let i = 0; i < 3; i++) await answer.write(Buffer.alloc(MiB, 'x'));
    } } } });
    const client = await lab.connect();
    await client.send('/');
    await client.responseHead();
    client.end();
    assert.equal((await client.read(3 * MiB)).length, 3 * MiB);
  });

  for (const [who, headers] of [['a client', {}], ['a client that said Connection: close', { Connection: 'close' }]]) test(`${who} that leaves while it waits for a response frees the server`, async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: (request, answer) => answer.isGone } } });
    const client = await lab.connect();
    await client.send('/waits', { headers });
    await lab.server('s1').request('/waits');
    client.destroy();
    await lab.server('s1').until(() => lab.server('s1').arrivals.every((one) => one.isClosed), 'the server connection to end');
    await lab.logs({ path: '/waits', end: (end) => end === END.clientClosed || end === END.clientReset });
  });

  test('a client that leaves in the middle of its body frees the server', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write('POST /half HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf');
    await lab.server('s1').receives('half');
    client.reset();
    await lab.server('s1').until(() => lab.server('s1').arrivals.every((one) => one.isClosed), 'the server connection to end');
    assert.ok(!lab.server('s1').requests[0].isWhole);
  });

  test('long-polling is passed on at once, head and bytes', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      lab.polls = answer;
      lab.changed();
      await answer.head(200, { 'Content-Length': 6 });
      await answer.write('one');
      await new Promise((resolve) => { lab.goOn = resolve; });
      await answer.write('two');
    } } } });
    const client = await lab.connect();
    await client.send('/poll');
    assert.equal((await client.responseHead()).status, 200);
    assert.equal((await client.read(3)).toString(), 'one'); // the server waits for us: nothing is held back
    lab.goOn();
    assert.equal((await client.read(3)).toString(), 'two');
  });

  test('a request body is passed on as it comes', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\n');
    await lab.server('s1').request('/echo');
    await client.write('one');
    await lab.server('s1').receives('one');
    await client.write('two');
    assert.equal((await client.response()).text, 'onetwo');
  });

  test('a reused server connection that dies before any answer costs one retry on a fresh one', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { kind: 'raw', script: async (connection, origin) => {
      const number = origin.arrivals.length;
      await connection.readUntil('\r\n\r\n');
      await connection.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${number}`);
      await connection.readUntil('\r\n\r\n'); // the second request on this connection
      connection.reset();
    } } } });
    const client = await lab.connect();
    assert.equal((await client.request('/first')).text, '1');
    const second = await client.request('/second');
    assert.equal(second.status, 200);
    assert.equal(second.text, '2');
    const line = await lab.logs({ path: '/second' });
    assert.equal(line.retries, 1);
  });

  test('a request that is not idempotent is not repeated', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { kind: 'raw', script: async (connection) => {
      await connection.readUntil('\r\n\r\n');
      await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      await connection.readUntil('\r\n\r\n');
      connection.reset();
    } } } });
    const client = await lab.connect();
    assert.equal((await client.request('/first')).text, 'ok');
    await client.request('/second', { method: 'POST', headers: { 'Content-Length': '0' } });
    assert.equal(lab.server('s1').text.match(/POST \/second/g).length, 1);
  });

  test('a request that is not idempotent takes a fresh connection when the other was idle for over 1 s', async (t) => {
    const lab = await Lab.start(t, { workers: 1 });
    const client = await lab.connect();
    await client.request('/first');
    await new Promise((resolve) => setTimeout(resolve, 1200)); // the rule itself is about time
    await client.request('/get');
    assert.equal(lab.server('s1').arrivals.length, 1);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await client.request('/post', { method: 'POST', body: 'x' });
    assert.equal(lab.server('s1').arrivals.length, 2);
  });

  test('a server that announces its timeout is not used in its last second', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: answering('HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok') } });
    const client = await lab.connect();
    for (let i = 1; i <= 3; i++) {
      await client.request('/');
      await lab.server('s1').until(() => lab.server('s1').arrivals.filter((one) => one.isEnded || one.isClosed).length === i, 'limpet to close its side');
    }
  });

  test('a fresh server connection that dies before any answer is not repeated', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { kind: 'raw', script: async (connection) => { await connection.readUntil('\r\n\r\n'); connection.reset(); } } } });
    assert.equal((await lab.request('/once')).status, 502);
    assert.equal(lab.server('s1').arrivals.length, 1);
  });

  test('an idle server connection that the server closed is not used again', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { kind: 'raw', script: async (connection) => {
      await connection.readUntil('\r\n\r\n');
      await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      connection.end();
    } } } });
    const client = await lab.connect();
    for (let i = 1; i <= 3; i++) {
      assert.equal((await client.request('/', { method: 'POST', body: 'x' })).text, 'ok');
      await lab.server('s1').until(() => lab.server('s1').arrivals.filter((one) => one.isEnded || one.isClosed).length === i, 'limpet to let go of the closed connection');
    }
  });

  test('a server killed in the middle of a response with a length ends the client connection short', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf', 'reset') } });
    const client = await lab.connect();
    await client.send('/cut');
    const head = await client.responseHead().catch(() => null);
    const rest = await client.readAll();
    assert.ok(head === null || rest.length < 100, 'never a whole body');
    await lab.logs({ path: '/cut', end: (end) => end === END.serverReset || end === END.serverClosed });
  });

  test('a server that closes in the middle of chunks never looks whole to the client', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', 'close') } });
    const client = await lab.connect();
    await client.send('/cut');
    const all = (await client.readAll()).toString();
    assert.match(all, /hello/);
    assert.doesNotMatch(all, /\r\n0\r\n/);
    await lab.logs({ path: '/cut', end: END.serverClosed });
  });

  test('a request without a matching route is 404', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { routes: [{ match: { path: '/known' }, pool: 'app' }] } } });
    const client = await lab.connect();
    assert.equal((await client.request('/unknown')).status, 404);
    assert.equal((await client.request('/known/x')).status, 200);
    await lab.logs({ path: '/unknown', end: END.noRoute, status: 404 });
  });

  test('routes match host, path and upgrade in their order', async (t) => {
    const lab = await Lab.start(t, {
      servers: { s1: {}, s2: {}, s3: {}, s4: {} },
      pools: { one: ['s1'], two: ['s2'], three: ['s3'], four: ['s4'] },
      listeners: { web: { routes: [
        { match: { host: 'chat.example.com', path: '/ws/', upgrade: 'websocket' }, pool: 'one' },
        { match: { host: '*.example.com' }, pool: 'two' },
        { match: { path: '/api' }, pool: 'three' },
        { match: { path_exact: '/exact' }, pool: 'one' },
        { pool: 'four' },
      ] } },
    });
    const client = await lab.connect();
    const to = async (target, host = 'x') => (await client.request(target, { headers: { Host: host } })).server;
    assert.equal(await to('/', 'chat.example.com'), 's2');
    assert.equal(await to('/', 'CHAT.Example.COM.:80'), 's2');
    assert.equal(await to('/', 'a.b.example.com'), 's2');
    assert.equal(await to('/', 'example.com'), 's4');
    assert.equal(await to('/api'), 's3');
    assert.equal(await to('/api/x?y'), 's3');
    assert.equal(await to('/apix'), 's4');
    assert.equal(await to('/x/../api'), 's3');
    assert.equal(await to('//a%70i//x'), 's3');
    assert.equal(await to('/exact'), 's1');
    assert.equal(await to('/exact/x'), 's4');
    const ws = await lab.websocket('/ws/room', { headers: { Host: 'chat.example.com' } });
    assert.equal(ws.server, 's1');
    assert.equal((await lab.server('s3').request('/x/../api')).target, '/x/../api'); // raw it goes on
  });
});

describe('heads', { concurrency: 4 }, () => {
  test('absolute-form is forwarded in origin form and its authority wins', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.raw('GET http://real.example:81/p?q=1 HTTP/1.1\r\nHost: other\r\n\r\nGET http://bare.example HTTP/1.1\r\nHost: bare.example\r\n\r\n');
    const first = await client.response();
    assert.equal(first.json().target, '/p?q=1');
    assert.deepEqual(describedFields(first, 'host'), ['real.example:81']);
    assert.equal((await client.response()).json().target, '/');
  });

  test('OPTIONS * reaches the server as it is', async (t) => {
    const lab = await Lab.start(t);
    assert.equal((await lab.request('*', { method: 'OPTIONS' })).json().target, '*');
  });

  test('CONNECT is refused with 405', async (t) => {
    const lab = await Lab.start(t);
    const response = await lab.request('example.com:443', { method: 'CONNECT' });
    assert.equal(response.status, 405);
    await lab.logs({ status: 405, end: END.methodRefused });
    assert.equal(lab.server('s1').requests.length, 0);
  });

  test('an unknown method is forwarded', async (t) => {
    const lab = await Lab.start(t);
    assert.equal((await lab.request('/', { method: 'PROPFIND' })).json().method, 'PROPFIND');
  });

  test('forwarded fields of an untrusted peer are replaced', async (t) => {
    const lab = await Lab.start(t);
    const response = await lab.request('/', { headers: [['Host', 'site.example'], ['X-Forwarded-For', '1.2.3.4'], ['X-Forwarded-Proto', 'https'], ['X-Forwarded-Host', 'evil'], ['X-Real-IP', '1.2.3.4'], ['Forwarded', 'for=1.2.3.4'], ['X_Forwarded_For', '6.6.6.6'], ['x-forwarded_for', '6.6.6.6'], ['X-Real_IP', '6.6.6.6']] });
    assert.deepEqual(describedFields(response, 'x-forwarded-for'), ['127.0.0.1']);
    assert.deepEqual(describedFields(response, 'x-real-ip'), ['127.0.0.1']);
    assert.deepEqual(describedFields(response, 'x-forwarded-proto'), ['http']);
    assert.deepEqual(describedFields(response, 'x-forwarded-host'), ['site.example']);
    assert.deepEqual(describedFields(response, 'forwarded'), []);
    assert.doesNotMatch(response.text, /6\.6\.6\.6|1\.2\.3\.4/);
  });

  test('forwarded fields of a trusted proxy are believed and appended to', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8'] } } });
    const response = await lab.request('/', { headers: [['Host', 'inner'], ['X-Forwarded-For', '6.6.6.6, 203.0.113.9'], ['X-Forwarded-For', '10.1.1.1'], ['X-Forwarded-Proto', 'https'], ['X-Forwarded-Host', 'site.example']] });
    assert.equal(describedFields(response, 'x-forwarded-for').join(', '), '6.6.6.6, 203.0.113.9, 10.1.1.1, 127.0.0.1');
    assert.deepEqual(describedFields(response, 'x-real-ip'), ['203.0.113.9']);
    assert.deepEqual(describedFields(response, 'x-forwarded-proto'), ['https']);
    assert.deepEqual(describedFields(response, 'x-forwarded-host'), ['site.example']);
  });

  test('X-Request-ID is made, or passed on', async (t) => {
    const lab = await Lab.start(t);
    const made = describedFields(await lab.request('/a'), 'x-request-id');
    assert.equal(made.length, 1);
    assert.ok(made[0].length >= 8);
    const other = describedFields(await lab.request('/b'), 'x-request-id');
    assert.notEqual(other[0], made[0]);
    assert.deepEqual(describedFields(await lab.request('/c', { headers: { 'X-Request-ID': 'mine-1' } }), 'x-request-id'), ['mine-1']);
    await lab.logs({ path: '/c', id: 'mine-1' });
  });

  test('hop-by-hop fields and those that Connection names go no further, both ways', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      await answer.respond(200, { Connection: 'X-Inner, keep-alive', 'X-Inner': 'secret', 'Keep-Alive': 'timeout=5', 'Proxy-Connection': 'keep-alive', 'X-Kept': 'yes', 'Proxy-Authenticate': 'Basic' }, JSON.stringify(request.describe('s1', Buffer.alloc(0))));
    } } } });
    const response = await lab.request('/', { headers: { Connection: 'X-Secret, X-Forwarded-For', 'X-Secret': 'a', 'Keep-Alive': '5', 'Proxy-Connection': 'x', TE: 'trailers', 'X-Kept': 'yes', Upgrade: 'h2c', 'HTTP2-Settings': 'AAA' } });
    for (const name of ['x-secret', 'keep-alive', 'proxy-connection', 'te', 'upgrade', 'http2-settings']) {
      assert.deepEqual(describedFields(response, name), [], name);
    }
    assert.deepEqual(describedFields(response, 'x-kept'), ['yes']);
    assert.deepEqual(describedFields(response, 'x-forwarded-for'), ['127.0.0.1']);
    for (const name of ['x-inner', 'keep-alive', 'proxy-connection']) assert.equal(response.get(name), undefined, name);
    assert.equal(response.get('x-kept'), 'yes');
  });

  test('a head just under the limit passes and one above is 431', async (t) => {
    const lab = await Lab.start(t, { limits: { head: '4KiB', headers: 20 } });
    assert.equal((await lab.request('/', { headers: { 'X-Big': 'x'.repeat(3900) } })).status, 200);
    assert.equal((await lab.request('/', { headers: { 'X-Big': 'x'.repeat(4200) } })).status, 431);
    const many = (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`X-${i}`, 'v']));
    assert.equal((await lab.request('/', { headers: many(19) })).status, 200); // with Host: 20
    assert.equal((await lab.request('/', { headers: many(20) })).status, 431);
    await lab.logs({ status: 431, end: END.headTooLarge });
  });

  test('cookies and fields with any legal byte go on unchanged', async (t) => {
    const lab = await Lab.start(t);
    const value = Buffer.from(Array.from({ length: 0x5f }, (_, i) => 0x20 + i)).toString('latin1').trim() + '\u00e4\u00ff\tx';
    const response = await lab.request('/', { headers: { Cookie: value, 'X-Any': value } });
    assert.deepEqual(describedFields(response, 'cookie'), [value]);
    assert.deepEqual(describedFields(response, 'x-any'), [value]);
  });

  test('several Set-Cookie fields stay several', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: answering('HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n') } });
    assert.deepEqual((await lab.request('/')).all('set-cookie'), ['a=1', 'b=2']);
  });
});
