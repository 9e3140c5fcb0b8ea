'use strict';
// Which server takes a request, and what happens when it does not: hashing, balancing, retries.

const { describe, test } = require('node:test');
const { Lab, END, assert } = require('./lab');
const { fillBacklog } = require('./blackhole');

const three = { s1: {}, s2: {}, s3: {} };
const five = { s1: {}, s2: {}, s3: {}, s4: {}, s5: {} };
const hashBy = (key, more = {}) => ({ app: { balance: 'hash', hash: { key, ...more } } });
const users = (count, word = 'user') => Array.from({ length: count }, (_, i) => `${word}-${i}`);

describe('hash', { concurrency: 4 }, () => {
  test('requests of one connection with different cookies go to the servers that `where` says', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: hashBy(['cookie:user']) });
    const keys = users(200);
    const ranks = await lab.ranks('app', keys);
    const client = await lab.connect();
    const seen = new Set();
    for (const key of keys) {
      const response = await client.request('/', { headers: { Cookie: `theme=dark; user=${key}` } });
      assert.equal(response.server, ranks.get(key)[0], key);
      seen.add(response.server);
    }
    assert.equal(seen.size, 5);
    assert.equal(client.ended, undefined);
    for (const key of keys.slice(0, 30)) { // the same on other connections, so on other workers
      assert.equal((await lab.request('/', { headers: { Cookie: `user=${key}` } })).server, ranks.get(key)[0]);
    }
  });

  test('the same key finds the same server after a reload, a restart and on a second limpet', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: hashBy(['header:X-Room']) });
    const other = await Lab.start(t, { servers: lab.servers, pools: { app: { hash: { key: ['header:X-Room'] }, servers: ['s5', 's3', 's1', 's2', 's4'] } } });
    const rooms = users(40, 'room');
    const homes = new Map();
    const ask = async (which, room) => (await which.request('/', { headers: { 'X-Room': room } })).server;
    for (const room of rooms) homes.set(room, await ask(lab, room));
    for (const room of rooms) assert.equal(await ask(other, room), homes.get(room), 'another order of servers, another node');
    assert.ok((await lab.reload((config) => { config.pools.app.retries = 1; })).isDone);
    for (const room of rooms) assert.equal(await ask(lab, room), homes.get(room));
    await lab.restart();
    for (const room of rooms) assert.equal(await ask(lab, room), homes.get(room));
  });

  test('header, query and path are keys', async (t) => {
    const lab = await Lab.start(t, {
      servers: five,
      pools: {
        header: { hash: { key: ['header:X-User'] } }, query: { hash: { key: ['query:room'] } }, path: { hash: { key: ['path'] } },
      },
      listeners: { web: { routes: [{ match: { path: '/header' }, pool: 'header' }, { match: { path: '/query' }, pool: 'query' }, { pool: 'path' }] } },
    });
    const keys = users(30);
    const client = await lab.connect();
    const byHeader = await lab.ranks('header', keys);
    const byQuery = await lab.ranks('query', [...keys, 'a%20b']);
    const byPath = await lab.ranks('path', keys.map((key) => `/p/${key}`));
    for (const key of keys) {
      assert.equal((await client.request('/header', { headers: [['x-user', key], ['X-User', 'second']] })).server, byHeader.get(key)[0]);
      assert.equal((await client.request(`/query?x=1&room=${key}&room=other`)).server, byQuery.get(key)[0]);
      assert.equal((await client.request(`/x/..//p/./${key}?ignored`)).server, byPath.get(`/p/${key}`)[0]);
    }
    assert.equal((await client.request('/query?room=a%20b')).server, byQuery.get('a%20b')[0]); // raw, not decoded
  });

  test('the first source that is present wins and the client address is the last resort', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: hashBy(['cookie:user', 'header:X-User', 'query:u']) });
    const ranks = await lab.ranks('app', users(20));
    const own = await lab.home('app', '127.0.0.1', { kind: 'ip' });
    const client = await lab.connect();
    const home = async (target, headers) => (await client.request(target, { headers })).server;
    for (let i = 0; i < 17; i++) {
      const at = (n) => ranks.get(`user-${i + n}`)[0];
      assert.equal(await home(`/?u=user-${i + 2}`, { Cookie: `user=user-${i}`, 'X-User': `user-${i + 1}` }), at(0));
      assert.equal(await home(`/?u=user-${i + 2}`, { Cookie: 'user=; USER=x', 'X-User': `user-${i + 1}` }), at(1));
      assert.equal(await home(`/?u=user-${i + 2}`, {}), at(2));
    }
    assert.equal(await home('/?u=', {}), own);
  });

  test('client addresses hash with their prefix', async (t) => {
    const lab = await Lab.start(t, {
      servers: five, listeners: { web: { trusted_proxies: ['127.0.0.1/32'] } },
      pools: hashBy(['client_ip'], { ipv4_prefix: 24, ipv6_prefix: 48 }),
    });
    const client = await lab.connect();
    const from = async (forwarded) => (await client.request('/', { headers: { 'X-Forwarded-For': forwarded } })).server;
    for (let i = 0; i < 12; i++) {
      const home = await lab.home('app', `192.0.${i}.0`, { kind: 'ip' });
      assert.equal(await from(`192.0.${i}.7`), home);
      assert.equal(await from(`192.0.${i}.250:4711`), home);
      assert.equal(await from(`::ffff:192.0.${i}.9`), home);
      const home6 = await lab.home('app', `2001:db8:${i}::`, { kind: 'ip' });
      assert.equal(await from(`2001:db8:${i}:ffff::1`), home6);
      assert.equal(await from(`[2001:db8:${i}:1::2]:443`), home6);
    }
  });

  test('X-Forwarded-For is walked from the right past trusted proxies only', async (t) => {
    const lab = await Lab.start(t, {
      servers: five, pools: hashBy(['client_ip']),
      listeners: { web: { trusted_proxies: ['127.0.0.1/32', '10.0.0.0/8'] }, distrusting: {} },
    });
    const client = await lab.connect();
    const from = async (forwarded) => (await client.request('/', { headers: forwarded === undefined ? {} : { 'X-Forwarded-For': forwarded } })).server;
    const home = (address) => lab.home('app', address, { kind: 'ip' });
    for (let i = 1; i < 10; i++) {
      assert.equal(await from(`6.6.6.${i}, 203.0.113.${i}, 10.1.1.1, 10.2.2.2`), await home(`203.0.113.${i}`));
      assert.equal(await from(`203.0.113.${i}, garbage, 10.0.0.${i}`), await home(`10.0.0.${i}`)); // an unparsable element stops the walk
      assert.equal(await from(`10.9.9.${i}, 10.1.1.1`), await home(`10.9.9.${i}`)); // all trusted: the leftmost
      const distrusted = await lab.request('/', { listener: 'distrusting', headers: { 'X-Forwarded-For': `203.0.113.${i}` } });
      assert.equal(distrusted.server, await home('127.0.0.1'));
    }
    assert.equal(await from(undefined), await home('127.0.0.1'));
  });

  test('a home that refuses is followed by the next in rank, and the key returns when it is back', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: hashBy(['cookie:user']) });
    const keys = users(40);
    const ranks = await lab.ranks('app', keys);
    await lab.server('s2').kill();
    const client = await lab.connect();
    const ask = async (key) => (await client.request(`/${key}`, { headers: { Cookie: `user=${key}` } })).server;
    for (const key of keys) {
      const [first, second] = ranks.get(key);
      assert.equal(await ask(key), first === 's2' ? second : first, key);
    }
    const moved = keys.find((key) => ranks.get(key)[0] === 's2');
    assert.equal((await lab.logs({ path: `/${moved}` })).retries, 1);
    await lab.server('s2').revive();
    for (const key of keys) assert.equal(await ask(key), ranks.get(key)[0]);
  });

  test('where ranks all servers and skips those that are said to be down', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: hashBy(['cookie:user']) });
    const { runLimpet } = require('./limpet');
    const all = await lab.ranks('app', ['alice', 'bob']);
    for (const names of all.values()) assert.deepEqual([...names].sort(), ['s1', 's2', 's3']);
    const without = await runLimpet(['where', '-c', lab.file, '--down', all.get('alice')[0], 'app', 'alice']);
    assert.equal(without.code, 0, without.stderr);
    assert.deepEqual(without.stdout.split('\n').find((line) => line.startsWith('alice\t')).split('\t').slice(1), all.get('alice').slice(1));
    const second = await runLimpet(['where', '-c', lab.file, '--rank', '2', 'app', 'alice']);
    assert.equal(second.stdout.trim(), `alice\t${all.get('alice')[1]}`);
  });

  test('a secret file seeds the mapping', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: hashBy(['cookie:user']) });
    const keys = users(60);
    const plain = await lab.ranks('app', keys);
    require('node:fs').writeFileSync(`${lab.folder}/seed.key`, 'a secret\n');
    assert.ok((await lab.reload((config) => { config.pools.app.hash.secret_file = `${lab.folder}/seed.key`; })).isDone);
    const seeded = await lab.ranks('app', keys);
    assert.ok(keys.filter((key) => plain.get(key)[0] !== seeded.get(key)[0]).length > 20);
    for (const key of keys) assert.equal((await lab.request('/', { headers: { Cookie: `user=${key}` } })).server, seeded.get(key)[0]);
    assert.doesNotMatch(lab.limpet.complaint(), /a secret/);
  });

  test('a cookie is found in any line and only by its exact name', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: hashBy(['cookie:user']) });
    const ranks = await lab.ranks('app', ['alice', '"bob"', 'a=b', '127.0.0.1']);
    const client = await lab.connect();
    const home = async (...cookies) => (await client.request('/', { headers: cookies.map((value) => ['Cookie', value]) })).server;
    assert.equal(await home('x=1', 'y=2; user=alice'), ranks.get('alice')[0]);
    assert.equal(await home('xuser=eve; user=alice; user=mallory'), ranks.get('alice')[0]);
    assert.equal(await home('user="bob"'), ranks.get('"bob"')[0]);
    assert.equal(await home('a;user=a=b;c'), ranks.get('a=b')[0]);
    assert.equal(await home('User=alice'), await lab.home('app', '127.0.0.1', { kind: 'ip' }));
  });

  test('a server of weight 0 takes no new key and weights shift shares', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: { app: { hash: { key: ['cookie:user'] }, servers: { s1: { weight: 0 }, s2: { weight: 1 }, s3: { weight: 4 } } } } });
    const counts = { s1: 0, s2: 0, s3: 0 };
    const client = await lab.connect();
    for (const key of users(300)) counts[(await client.request('/', { headers: { Cookie: `user=${key}` } })).server]++;
    assert.equal(counts.s1, 0);
    assert.ok(counts.s3 > 2.5 * counts.s2, JSON.stringify(counts));
  });

  test('an id keeps its keys when name and address change', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: { app: { hash: { key: ['cookie:user'] }, servers: { s1: { id: 'alpha' }, s2: {}, s3: {} } } } });
    const keys = users(60);
    const before = await lab.ranks('app', keys);
    assert.ok((await lab.reload((config) => {
      const { s1, ...others } = config.pools.app.servers;
      config.pools.app.servers = { ...others, renamed: s1 };
    })).isDone);
    const after = await lab.ranks('app', keys);
    for (const key of keys) assert.equal(after.get(key)[0], before.get(key)[0].replace('s1', 'renamed'));
  });
});

