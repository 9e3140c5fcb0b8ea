'use strict';
// A server connection is not always stateless: who may speak on one that another request has used, and
// what is looked at before.

const fs = require('node:fs');
const { describe, test } = require('node:test');
const { Lab, assert, eventually } = require('./lab');
const { RawWebSocket } = require('./client');
const pki = require('./pki');

const arrivalOf = (request) => request.arrival.origin.arrivals.indexOf(request.arrival);

/**
 * Authenticates connections as IIS does. Each answer says on which connection (X-Connection) and as whom
 * (X-User) it is given; `challenge` are the fields of its 401.
 */
const authenticates = (challenge = [['WWW-Authenticate', 'Negotiate']], status = 401) => ({
  async handle(request, answer) {
    const body = await request.body;
    const { arrival } = request;
    const credentials = request.all('authorization').find((value) => /^(ntlm|negotiate) /i.test(value));
    if (credentials) arrival.user = credentials.split(' ')[1];
    const fields = [['X-Connection', arrivalOf(request)], ['X-User', arrival.user ?? 'nobody'], ['Content-Length', body.length]];
    const refuses = request.path.startsWith('/private') && !arrival.user;
    const lines = [...fields, ...(refuses ? challenge : [])].map(([name, value]) => `${name}: ${value}\r\n`).join('');
    await answer.write(`HTTP/1.1 ${refuses ? `${status} Unauthorized` : '200 OK'}\r\nX-Server: ${request.arrival.origin.name}\r\n${lines}\r\n${body}`);
  },
  async handleUpgrade(request, answer) {
    if (/ type3$/.test(request.get('authorization') ?? '') && request.arrival.has401) return false;
    request.arrival.has401 = true;
    await answer.respond(401, { 'WWW-Authenticate': 'NTLM TlRM', 'X-Connection': arrivalOf(request) });
    return true;
  },
});
const on = (response) => response.get('x-connection');
const user = (response) => response.get('x-user');
const login = { headers: { Authorization: 'Negotiate bob' } };
const start = (t, { server = authenticates(), ...more } = {}) => Lab.start(t, { workers: 1, servers: { s1: server }, ...more });

/** While limpet stands still: done() happens, so it finds all of it at once. */
async function atOnce(lab, done) {
  const stands = (task) => / T /.test(fs.readFileSync(`/proc/${lab.limpet.pid}/task/${task}/stat`, 'latin1'));
  lab.limpet.signal('SIGSTOP');
  await eventually(() => fs.readdirSync(`/proc/${lab.limpet.pid}/task`).every(stands), 'limpet to stand still');
  await done();
  lab.limpet.signal('SIGCONT');
}

