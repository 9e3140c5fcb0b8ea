'use strict';
// Reloads: nothing closes but what belongs to a server that is gone, and no old configuration stays.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const { Lab, END, assert, eventually } = require('./lab');
const { OP } = require('./frames');

const two = { s1: {}, s2: {} };
const quick = { deadline: '60s', spread: '1%' }; // tunnels have their turn within 600 ms, and time to end

describe('reload', { concurrency: 4 }, () => {
  test('open WebSockets, kept connections, streams and running responses do not notice it', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      if (request.path !== '/stream') return false;
      await answer.head(200, { 'Content-Length': 6 });
      await answer.write('one');
      await new Promise((resolve) => { lab.goOn = resolve; });
      await answer.write('two');
      return true;
    } } } });
    const ws = await lab.websocket();
    const kept = await lab.connect();
    await kept.request('/before');
    const events = lab.eventSource('/sse');
    await events.receives('hello from s1');
    const stream = await lab.connect();
    await stream.send('/stream');
    await stream.readUntil('one');

    const answer = await lab.reload((config) => { config.pools.app.retries = 1; });
    assert.ok(answer.isDone, answer.line);
    assert.match(answer.line, /reload 1 -> 2: \+0 servers?, -0\b.*0 connections closed/);

    await ws.echoes('after');
    assert.equal((await kept.request('/after')).status, 200);
    const [open] = lab.server('s1').streams;
    await open.event('after');
    await events.receives('after');
    assert.equal(events.opens, 1);
    lab.goOn();
    assert.equal((await stream.readUntil('two')).toString(), 'two');
    assert.equal((await lab.reload()).generation, 3);
  });

  test('a broken file keeps the old configuration and says what is wrong', async (t) => {
    const lab = await Lab.start(t);
    const good = fs.readFileSync(lab.file, 'utf8');
    const ws = await lab.websocket();
    for (const broken of ['pools: [', good.replace('pools:', 'pols:'), `${good}nonsense: 1\n`, good.replace('"off"', '"sideways"'), '']) {
      const answer = await lab.reload(broken);
      assert.equal(answer.isDone, false, answer.line);
    }
    assert.match(lab.limpet.stderr.join('\n'), /limpet\.yaml:\d+:\d+: error: /);
    assert.match(lab.limpet.stderr.join('\n'), /did you mean "pools"\?/);
    assert.equal((await lab.request('/')).status, 200);
    await ws.echoes('unharmed');
    fs.rmSync(lab.file);
    const from = lab.limpet.stderr.length;
    lab.limpet.signal('SIGHUP');
    await lab.says(/reload refused|refused.*reload/, from);
    assert.equal((await lab.reload((config) => { config.pools.app.retries = 1; })).generation, 2);
  });

  test('an added server takes its keys and nobody else moves', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: { hash: { key: ['cookie:user'] } } } });
    const keys = Array.from({ length: 80 }, (_, i) => `user-${i}`);
    const before = await lab.ranks('app', keys);
    const s3 = await lab.newServer('s3');
    const answer = await lab.reload((config) => { config.pools.app.servers.s3 = s3.address; });
    assert.match(answer.line, /\+1 server/);
    assert.match(answer.line, /\d+(\.\d+)? % of the key space of pool app moved/);
    const after = await lab.ranks('app', keys);
    let moved = 0;
    for (const key of keys) {
      const server = (await lab.request('/', { headers: { Cookie: `user=${key}` } })).server;
      assert.equal(server, after.get(key)[0]);
      if (server !== before.get(key)[0]) {
        assert.equal(server, 's3');
        moved++;
      }
    }
    assert.ok(moved > 10 && moved < 45, `${moved} moved`);
  });

  test('a removed server takes nothing new and its tunnels get their Close, spread over the drain', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: { balance: 'least_connections', drain: { deadline: '60s', spread: '4%', close_code: 4000 } } } });
    const clients = await Promise.all(Array.from({ length: 40 }, () => lab.websocket('/ws')));
    const leaving = clients.filter((client) => client.server === 's2');
    const staying = clients.filter((client) => client.server === 's1');
    assert.ok(leaving.length >= 10 && staying.length >= 10);
    const started = Date.now();
    assert.match((await lab.reload((config) => { delete config.pools.app.servers.s2; })).line, /-1\b/);
    for (let i = 0; i < 5; i++) assert.equal((await lab.request('/')).server, 's1');
    for (const client of leaving) await client.isClosedWith(4000);
    const times = leaving.map((client) => client.closed.at - started).sort((a, b) => a - b);
    assert.ok(times.at(-1) - times[0] > 500, `paced, not at once: ${times}`);
    await lab.logs({ event: 'end', server: 's2', end: END.serverRemoved });
    for (const client of staying) await client.echoes('mine is still listed');
    assert.equal(lab.server('s2').closes.filter((code) => code !== 4000).length, 0, 'the server hears the code, too');
  });

  test('a request that runs on a removed server is finished', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Length': 6 });
      await answer.write('one');
      await new Promise((resolve) => { lab.goOn = resolve; });
      await answer.write('two');
    } } }, pools: { app: { servers: ['s2'], drain: { deadline: '60s' } } } });
    const client = await lab.connect();
    await client.send('/');
    await client.readUntil('one');
    await lab.reload((config) => { config.pools.app.servers = { s1: lab.server('s1').address }; });
    assert.equal((await lab.request('/')).server, 's1');
    lab.goOn();
    await client.readUntil('two');
    assert.equal((await client.request('/again')).server, 's1');
  });

  test('an event stream of a removed server ends whole', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: { servers: ['s2'], drain: quick } } });
    const client = await lab.connect();
    await client.send('/sse');
    await client.readUntil('hello from s2\n\n\r\n');
    await lab.reload((config) => { config.pools.app.servers = { s1: lab.server('s1').address }; });
    assert.equal((await client.readUntil('0\r\n\r\n')).toString(), '0\r\n\r\n');
    await lab.logs({ event: 'end', class: 'sse', end: END.serverRemoved });
  });

  test('a server that a reload adds is checked and takes traffic only when it is not down', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, dead: { isDown: true } }, pools: { app: { balance: 'round_robin', servers: ['s1'], check: { interval: '100ms', fall: 1, rise: 1 } } } });
    await lab.reload((config) => { config.pools.app.servers.dead = lab.server('dead').address; });
    for (let i = 0; i < 10; i++) assert.equal((await lab.request('/')).server, 's1');
    const from = lab.limpet.stderr.length;
    await lab.server('dead').start();
    await lab.says(/\bdead\b.*\bup\b/, from);
    const names = await Promise.all(Array.from({ length: 6 }, () => lab.request('/').then((response) => response.server)));
    assert.ok(names.includes('dead'));
  });

  test('checks change with a reload', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: (request, answer) => (request.path === '/health' ? answer.respond(500).then(() => true) : false) } }, pools: { app: { check: { type: 'tcp', interval: '100ms' } } } });
    assert.equal((await lab.request('/')).status, 200);
    const health = { type: 'http', path: '/health', interval: '100ms', timeout: '60s', fall: 2 };
    await lab.reload((config) => { config.pools.app.check = health; });
    await lab.says(/\bs1\b.*\bdown\b/);
    assert.equal((await lab.request('/')).status, 503);
    await lab.reload((config) => { config.pools.app.check = { type: 'off' }; });
    await eventually(async () => (await lab.request('/')).status === 200, 'a server without checks to be up');
  });

  test('a pool and its listener come and go', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: ['s1'] } });
    const port = await lab.newPort();
    for (let i = 0; i < 3; i++) {
      await lab.reload((config) => {
        config.pools.extra = { check: { type: 'off' }, servers: { s2: lab.server('s2').address } };
        config.listeners.extra = { bind: `127.0.0.1:${port}`, pool: 'extra' };
      });
      assert.equal((await lab.request('/', { listener: 'extra' })).server, 's2');
      const at = lab.where('extra');
      await lab.reload((config) => {
        delete config.pools.extra;
        delete config.listeners.extra;
      });
      await eventually(() => lab.connect({ port: at.port }).then((client) => { client.destroy(); return false; }, () => true), 'the address to be left');
    }
  });

  test('the address of a listener changes and its open connections stay', async (t) => {
    const lab = await Lab.start(t);
    const kept = await lab.connect();
    const ws = await lab.websocket();
    const port = await lab.newPort();
    const old = lab.where();
    await lab.reload((config) => { config.listeners.web.bind = `127.0.0.1:${port}`; });
    assert.equal((await lab.request('/')).status, 200);
    assert.equal((await kept.request('/')).status, 200);
    await ws.echoes('here');
    await eventually(() => lab.connect({ port: old.port }).then((client) => { client.destroy(); return false; }, () => true), 'the old address to be left');
  });

  test('a name that is listed again while it drains stops draining', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: { balance: 'least_connections', drain: { deadline: '6s', spread: '100%' } } } });
    const clients = await Promise.all(Array.from({ length: 30 }, () => lab.websocket('/ws')));
    const mine = clients.filter((client) => client.server === 's2');
    const address = lab.config.pools.app.servers.s2;
    await lab.reload((config) => { delete config.pools.app.servers.s2; });
    await lab.reload((config) => { config.pools.app.servers.s2 = address; });
    const open = []; // behind its echo no Close can be on its way
    for (const client of mine) await client.echoes('still there').then(() => open.push(client), () => {});
    assert.ok(open.length > 0, `none of ${mine.length} left`);
    await new Promise((resolve) => setTimeout(resolve, 7000)); // longer than the drain would have been
    for (const client of open) await client.echoes('back again');
    assert.ok((await Promise.all(Array.from({ length: 10 }, () => lab.request('/')))).some((response) => response.server === 's2'));
  });

  test('a server at another address keeps its keys, drains its tunnels and serves from there', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: { hash: { key: ['query:room'] }, drain: quick } } });
    const rooms = Array.from({ length: 20 }, (_, i) => `room-${i}`);
    const ranks = await lab.ranks('app', rooms);
    const clients = await Promise.all(rooms.map((room) => lab.websocket(`/?room=${room}`)));
    const moved = await lab.newServer('moved');
    await lab.reload((config) => { config.pools.app.servers.s2 = moved.address; });
    for (const [i, room] of rooms.entries()) {
      const home = ranks.get(room)[0];
      assert.equal((await lab.request(`/?room=${room}`)).server, home === 's2' ? 'moved' : 's1');
      if (home === 's2') await clients[i].isClosedWith(1001);
      else await clients[i].echoes('unmoved');
    }
    assert.equal((await lab.ranks('app', rooms)).get('room-0')[0], ranks.get('room-0')[0]);
  });

  test('a removed pool drains its tunnels', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { app: ['s1'], chat: { servers: ['s2'], drain: quick } }, listeners: { web: { routes: [{ match: { path: '/chat' }, pool: 'chat' }, { pool: 'app' }] } } });
    const client = await lab.websocket('/chat');
    assert.equal(client.server, 's2');
    await lab.reload((config) => {
      delete config.pools.chat;
      config.listeners.web.routes = [{ pool: 'app' }];
    });
    await client.isClosedWith(1001);
    assert.equal((await lab.request('/chat')).server, 's1');
  });

  test('a listener is added, and one that cannot be bound rejects the reload', async (t) => {
    const lab = await Lab.start(t);
    const port = await lab.newPort();
    assert.ok((await lab.reload((config) => { config.listeners.more = { bind: `127.0.0.1:${port}`, pool: 'app' }; })).isDone);
    assert.equal((await lab.request('/', { listener: 'more' })).status, 200);
    const taken = lab.server('s1').address;
    const answer = await lab.reload((config) => { config.listeners.third = { bind: taken, pool: 'app' }; });
    assert.equal(answer.isDone, false);
    assert.match(answer.said(), /in use/i);
    assert.equal((await lab.request('/', { listener: 'more' })).status, 200);
  });

  test('a removed listener refuses new clients and serves those it has', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: {}, leaving: {} } });
    const at = lab.where('leaving');
    const kept = await lab.connect({ listener: 'leaving' });
    await kept.request('/');
    const ws = await lab.websocket('/ws', { listener: 'leaving' });
    const crowd = await Promise.all(Array.from({ length: 50 }, () => lab.connect({ listener: 'leaving' })));
    const { listeners } = lab.config;
    const reloaded = lab.reload((config) => { config.listeners = { web: listeners.web }; });
    const late = [];
    for (const client of crowd) late.push(client.request('/queued'));
    assert.ok((await reloaded).isDone);
    for (const response of await Promise.all(late)) assert.equal(response.status, 200);
    await eventually(() => lab.connect({ ...at, listener: 'web', port: at.port }).then((client) => { client.destroy(); return false; }, () => true), 'the address to be left');
    await ws.echoes('still here');
    assert.equal((await kept.request('/still')).status, 200);
    assert.equal((await lab.request('/')).status, 200);
  });

  test('a listener whose pool changes sends its kept connections there', async (t) => {
    const lab = await Lab.start(t, { servers: two, pools: { one: ['s1'], two: ['s2'] } });
    const kept = await lab.connect();
    assert.equal((await kept.request('/')).server, 's1');
    await lab.reload((config) => { config.listeners.web.pool = 'two'; });
    assert.equal((await kept.request('/')).server, 's2');
  });

  test('servers in another order, or a new one before them, close nothing', async (t) => {
    const lab = await Lab.start(t, { servers: two });
    const sockets = await Promise.all(Array.from({ length: 6 }, () => lab.websocket('/')));
    const { s1, s2 } = lab.config.pools.app.servers;
    for (const servers of [{ s2, s1 }, { s0: '127.0.0.1:9', s2, s1 }, { s1, s0: '127.0.0.1:9', s2 }]) {
      const { line } = await lab.reload((config) => { config.pools.app.servers = servers; });
      assert.match(line, /, 0 connections closed/);
    }
    for (const socket of sockets) await socket.echoes('still here');
  });

  test('a kept connection that carried an event stream is served when its listener is removed', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: {}, leaving: {} }, servers: { s1: { handle: async (request, answer) => {
      if (request.target !== '/sse') return answer.respond(200, {}, 'ok');
      await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
      await answer.chunk('data: only\n\n');
      return answer.lastChunk();
    } } } });
    const client = await lab.connect({ listener: 'leaving' });
    assert.match((await client.request('/sse')).text, /only/);
    const { listeners } = lab.config;
    await lab.reload((config) => { config.listeners = { web: listeners.web }; });
    await lab.reload((config) => { config.listeners = { web: listeners.web }; });
    assert.equal((await client.request('/after')).status, 200);
    assert.equal((await lab.request('/')).status, 200);
  });

  test('an address comes back while a client of its removed listener is still there', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: {}, leaving: {} } });
    const kept = await lab.connect({ listener: 'leaving' });
    await kept.request('/');
    const { listeners } = lab.config;
    await lab.reload((config) => { config.listeners = { web: listeners.web }; });
    assert.ok((await lab.reload((config) => { config.listeners = listeners; })).isDone);
    assert.equal((await lab.request('/', { listener: 'leaving' })).status, 200);
    assert.equal((await kept.request('/')).status, 200);
  });

  test('keys that need a restart reject the reload by name', async (t) => {
    const lab = await Lab.start(t, { workers: 2 });
    const answer = await lab.reload((config) => { config.workers = 1; });
    assert.equal(answer.isDone, false);
    assert.match(answer.said(), /workers/);
    assert.equal((await lab.request('/')).status, 200);
  });

  test('timeouts of open tunnels change with a reload', async (t) => {
    const lab = await Lab.start(t);
    const ws = await lab.websocket('/quiet');
    await lab.reload((config) => { config.timeouts = { stream_idle: '300ms' }; });
    await ws.until(() => ws.closed, 'the quiet tunnel to end');
    await lab.logs({ event: 'end', path: '/quiet', end: END.streamIdle });
  });

  test('SIGUSR1 and a reload reopen the access log', async (t) => {
    const lab = await Lab.start(t, { log: { access: { to: 'access.log' } } });
    const file = `${lab.folder}/access.log`;
    const text = (name) => (fs.existsSync(name) ? fs.readFileSync(name, 'utf8') : '');
    await lab.request('/first');
    await eventually(() => text(file).includes('/first'), 'the first line');
    fs.renameSync(file, `${file}.1`);
    lab.limpet.signal('SIGUSR1');
    await eventually(() => fs.existsSync(file), 'a new file');
    await lab.request('/second');
    await eventually(() => text(file).includes('/second'), 'the second line');
    fs.renameSync(file, `${file}.2`);
    await lab.reload();
    await lab.request('/third');
    await eventually(() => text(file).includes('/third'), 'the third line');
    assert.ok(!text(`${file}.1`).includes('/second'));
  });
});

