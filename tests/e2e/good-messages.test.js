'use strict';
// Messages that are good whatever stands in them: what the RFCs say to ignore or to drop is no
// reason to refuse. What is ambiguous stays refused: hostile.test.js.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Lab, assert } = require('./lab');
const { acceptOf, makeKey } = require('./frames');

/** A server that answers each target with these bytes. */
const says = (answers) => {
  const handle = async (request, out) => {
    if (!(request.target in answers)) return false;
    await request.body;
    const key = request.get('sec-websocket-key');
    await out.write(Buffer.from(answers[request.target].replace('ACCEPT', key ? acceptOf(key) : ''), 'latin1'));
    return true;
  };
  return { handle, handleUpgrade: handle };
};
const FRAMED = ['Content-Length: 5', 'Transfer-Encoding: chunked', 'Content-Length: 5\r\nContent-Length: 6',
  'Content-Length: 5\r\nTransfer-Encoding: chunked'];
const AWAITING = { method: 'POST', headers: { Host: 'a', Expect: '100-continue' }, body: 'x' };
const SMALL = 'Content-Length: 2\r\n\r\nok';
const frames = (response) => [...response.all('content-length'), ...response.all('transfer-encoding')];

describe('good messages', { concurrency: 4 }, () => {
  for (const lines of FRAMED) {
    const said = lines.replace('\r\n', ', ');

    test(`a 204, 103 and 100 with ${said} end with their heads`, async (t) => {
      const lab = await Lab.start(t, { servers: { s1: says({
        '/204': `HTTP/1.1 204 Nothing\r\n${lines}\r\nX-A: b\r\n\r\n`,
        '/103': `HTTP/1.1 103 Hints\r\n${lines}\r\nLink: </a>\r\n\r\nHTTP/1.1 200 Fine\r\n${SMALL}`,
        '/100': `HTTP/1.1 100 Go\r\n${lines}\r\n\r\nHTTP/1.1 200 Fine\r\n${SMALL}`,
      }) } });
      const client = await lab.connect();
      const nothing = await client.request('/204');
      assert.equal(nothing.status, 204);
      assert.deepEqual([...frames(nothing), nothing.get('x-a')], ['b']);
      for (const target of ['/103', '/100']) {
        const response = await client.request(target, target === '/100' ? AWAITING : {});
        assert.equal(response.text, 'ok');
        assert.deepEqual(response.informational.flatMap(frames), []);
        if (target === '/103') assert.equal(response.informational[0].get('link'), '</a>');
      }
      assert.equal((await client.request('/next')).json().target, '/next', 'the client goes on');
    });

    test(`a 101 with ${said} opens a WebSocket`, async (t) => {
      const lab = await Lab.start(t, { servers: { s1: says({
        '/ws': `HTTP/1.1 101 Switching Protocols\r\n${lines}\r\nConnection: Upgrade\r\n`
          + 'Upgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n\x81\x02hi',
      }) } });
      const socket = await lab.rawWebSocket('/ws');
      assert.equal(socket.response.status, 101);
      assert.deepEqual(frames(socket.response), []);
      assert.equal((await socket.client.read(4)).toString('latin1'), '\x81\x02hi');
    });
  }

  test('after a 204 that frames a body its connection has no second request', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: says({
      '/plain': 'HTTP/1.1 204 Nothing\r\n\r\n', '/odd': 'HTTP/1.1 204 Nothing\r\nContent-Length: 5\r\n\r\n',
      '/zero': 'HTTP/1.1 204 Nothing\r\nContent-Length: 0\r\n\r\n',
    }) } });
    const client = await lab.connect();
    const arrivals = [];
    for (const target of ['/plain', '/zero', '/odd', '/next']) {
      await client.request(target);
      arrivals.push((await lab.server('s1').request(target)).arrival);
    }
    assert.deepEqual(arrivals.map((arrival) => arrival === arrivals[0]), [true, true, true, false]);
  });

  test('of two Content-Length lines of a response that say the same one goes on', async (t) => {
    const TWICE = 'Content-Length: 2\r\nX-A: b\r\ncontent-length: 2\r\nContent-Length:  2 \r\n\r\n';
    const same = (status, text) => `HTTP/1.1 ${status} Fine\r\n${TWICE}${text}`;
    const answers = { '/get': same(200, 'ok'), '/head': same(200, ''), '/304': same(304, '') };
    const lab = await Lab.start(t, { servers: { s1: says(answers) } });
    const client = await lab.connect();
    for (const [target, method, text] of [['/get', 'GET', 'ok'], ['/head', 'HEAD', ''], ['/304', 'GET', '']]) {
      const response = await client.request(target, { method });
      assert.deepEqual(response.fields, [['Content-Length', '2'], ['X-A', 'b']]);
      assert.equal(response.text, text);
    }
    const refused = await lab.raw('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok');
    assert.equal((await refused.response()).status, 400, 'a request is still refused');
  });

  test('a status of 600 to 999 goes on', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: says({
      '/600': `HTTP/1.1 600 Six\r\n${SMALL}`, '/999': `HTTP/1.1 999 \r\n${SMALL}`, '/799': `HTTP/1.1 799\r\n${SMALL}`,
    }) } });
    const client = await lab.connect();
    for (const status of [600, 999, 799]) {
      const response = await client.request(`/${status}`);
      assert.deepEqual([response.status, response.text], [status, 'ok']);
      await lab.logs({ path: `/${status}`, status });
    }
  });

  test('trailers of a response may be called as fields of requests are', async (t) => {
    const TRAILERS = ['Host', 'X-Request-ID', 'X-Forwarded-For', 'X-Real-IP', 'Forwarded', 'Cookie', 'Expect', 'Origin',
      'TE', 'X_Forwarded_For', 'ETag'];
    const REFUSED = ['Content-Length', 'Transfer-Encoding', 'Connection', 'Keep-Alive', 'Upgrade', 'Proxy-Connection'];
    const answers = Object.fromEntries([...TRAILERS, ...REFUSED].map((name) => [`/${name}`,
      `HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${name}: 1\r\n\r\n`]));
    const lab = await Lab.start(t, { servers: { s1: says(answers) } });
    const client = await lab.connect();
    for (const name of TRAILERS) {
      const response = await client.request(`/${name}`);
      assert.deepEqual(response.trailers, [[name, '1']]);
    }
    for (const name of REFUSED) {
      const cut = await lab.connect();
      await cut.send(`/${name}`);
      await assert.rejects(cut.response(), /the connection ended/, name);
    }
    for (const name of ['Host', 'X-Forwarded-For', 'Cookie']) {
      const bad = await lab.raw(`POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
        + `2\r\nok\r\n0\r\n${name}: 1\r\n\r\n`);
      assert.equal((await bad.response()).status, 400, `${name} in a request is refused`);
    }
  });

  test('HTTP/1.0 without Host goes to its server with the server\'s address, each try', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-host-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const lab = await Lab.start(t, {
      servers: { s1: {}, s2: { path: path.join(folder, 'in.sock') } },
      pools: { app: ['s1'], unix: ['s2'] },
      listeners: { web: { routes: [{ match: { path: '/unix' }, pool: 'unix' }, { pool: 'app' }] } },
    });
    for (const head of [
      'GET /a HTTP/1.0\r\n\r\n', 'GET /b HTTP/1.0\r\nX-A: b\r\n\r\n', 'GET /c HTTP/1.0\r\nHost:\r\n\r\n',
      `GET /d HTTP/1.0\r\nX-A: ${'b'.repeat(12000)}\r\n\r\n`, 'GET http://named.test/e HTTP/1.0\r\n\r\n',
      'GET /f HTTP/1.0\r\nHost: own.test\r\n\r\n',
    ]) {
      const target = /\/[a-f](?= )/.exec(head)[0];
      assert.equal((await (await lab.raw(head)).response()).status, 200, target);
      const request = await lab.server('s1').request(target);
      const wanted = { '/e': 'named.test', '/f': 'own.test' }[target] ?? `127.0.0.1:${lab.server('s1').port}`;
      assert.deepEqual(request.all('host'), [wanted], target);
      assert.equal(request.get('x-forwarded-host'), { '/e': 'named.test', '/f': 'own.test' }[target]);
    }
    await (await lab.raw('GET /unix HTTP/1.0\r\n\r\n')).response();
    assert.deepEqual((await lab.server('s2').request('/unix')).all('host'), ['localhost']);
  });

  test('HTTP/1.0 without Host is tried again with the other server\'s address', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { isDown: true }, s2: {} } });
    for (let i = 0; i < 8; i++) {
      assert.equal((await (await lab.raw(`GET /${i} HTTP/1.0\r\n\r\n`)).response()).status, 200);
      assert.deepEqual((await lab.server('s2').request(`/${i}`)).all('host'), [`127.0.0.1:${lab.server('s2').port}`]);
    }
  });

  test('Host may be empty, and its port, too', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, pools: { named: ['s1'], app: ['s2'] },
      listeners: { web: { routes: [{ match: { host: 'a.test' }, pool: 'named' }, { pool: 'app' }] } } });
    for (const [host, server] of [['', 's2'], ['a.test:', 's1'], ['[::1]:', 's2']]) {
      const target = `/${host.length}`;
      const client = await lab.raw(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
      assert.equal((await client.response()).status, 200, host);
      assert.deepEqual((await lab.server(server).request(target)).all('host'), [host]);
    }
    for (const host of [':', ':80', 'a:b', 'a::', '[::1]::']) {
      assert.equal((await (await lab.raw(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).response()).status, 400, host);
    }
  });

  test('a 426 keeps its Upgrade', async (t) => {
    const body = 'Upgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade\r\n';
    const lab = await Lab.start(t, { servers: { s1: says({
      '/426': `HTTP/1.1 426 Needed\r\n${body}${SMALL}`, '/200': `HTTP/1.1 200 Fine\r\n${body}${SMALL}`,
      '/bare': `HTTP/1.1 426 Needed\r\n${SMALL}`,
    }) } });
    for (const [target, close, wanted] of [
      ['/426', false, 'upgrade'], ['/426', true, 'upgrade, close'],
      ['/200', false, undefined], ['/bare', false, undefined],
    ]) {
      const response = await lab.request(target, { headers: { Host: 'a', ...(close ? { Connection: 'close' } : {}) } });
      assert.equal(response.get('connection'), wanted);
      assert.equal(response.get('upgrade'), target === '/426' ? 'TLS/1.2, HTTP/1.1' : undefined);
      assert.equal(response.text, 'ok');
    }
  });

  test('HTTP/1.0 is told chunked in no answer', async (t) => {
    const chunked = (status, text) => `HTTP/1.1 ${status} Fine\r\nTransfer-Encoding: chunked\r\n\r\n${text}`;
    const whole = chunked(200, '2\r\nok\r\n0\r\n\r\n');
    const answers = { '/head': chunked(200, ''), '/304': chunked(304, ''), '/get': whole };
    const lab = await Lab.start(t, { servers: { s1: says(answers) } });
    for (const [target, method, text] of [['/head', 'HEAD', ''], ['/304', 'GET', ''], ['/get', 'GET', 'ok']]) {
      const client = await lab.raw(`${method} ${target} HTTP/1.0\r\nHost: a\r\n\r\n`);
      const response = await client.response({ method });
      assert.deepEqual(frames(response), [], target);
      assert.equal(response.text, text);
      const modern = await lab.request(target, { method });
      assert.deepEqual(frames(modern), ['chunked'], target);
    }
  });

  test('HTTP/1.2 to 1.9 are served as 1.1, on both sides', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: says({ '/old': `HTTP/1.9 200 Fine\r\n${SMALL}` }) } });
    const client = await lab.connect();
    for (const minor of [2, 9]) {
      await client.write(`POST /${minor} HTTP/1.${minor}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
        + '2\r\nok\r\n0\r\n\r\n');
      const response = await client.response();
      assert.equal(response.first, 'HTTP/1.1 200 OK');
      const request = await lab.server('s1').request(`/${minor}`);
      assert.equal(request.first, `POST /${minor} HTTP/1.1`);
      assert.equal((await request.body).toString(), 'ok');
    }
    assert.equal((await client.request('/old')).first, 'HTTP/1.1 200 Fine');
    const key = makeKey();
    await client.write('GET /ws HTTP/1.3\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
      + `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`);
    assert.equal((await client.response()).status, 101);
  });

  test('limits.head counts for responses', async (t) => {
    const head = (status, bytes) => `HTTP/1.1 ${status} Fine\r\nX-A: ${'b'.repeat(bytes)}\r\nContent-Length: 0\r\n\r\n`;
    const lab = await Lab.start(t, { limits: { head: '2KiB' }, servers: { s1: says({
      '/small': head(200, 1500), '/large': head(200, 2100), '/304': head(304, 2100),
      '/hints': `${head(103, 2100)}${head(200, 1)}`,
    }) } });
    assert.equal((await lab.request('/small')).status, 200);
    for (const [target, method] of [['/large', 'GET'], ['/large', 'HEAD'], ['/304', 'GET'], ['/hints', 'GET']]) {
      assert.equal((await lab.request(target, { method })).status, 502, `${method} ${target}`);
    }
    await lab.logs({ path: '/large', status: 502 });
  });
});