describe('a connection on which a server authenticates its user', { concurrency: 4 }, () => {
  for (const [what, challenge, status] of [
    ['Negotiate', [['WWW-Authenticate', 'Negotiate']]],
    ['ntlm with a token', [['www-authenticate', 'ntlm TlRMTVNTUAACAAAA==']]],
    ['the second of two lines', [['WWW-Authenticate', 'Basic realm="x"'], ['WWW-Authenticate', 'NTLM']]],
    ['the last of a list', [['WWW-Authenticate', 'Digest realm="a \\" b, c", qop="auth,auth-int", NEGOTIATE YII=']]],
    ['a 407', [['Proxy-Authenticate', 'Negotiate']], 407],
  ])
    test(`stays with its client: ${what}`, async (t) => {
      const lab = await start(t, { server: authenticates(challenge, status) });
      const [bob, eve] = [await lab.connect(), await lab.connect()];
      const first = await bob.request('/private');
      assert.equal(first.status, status ?? 401);
      assert.notEqual(on(await eve.request('/private')), on(first), 'nobody else speaks there');
      const second = await bob.request('/private', login);
      assert.equal(on(second), on(first), 'the next step is on the same connection');
      for (let i = 0; i < 3; i++) {
        assert.equal(user(await eve.request('/')), 'nobody');
        assert.equal(user(await bob.request('/private')), 'bob');
      }
      assert.notEqual(on(await eve.request('/')), on(first));
    });

  for (const [what, challenge] of [
    ['Basic', [['WWW-Authenticate', 'Basic realm="NTLM, Negotiate"']]],
    ['a parameter of that name', [['WWW-Authenticate', 'Other a=b, negotiate=c, ntlm = d']]],
    ['a scheme that begins alike', [['WWW-Authenticate', 'NTLMv3, Negotiated']]],
    ['another field', [['X-Authenticate', 'NTLM']]],
  ])
    test(`is anybody's with ${what}`, async (t) => {
      const lab = await start(t, { server: authenticates(challenge) });
      const first = await lab.request('/private');
      assert.equal(first.status, 401);
      assert.equal(on(await lab.request('/')), on(first));
    });

  test('is not known as such only by a challenge: credentials come unasked', async (t) => {
    const lab = await start(t);
    const [bob, eve] = [await lab.connect(), await lab.connect()];
    const anonymous = await eve.request('/');
    const first = await bob.request('/private', { headers: [['Authorization', 'Basic eDp5'], ['authorization', 'negotiate bob']] });
    assert.equal(first.status, 200);
    assert.equal(on(first), on(anonymous), 'until then it was anybody\'s');
    assert.equal(user(await eve.request('/')), 'nobody');
    assert.equal(user(await bob.request('/')), 'bob');
  });

  test('ends with its client, however that ends', async (t) => {
    const lab = await start(t);
    for (const leave of [(client) => client.end(), (client) => client.reset(), (client) => client.write('GET / HTTP/1.1\r\n\r\n'),
      (client) => client.request('/', { headers: { Connection: 'close' } })]) {
      const bob = await lab.connect();
      const arrival = lab.server('s1').arrivals[on(await bob.request('/private', login))];
      await leave(bob);
      await lab.server('s1').until(() => arrival.isEnded || arrival.isClosed, 'its end');
    }
  });

  test('ends when its client becomes a tunnel', async (t) => {
    const lab = await start(t, { servers: { s1: authenticates(), s2: {} }, pools: { app: ['s1'], chat: ['s2'] },
      listeners: { web: { routes: [{ match: { path: '/ws' }, pool: 'chat' }, { pool: 'app' }] } } });
    const bob = await lab.connect();
    const arrival = lab.server('s1').arrivals[on(await bob.request('/private', login))];
    await RawWebSocket.open(bob, '/ws');
    await lab.server('s1').until(() => arrival.isEnded, 'its end');
  });

  test('outlives requests to other pools, which have theirs', async (t) => {
    const lab = await start(t, { servers: { a: authenticates(), b: authenticates() }, pools: { a: ['a'], b: ['b'] },
      listeners: { web: { routes: [{ match: { path: '/private/b' }, pool: 'b' }, { pool: 'a' }] } } });
    const bob = await lab.connect();
    const [a, b] = [await bob.request('/private/a', login), await bob.request('/private/b', { headers: { Authorization: 'NTLM robert' } })];
    for (let i = 0; i < 3; i++) {
      const [again, other] = [await bob.request('/private/a'), await bob.request('/private/b')];
      assert.deepEqual([again.server, on(again), user(again)], ['a', on(a), 'bob']);
      assert.deepEqual([other.server, on(other), user(other)], ['b', on(b), 'robert']);
    }
  });

  test('decides for its server, whatever the balance says', async (t) => {
    const lab = await start(t, { servers: { s1: authenticates(), s2: authenticates() }, pools: { app: { balance: 'round_robin' } } });
    const bob = await lab.connect();
    const first = await bob.request('/private', login);
    for (let i = 0; i < 4; i++) {
      const next = await bob.request('/private', { method: i % 2 ? 'POST' : 'GET', body: i % 2 ? 'mail' : undefined });
      assert.deepEqual([next.server, user(next), next.text], [first.server, 'bob', i % 2 ? 'mail' : '']);
    }
  });

  test('is used for what may not be repeated, too, however long it was idle', async (t) => {
    const lab = await start(t);
    const bob = await lab.connect();
    const first = await bob.request('/private', login);
    await new Promise((resolve) => setTimeout(resolve, 1200)); // more than an anonymous one may have been idle
    const next = await bob.request('/private', { method: 'POST', body: 'mail' });
    assert.deepEqual([next.status, user(next), on(next)], [200, 'bob', on(first)]);
  });

  test('is followed by a fresh one when the server ends it', async (t) => {
    const lab = await start(t);
    for (const method of ['GET', 'POST']) {
      const bob = await lab.connect();
      const first = await bob.request('/private', login);
      lab.server('s1').arrivals[on(first)].socket.end();
      await lab.server('s1').until(() => lab.server('s1').arrivals[on(first)].isClosed, 'its end');
      const next = await bob.request('/private', { method, body: '' });
      assert.equal(next.status, 401);
      assert.equal(user(await bob.request('/private', login)), 'bob');
    }
  });

  test('takes a WebSocket through all steps of NTLM', async (t) => {
    const lab = await start(t);
    const client = await lab.connect();
    const steps = [];
    for (const headers of [{}, { Authorization: 'NTLM type1' }, { Authorization: 'NTLM type3' }])
      steps.push((await RawWebSocket.open(client, '/ws', { headers })).response);
    assert.deepEqual(steps.map((step) => step.status), [401, 401, 101]);
    assert.equal(on(steps[1]), on(steps[0]));
    assert.equal(lab.server('s1').arrivals.length, 1);
  });

  test('is TLS as well', async (t) => {
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const lab = await start(t, { server: { ...authenticates(), tls: { ...pki.server.node, minVersion: version, maxVersion: version } }, pools: { app: { tls: { ca: pki.ca.cert } } } });
      const [bob, eve] = [await lab.connect(), await lab.connect()];
      await bob.request('/private');
      assert.equal(user(await bob.request('/private', login)), 'bob');
      assert.equal(user(await eve.request('/')), 'nobody');
      assert.equal(user(await bob.request('/private', { method: 'POST', body: 'x' })), 'bob');
    }
  });

  test('serves on while its server drains, and closes at the deadline', async (t) => {
    const lab = await start(t, { servers: { s1: authenticates(), s2: authenticates() }, pools: { app: { servers: ['s1'], drain: { deadline: '4s' } } } });
    const [bob, idle] = [await lab.connect(), await lab.connect()];
    const first = await bob.request('/private', login);
    const arrivals = [first, await idle.request('/private', login)].map((response) => lab.server('s1').arrivals[on(response)]);
    const reload = await lab.reload((config) => { config.pools.app.servers = { s2: lab.server('s2').address }; });
    assert.ok(reload.isDone);
    const next = await bob.request('/private');
    assert.deepEqual([next.server, user(next)], ['s1', 'bob']);
    for (const arrival of arrivals) await lab.server('s1').until(() => arrival.isEnded, 'its end');
    assert.deepEqual([(await bob.request('/')).server, (await idle.request('/')).server], ['s2', 's2'], 'the clients stay');
    await eventually(async () => (await lab.reload()).snapshots === 1, 'old snapshots to go');
  });

  test('is given up when its server goes down', async (t) => {
    const quick = { type: 'http', path: '/health', interval: '100ms', timeout: '1s', rise: 1, fall: 1 };
    const ill = new Set();
    const { handle } = authenticates();
    const server = { handle: (request, answer, origin) => (request.path === '/health' ? answer.respond(ill.has(origin.name) ? 500 : 200) : handle(request, answer)) };
    const lab = await start(t, { servers: { s1: server, s2: server }, pools: { app: { balance: 'round_robin', check: quick } } });
    const bob = await lab.connect();
    const first = await bob.request('/private', login);
    ill.add(first.server);
    await lab.says(new RegExp(`server ${first.server} of pool app is down`));
    const next = await bob.request('/');
    assert.notEqual(next.server, first.server);
    assert.equal(user(next), 'nobody');
  });

  test('does not hold up the end of limpet', async (t) => {
    const lab = await start(t, { drain: { delay: '0s', deadline: '10s', spread: '0%' } });
    const bob = await lab.connect();
    await bob.request('/private', login);
    lab.terminate();
    await bob.isClosed();
    await lab.exitsWith(0);
  });
});