describe('round_robin and least_connections', { concurrency: 4 }, () => {
  test('round_robin with weights 5:1:1 is smooth', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { a: {}, b: {}, c: {} }, pools: { app: { balance: 'round_robin', servers: { a: { weight: 5 }, b: {}, c: {} } } } });
    const client = await lab.connect();
    const seen = [];
    for (let i = 0; i < 14; i++) seen.push((await client.request('/')).server);
    assert.equal(seen.join(''), 'aabacaaaabacaa');
  });

  test('round_robin spreads over all servers on several workers', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: { app: { balance: 'round_robin' } } });
    const counts = { s1: 0, s2: 0, s3: 0 };
    for (let i = 0; i < 60; i++) counts[(await lab.request('/')).server]++;
    for (const count of Object.values(counts)) assert.ok(count >= 18 && count <= 22, JSON.stringify(counts));
  });

  test('least_connections counts open tunnels', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: { app: { balance: 'least_connections' } } });
    const clients = [];
    for (let i = 0; i < 12; i++) clients.push(await lab.websocket());
    const open = () => ['s1', 's2', 's3'].map((name) => lab.server(name).sockets.size);
    assert.deepEqual(open(), [4, 4, 4]);
    const gone = clients.filter((client) => client.server === 's2');
    for (const client of gone) client.close();
    for (const client of gone) await client.isClosedWith(1005);
    await lab.limpet.until(() => lab.limpet.log.filter((line) => line.event === 'end').length >= 4, 'four ends');
    await lab.server('s2').until(() => lab.server('s2').sockets.size === 0, 'the server to see them');
    for (let i = 0; i < 4; i++) assert.equal((await lab.websocket()).server, 's2');
    assert.deepEqual(open(), [4, 4, 4]);
  });

  test('least_connections weighs', async (t) => {
    const lab = await Lab.start(t, { servers: { a: {}, b: {} }, pools: { app: { balance: 'least_connections', servers: { a: { weight: 3 }, b: { weight: 1 } } } } });
    for (let i = 0; i < 16; i++) await lab.websocket();
    assert.equal(lab.server('a').sockets.size, 12);
    assert.equal(lab.server('b').sockets.size, 4);
  });

  test('least_connections keeps its counts over a reload', async (t) => {
    const lab = await Lab.start(t, { servers: { a: {}, b: {} }, pools: { app: { balance: 'least_connections', servers: ['a'] } } });
    for (let i = 0; i < 6; i++) await lab.websocket();
    assert.ok((await lab.reload((config) => { config.pools.app.servers.b = lab.server('b').address; })).isDone);
    for (let i = 0; i < 6; i++) assert.equal((await lab.websocket()).server, 'b');
  });
});