/** Requests that follow each other on one connection until told to stop; every one must succeed. */
async function load(lab, state, number) {
  const client = await lab.connect();
  while (!state.isOver) {
    const response = await client.request(`/load/${number}`);
    if (response.status !== 200) state.failures.push(response.status);
    if (response.get('connection')) state.failures.push(`connection: ${response.get('connection')}`);
    state.count++;
  }
}

describe('thirty reloads', () => {
  test('under load with 300 WebSockets while a server comes and goes lose nothing', async (t) => {
    const lab = await Lab.start(t, { servers: { ...two, guest: {} }, pools: { app: { balance: 'round_robin', servers: ['s1', 's2'] }, chat: { balance: 'least_connections', servers: ['s1', 's2'] } }, listeners: { web: { routes: [{ match: { path: '/ws' }, pool: 'chat' }, { pool: 'app' }] } } });
    const sockets = await Promise.all(Array.from({ length: 300 }, () => lab.rawWebSocket('/ws')));
    const state = { isOver: false, failures: [], count: 0 };
    const loads = Array.from({ length: 8 }, (_, i) => load(lab, state, i).catch((err) => state.failures.push(String(err))));
    const fresh = (async () => {
      while (!state.isOver) {
        const response = await lab.request('/fresh').catch((err) => ({ status: String(err) }));
        if (response.status !== 200) state.failures.push(`fresh: ${response.status}`);
      }
    })();
    const guest = lab.server('guest').address;
    t.after(() => { state.isOver = true; }); // also when an assertion ends the test early
    let memory = 0;
    for (let i = 0; i < 30; i++) {
      const before = state.count;
      const answer = await lab.reload((config) => {
        if (i % 2 === 0) config.pools.app.servers.guest = guest;
        else delete config.pools.app.servers.guest;
      });
      assert.ok(answer.isDone, answer.line);
      await eventually(() => state.count > before + 20 || state.failures.length > 0, 'the load to go on');
      if (i === 9) memory = lab.limpet.memory();
    }
    const grown = lab.limpet.memory() - memory;
    state.isOver = true;
    await Promise.all([...loads, fresh]);
    assert.deepEqual(state.failures.slice(0, 5), []);
    t.diagnostic(`${state.count} requests; memory grew by ${grown >> 10} KiB over the last 20 reloads`);
    assert.ok(grown < 24 << 20, `memory grew by ${grown} bytes`);
    for (const socket of sockets) {
      assert.equal(socket.client.ended, undefined, 'a WebSocket closed');
      await socket.send('ping');
    }
    for (const socket of sockets) assert.equal((await socket.frame()).opcode, OP.TEXT);
    // Old snapshots die within seconds: a reload that changes nothing says how many are left.
    await eventually(async () => {
      const { snapshots } = await lab.reload();
      return snapshots === undefined || snapshots <= 2;
    }, 'old snapshots to die');
    assert.equal(fs.readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(lab.file);
      } catch {
        return false;
      }
    }).length, 1, 'one process');
  });
});