describe('a connection that begins with a PROXY header', { concurrency: 4 }, () => {
  const proxied = (more = {}) => ({ server: { ...authenticates(), proxied: true }, pools: { app: { proxy_protocol: 'v2', ...more } } });

  test('stays with its client and is no other\'s', async (t) => {
    const lab = await start(t, proxied());
    const [one, other] = [await lab.connect({ from: '127.0.0.2' }), await lab.connect({ from: '127.0.0.3' })];
    for (let i = 0; i < 3; i++) {
      assert.equal(on(await one.request('/', { method: i % 2 ? 'POST' : 'GET', body: i % 2 ? 'x' : undefined })), '0');
      assert.equal(on(await other.request('/')), '1');
    }
    assert.deepEqual(lab.server('s1').proxied.map((header) => header.source), ['127.0.0.2', '127.0.0.3']);
    one.end();
    await lab.server('s1').until(() => lab.server('s1').arrivals[0].isEnded, 'its end');
  });

  test('does not decide for its server', async (t) => {
    const server = { ...authenticates(), proxied: true };
    const lab = await start(t, { servers: { s1: server, s2: server }, pools: { app: { balance: 'round_robin', proxy_protocol: 'v1' } } });
    const client = await lab.connect();
    const seen = [];
    for (let i = 0; i < 6; i++) seen.push((await client.request('/')).server);
    assert.match(seen.join(''), /^(s1s2){3}$|^(s2s1){3}$/);
    const open = () => ['s1', 's2'].flatMap((name) => lab.server(name).arrivals).filter((arrival) => !arrival.isEnded).length;
    await eventually(() => open() === 1, 'one connection for the pool');
  });

  test('is not kept where idle connections are not wanted', async (t) => {
    const lab = await start(t, proxied({ keep_alive: { idle: 0 } }));
    const client = await lab.connect();
    assert.deepEqual([on(await client.request('/')), on(await client.request('/'))], ['0', '1']);
  });
});