describe('failing servers', { concurrency: 4 }, () => {
  test('every server that refuses is tried once, at most retries times, then it is 503', async (t) => {
    const lab = await Lab.start(t, { servers: five, pools: { app: { balance: 'round_robin', retries: 2 } } });
    for (const name of ['s1', 's2']) await lab.server(name).refuse();
    for (let i = 0; i < 5; i++) assert.equal((await lab.request(`/ok/${i}`)).status, 200);
    for (const name of ['s3', 's4', 's5']) await lab.server(name).kill();
    const response = await lab.request('/none', { method: 'POST', body: 'x' });
    assert.equal(response.status, 503);
    const line = await lab.logs({ path: '/none' });
    assert.equal(line.end, END.connectFailed);
    assert.equal(line.retries, 2);
  });

  test('retries 0 means one try', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: { app: { hash: { key: ['cookie:user'] }, retries: 0 } } });
    const home = await lab.home('app', 'alice');
    await lab.server(home).kill();
    assert.equal((await lab.request('/', { headers: { Cookie: 'user=alice' } })).status, 503);
  });

  test('an upgrade whose server refuses is tried on the next', async (t) => {
    const lab = await Lab.start(t, { servers: three, pools: hashBy(['query:room']) });
    const [first, second] = (await lab.ranks('app', ['blue'])).get('blue');
    await lab.server(first).refuse();
    const client = await lab.websocket('/?room=blue');
    assert.equal(client.server, second);
    await client.echoes('still there');
  });

  test('a body that came with the request follows it to the next server', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { isDown: true }, s2: {} }, pools: { app: { balance: 'round_robin' } } });
    for (let i = 0; i < 4; i++) {
      const response = await lab.request('/echo', { method: 'POST', body: `body ${i} ${'x'.repeat(5000)}` });
      assert.equal(response.text, `body ${i} ${'x'.repeat(5000)}`);
    }
  });

  test('a connect into a black hole times out to the next server', async (t) => {
    const hole = await fillBacklog(t);
    const lab = await Lab.start(t, { timeouts: { connect: '1s' }, pools: { app: { balance: 'round_robin', servers: { hole: hole.address, s1: {} } }, lonely: { servers: { hole: hole.address } } }, listeners: { web: { routes: [{ match: { path: '/lonely' }, pool: 'lonely' }, { pool: 'app' }] } } });
    for (let i = 0; i < 3; i++) assert.equal((await lab.request(`/${i}`)).server, 's1');
    assert.equal((await lab.request('/lonely')).status, 504);
    const line = await lab.logs({ path: '/lonely' });
    assert.equal(line.end, END.connectTimeout);
    assert.ok(line.total_ms >= 990, `it waited ${line.total_ms} ms`);
  });

  test('a server that never answers is 504 and its connection ends', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { kind: 'silent' } }, timeouts: { response: '400ms' } });
    assert.equal((await lab.request('/silence')).status, 504);
    await lab.logs({ path: '/silence', end: END.responseTimeout });
    await lab.server('s1').until(() => lab.server('s1').arrivals.every((one) => one.isEnded || one.isClosed), 'the server connection to end');
  });

  test('a server killed in the middle of a request body answers for it', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.write('POST /cut HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome');
    await lab.server('s1').receives('some');
    await lab.server('s1').kill();
    const seen = await client.response().then((response) => response.status, () => 'closed');
    assert.ok(seen === 502 || seen === 'closed', String(seen));
    await lab.logs({ path: '/cut', end: (end) => end === END.serverReset || end === END.serverClosed });
  });
});