describe('a reused connection that its server has ended already', { concurrency: 4 }, () => {
  const key = Buffer.alloc(16).toString('base64');
  const upgrade = { headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key } };
  const requests = {
    'a PATCH': { method: 'PATCH', body: '12345' },
    'a POST without a body': { method: 'POST', headers: { 'Content-Length': '0' } },
    'a PUT with a body': { method: 'PUT', body: '12345' },
    'an upgrade': upgrade,
  };
  const overTls = { server: { tls: pki.server.node }, pools: { app: { tls: { ca: pki.ca.cert } } } };
  const closes = (socket) => new Promise((resolve) => socket.end(resolve));
  const says = (socket, text) => new Promise((resolve) => socket.write(text, resolve));
  const resets = (socket) => new Promise((resolve) => socket.once('close', resolve).resetAndDestroy());
  const endings = {
    FIN: [closes],
    'a reset': [resets],
    'words and FIN': [(socket) => says(socket, 'HTTP/1.1 408 Request Timeout\r\n\r\n').then(() => closes(socket))],
    close_notify: [closes, overTls],
  };

  for (const [ending, [end, options = {}]] of Object.entries(endings))
    for (const [what, request] of Object.entries(requests)) {
      test(`is not taken for ${what}: ${ending} came with the answer before`, async (t) => {
        const held = [];
        const server = { async handle(one, answer) {
          await one.body;
          await new Promise((resolve) => { held.push(resolve); one.arrival.origin.changed(); });
          await answer.respond(200);
          await end(answer.socket);
          one.arrival.hasEnded = true;
          one.arrival.origin.changed();
        } };
        const lab = await start(t, { ...options, server: { ...server, ...options.server } });
        const origin = lab.server('s1');
        const client = await lab.connect();
        await client.send('/first');
        await client.send('/second', request);
        await origin.until(() => held.length === 1, 'the first request');
        await atOnce(lab, async () => {
          held[0]();
          await origin.until(() => origin.arrivals[0].hasEnded, 'the end');
        });
        assert.equal((await client.response()).status, 200);
        if (request !== upgrade) {
          await origin.until(() => held.length === 2, 'the second request');
          held[1]();
        }
        assert.equal((await client.response()).status, request === upgrade ? 101 : 200);
      });

      test(`is not taken for ${what}: ${ending} came while it was idle`, async (t) => {
        const lab = await start(t, { ...options, server: options.server ?? {} });
        const origin = lab.server('s1');
        const client = await lab.connect();
        assert.equal((await client.request('/first')).status, 200);
        await atOnce(lab, async () => {
          await client.send('/second', request);
          await end(origin.arrivals[0].socket);
        });
        assert.equal((await client.response()).status, request === upgrade ? 101 : 200);
        assert.equal(origin.arrivals.length, 2);
      });
    }
});

describe('last words', { concurrency: 4 }, () => {
  const tcp = { line: { protocol: 'tcp', pool: 'app' } };
  const ways = {
    tcp: {},
    'tcp over TLS': { server: { tls: pki.server.node }, pools: { app: { tls: { ca: pki.ca.cert } } } },
  };

  for (const [way, { server = {}, ...options }] of Object.entries(ways))
    test(`of a server that has had enough of an upload arrive: ${way}`, async (t) => {
      const script = async (connection) => {
        await connection.read(100000);
        connection.pause(); // what still comes is unread, so its close is a reset
        await connection.write('552 too large\r\n');
        connection.destroy();
      };
      const lab = await start(t, { server: { kind: 'raw', script, mayFault: true, ...server }, listeners: tcp, ...options });
      for (let i = 0; i < 20; i++) {
        const client = await lab.connect();
        for (let n = 0; n < 40; n++) client.write(Buffer.alloc(50000, 'x'));
        assert.match((await client.readAll()).toString(), /552 too large/);
      }
    });

  for (const [way, options] of [['tcp', { listeners: tcp }], ['an event stream', {}], ['a response until it closes', {}]])
    test(`of a server arrive before its reset, also those that limpet has just read: ${way}`, async (t) => {
      // Small pieces in a row are read as they come, many at a time.
      const piece = (i) => `data: ${i} ${'x'.repeat(1500)}\n\n`;
      const type = way === 'an event stream' ? 'text/event-stream' : 'text/plain';
      const script = async (connection, origin) => {
        if (way !== 'tcp') await connection.readUntil('\r\n\r\n');
        if (way !== 'tcp') await connection.write(`HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\n\r\n`);
        for (let i = 0; i < 8; i++) {
          await connection.write(`data: ${i}\n\n`);
          await origin.until(() => origin.heard === i, 'the client');
        }
        await new Promise((resolve) => { origin.burst = resolve; origin.changed(); });
        for (let i = 8; i < 20; i++) await connection.write(piece(i));
        connection.reset();
      };
      const lab = await start(t, { ...options, server: { kind: 'raw', script } });
      const origin = lab.server('s1');
      const client = await lab.connect();
      if (way !== 'tcp') await client.send('/');
      for (let i = 0; i < 8; i++) {
        await client.readUntil(`data: ${i}\n\n`);
        origin.heard = i;
        origin.changed();
      }
      await origin.until(() => origin.burst, 'the burst');
      await atOnce(lab, async () => {
        origin.burst();
        await origin.arrivals[0].isGone;
      });
      assert.equal(`data: ${(await client.readAll()).toString('latin1').split('data: ').at(-1)}`, piece(19));
      await lab.limpet.until(() => lab.limpet.log.some((line) => line.end === 'server-reset'), 'the reason');
    });

  test('of a client arrive before its reset, whatever else the server says', async (t) => {
    const script = async (connection) => {
      connection.socket.on('drain', () => {});
      for (let i = 0; i < 40 && !connection.isGone; i++) connection.write(Buffer.alloc(50000, 'x'));
    };
    const lab = await start(t, { listeners: tcp, server: { kind: 'raw', script } });
    const origin = lab.server('s1');
    for (let i = 0; i < 20; i++) {
      const client = await lab.connect();
      await client.read(100000);
      client.pause();
      await client.write('QUIT\r\n');
      client.destroy();
      await origin.until(() => /QUIT/.test(origin.arrivals[i].text), 'the last words');
    }
  });
});
