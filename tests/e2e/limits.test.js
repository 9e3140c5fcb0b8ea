'use strict';
// Everything has a limit and a deadline, and what one client does costs no other.

const { describe, test } = require('node:test');
const net = require('node:net');
const { execFileSync, spawn } = require('node:child_process');
const { Lab, END, assert, atLeastOnce, eventually } = require('./lab');
const { requestText } = require('./client');

const MiB = 1 << 20;
const LINE = { listeners: { line: { protocol: 'tcp' } } };
const gone = (lab, name = 's1') => lab.server(name).until(() => lab.server(name).arrivals.length > 0 && lab.server(name).arrivals.every((one) => one.isClosed || one.isEnded), 'the server connections to end');

describe('timeouts', { concurrency: 6 }, () => {
  test('a head that does not end is 408', async (t) => {
    const lab = await Lab.start(t, { timeouts: { head: '300ms' } });
    const client = await lab.raw('GET /slow-head HTTP/1.1\r\nHost: a\r\nX-');
    assert.equal((await client.response()).status, 408);
    await client.isClosed();
    await lab.logs({ status: 408, end: END.headTimeout });
  });

  test('a head counts from its first byte, however it dribbles', async (t) => {
    const lab = await Lab.start(t, { timeouts: { head: '500ms' } });
    const client = await lab.connect();
    const dribble = setInterval(() => client.socket.write('X'), 50);
    t.after(() => clearInterval(dribble));
    await client.write('GET / HTTP/1.1\r\nHost: a\r\nX');
    assert.equal((await client.response()).status, 408);
  });

  test('an idle kept connection ends with a FIN and nothing else', async (t) => {
    const lab = await Lab.start(t, { timeouts: { keep_alive: '2s' } }); // the request, too, must come in it
    const client = await lab.connect();
    await client.request('/');
    assert.equal((await client.readAll()).length, 0);
    assert.equal(client.ended, 'fin');
  });

  test('a client that says nothing at all is let go', async (t) => {
    const lab = await Lab.start(t, { timeouts: { head: '300ms', keep_alive: '300ms' } });
    const client = await lab.connect();
    await client.isClosed();
  });

  test('a body that stops is 408, one that goes on slowly is not', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { timeouts: { body: '400ms' } }, patient: { timeouts: { body: '3s' } } } });
    const client = await lab.raw('POST /stops HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345');
    assert.equal((await client.response()).status, 408);
    await lab.logs({ path: '/stops', end: END.bodyTimeout });
    await gone(lab);
    const slow = await lab.raw('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n', { listener: 'patient' });
    for (let i = 0; i < 10; i++) {
      await slow.write(String(i));
      await new Promise((resolve) => setTimeout(resolve, 500)); // in all more than the timeout
    }
    assert.equal((await slow.response()).text, '0123456789');
  });

  test('a body over its limit is 413, with a length and in chunks', async (t) => {
    const lab = await Lab.start(t, { limits: { body: '1KiB' } });
    assert.equal((await lab.request('/echo', { method: 'POST', body: 'x'.repeat(1024) })).status, 200);
    assert.equal((await lab.request('/long', { method: 'POST', body: 'x'.repeat(1025) })).status, 413);
    assert.ok(!lab.server('s1').requests.some((request) => request.target === '/long'));
    const client = await lab.raw(`POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${'80\r\n'}${'x'.repeat(128)}\r\n`);
    for (let i = 0; i < 8; i++) client.socket.write(`80\r\n${'x'.repeat(128)}\r\n`);
    assert.equal((await client.response()).status, 413);
    await lab.logs({ status: 413, path: '/chunks', end: END.bodyTooLarge });
  });

  test('a response that stops in the middle of its length is cut', async (t) => {
    const lab = await Lab.start(t, { timeouts: { response: '2s' }, servers: { s1: { handle: async (request, answer) => { await answer.head(200, { 'Content-Length': 100 }); await answer.write('half'); await answer.isGone; } } } });
    const client = await lab.connect();
    await client.send('/half');
    await client.readUntil('half');
    await client.isClosed();
    await lab.logs({ path: '/half', end: END.responseTimeout });
  });

  test('an upgrade without an answer is 504', async (t) => {
    const lab = await Lab.start(t, { timeouts: { response: '300ms' }, servers: { s1: { kind: 'silent' } } });
    assert.equal((await lab.rawWebSocket('/ws')).response.status, 504);
  });

  test('a quiet tunnel ends after stream_idle, a talking one does not', async (t) => {
    const lab = await Lab.start(t, { timeouts: { stream_idle: '3s' } });
    const quiet = await lab.websocket('/quiet');
    const talking = await lab.websocket('/talking');
    const talk = setInterval(() => talking.send('x').catch(() => {}), 100);
    t.after(() => clearInterval(talk));
    await quiet.until(() => quiet.closed, 'the quiet one to end');
    await lab.logs({ event: 'end', path: '/quiet', end: END.streamIdle });
    assert.ok(talking.isOpen);
  });

  test('quiet event streams and responses of unknown length end after stream_idle', async (t) => {
    const lab = await Lab.start(t, { timeouts: { stream_idle: '400ms', response: '100s' }, servers: { s1: { handle: async (request, answer) => {
      if (request.path !== '/unknown') return false;
      await answer.head(200, { 'Transfer-Encoding': 'chunked' });
      await answer.chunk('some');
      await answer.isGone;
      return true;
    } } } });
    for (const target of ['/sse', '/unknown']) {
      const client = await lab.connect();
      await client.send(target);
      await client.isClosed();
      await lab.logs({ path: target, end: END.streamIdle });
    }
  });

  test('a half-closed tunnel has half_closed to end', async (t) => {
    const lab = await Lab.start(t, { ...LINE, timeouts: { half_closed: '400ms' }, servers: { s1: { kind: 'tcp', mute: true } } });
    const client = await lab.connect();
    await client.write('bye');
    client.end();
    await client.isClosed();
    await lab.logs({ event: 'end', end: END.halfClosed });
    await gone(lab);
  });

  test('a peer that takes nothing ends as slow-peer', async (t) => {
    const lab = await Lab.start(t, { timeouts: { stalled: '2s' }, servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Length': 64 * MiB });
      for (let i = 0; i < 64 && !answer.socket.destroyed; i++) await Promise.race([answer.write(Buffer.alloc(MiB)), answer.isGone]);
    } } } });
    const client = await lab.connect();
    await client.send('/never-read');
    await client.responseHead();
    client.pause();
    await lab.logs({ path: '/never-read', end: END.slowPeer });
    await gone(lab);
  });

  test('a slow reader that takes something now and then is served to the end', async (t) => {
    const lab = await Lab.start(t, { timeouts: { stalled: '3s', response: '3s' }, servers: { s1: { handle: async (request, answer) => { await answer.respond(200, {}, Buffer.alloc(20 * MiB, 'x')); } } } });
    const client = await lab.connect();
    await client.send('/');
    // Each gulp is more than the kernel keeps back before it tells the sender of room; all of them take
    // longer than the timeout.
    for (let size = 3 * MiB; size < 20 * MiB; size += 3 * MiB) {
      client.pause();
      await new Promise((resolve) => setTimeout(resolve, 700));
      client.resume();
      await client.until(() => client.received >= size, () => `${size} bytes, have ${client.received}`);
    }
    assert.equal((await client.response()).body.length, 20 * MiB);
  });

  test('a client whose body is held up by its server is not blamed for it', async (t) => {
    const lab = await Lab.start(t, { timeouts: { body: '1s', stalled: '5m' }, servers: { s1: { kind: 'raw', script: async (connection) => {
      await connection.readUntil('\r\n\r\n');
      connection.pause();
      await new Promise((resolve) => setTimeout(resolve, 3000)); // three times as long as a client may pause
      connection.resume();
      await connection.until(() => connection.piecesSize >= 32 * MiB, 'the whole body');
      await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nread');
    } } } });
    const client = await lab.connect();
    client.send('/', { method: 'POST', body: Buffer.alloc(32 * MiB) });
    assert.equal((await client.response()).text, 'read');
  });

  test('a server whose response is held up by its client is not blamed for it', async (t) => {
    const lab = await Lab.start(t, { timeouts: { response: '1s', stalled: '5m' }, servers: { s1: { handle: (request, answer) => answer.respond(200, {}, Buffer.alloc(32 * MiB, 'x')) } } });
    const client = await lab.connect();
    await client.send('/');
    await client.until(() => client.received > 0, 'the first bytes');
    client.pause();
    await new Promise((resolve) => setTimeout(resolve, 3000)); // three times as long as a server may pause
    client.resume();
    assert.equal((await client.response()).body.length, 32 * MiB);
  });

  test('idle server connections are few and end after their timeout', async (t) => {
    const lab = await Lab.start(t, { workers: 1, pools: { app: { keep_alive: { idle: 2, timeout: '700ms' } } }, servers: { s1: { handle: async (request, answer, origin) => {
      origin.waiting = (origin.waiting ?? 0) + 1;
      origin.changed();
      await origin.until(() => origin.waiting >= 10, 'ten requests at once');
      await answer.respond(200);
    } } } });
    const origin = lab.server('s1');
    await Promise.all(Array.from({ length: 10 }, () => lab.request('/')));
    const open = () => origin.arrivals.filter((one) => !one.isClosed && !one.isEnded).length;
    assert.equal(origin.arrivals.length, 10);
    await origin.until(() => open() <= 2, () => `at most two idle connections, not ${open()}`);
    await origin.until(() => open() === 0, 'the last idle connections to end');
  });

  test('a client that never closes its side is let go after linger', async (t) => {
    const lab = await Lab.start(t, { timeouts: { linger: '300ms' } });
    const before = lab.limpet.descriptors();
    const client = await lab.connect();
    client.keepsOpen = true;
    await client.request('/', { headers: { Connection: 'close' } });
    await client.isClosed();
    await eventually(() => lab.limpet.descriptors() <= before + 2, 'the descriptor to come back'); // the server's may be kept
  });

  test('an answer survives a client that is still sending', async (t) => {
    const lab = await Lab.start(t);
    for (let i = 0; i < 10; i++) {
      const client = await lab.connect();
      client.socket.write(`POST /${i} HTTP/1.1\r\nHost: a\r\nContent-Length: 5x\r\n\r\n`);
      client.socket.write(Buffer.alloc(200000));
      assert.equal((await client.response()).status, 400);
      client.destroy();
    }
  });

  test('routes and listeners may have their own timeouts', async (t) => {
    const lab = await Lab.start(t, { timeouts: { response: '5m' }, servers: { s1: { kind: 'silent' } }, pools: { app: ['s1'] }, listeners: { web: { timeouts: { head: '200ms' }, routes: [{ match: { path: '/quick' }, pool: 'app', timeouts: { response: '200ms' } }, { pool: 'app' }] } } });
    assert.equal((await lab.request('/quick')).status, 504);
    const client = await lab.raw('GET /');
    assert.equal((await client.response()).status, 408);
  });
});

describe('logs', { concurrency: 2 }, () => {
  test('a log that nobody reads drops lines and never waits', async (t) => {
    const lab = await Lab.start(t);
    lab.limpet.child.stdout.pause();
    const client = await lab.connect();
    for (let i = 0; i < 3000; i++) await client.request(`/${i}/${'x'.repeat(200)}`); // far more than a pipe holds
    lab.limpet.child.stdout.resume();
    await eventually(async () => {
      await client.request('/last'); // dropped, too, until there is room again
      return lab.limpet.log.some((line) => line.path === '/last');
    }, 'the log to go on');
    assert.ok(lab.limpet.log.filter((line) => line.path !== '/last').length < 3000, 'some lines were dropped');
    assert.ok(lab.limpet.stdout.every((line) => line.startsWith('{') && line.endsWith('}')), 'no line is cut');
  });

  test('an error log that nobody reads stalls nobody', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { handle: async (request, answer) => {
      if (request.path !== '/bad') return false;
      await answer.write('nonsense\r\n\r\n');
      return true;
    } } } });
    lab.limpet.child.stderr.pause();
    for (let i = 0; i < 1500; i++) assert.equal((await lab.request('/bad')).status, 502); // each is worth a warning
    assert.equal((await lab.request('/good')).status, 200);
    lab.limpet.child.stderr.resume();
  });

  test('a log that is read drops nothing, however busy', async (t) => {
    const lab = await Lab.start(t);
    const total = 16000;
    await Promise.all(Array.from({ length: 8 }, async (_, number) => {
      const client = await lab.connect();
      const batch = Buffer.concat(Array.from({ length: 20 }, (__, i) => requestText(`/${number}/${i}`)));
      for (let i = 0; i < total / 160; i++) {
        await client.write(batch);
        for (let n = 0; n < 20; n++) await client.response();
      }
    }));
    await lab.limpet.until(() => lab.limpet.log.length >= total, () => `${total} lines, have ${lab.limpet.log.length}`);
    assert.doesNotMatch(lab.limpet.complaint(), /dropped/);
  });

  test('a log whose reader is gone does not end limpet', async (t) => {
    const lab = await Lab.start(t);
    lab.limpet.child.stdout.destroy();
    const client = await lab.connect();
    for (let i = 0; i < 200; i++) assert.equal((await client.request('/')).status, 200);
    const ws = await lab.websocket();
    await ws.echoes('alive');
  });

  test('no byte of a client can break a line of the log', async (t) => {
    const lab = await Lab.start(t, { log: { access: { query: ['q'] } } });
    const odd = ['/a%22b', '/"quoted"', '/back\\slash', '/<tag>', '/{json}', '/\u00e9\u00ff', '/?q="x"', '/?q=%0a{"event":"end"}', `/${'long/'.repeat(2000)}`];
    const statuses = [];
    for (const target of odd) statuses.push((await lab.request(target, { headers: { Host: 'a' } })).status);
    assert.ok(statuses.every((status) => status === 200 || status === 400), String(statuses));
    await lab.limpet.until(() => lab.limpet.log.length === odd.length, 'a line of JSON for each'); // a bad one fails to parse
    assert.equal(lab.limpet.stdout.length, odd.length);
  });

  test('off means no access log', async (t) => {
    const lab = await Lab.start(t, { log: { access: { to: 'off' } } });
    await lab.request('/');
    lab.terminate();
    await lab.exitsWith(0);
    assert.deepEqual(lab.limpet.stdout, []);
  });
});

describe('limits', { concurrency: 2 }, () => {
  test('above the connection limit a client gets 503 and the others go on', async (t) => {
    const lab = await Lab.start(t, { limits: { connections: 20 } });
    const clients = [];
    for (let i = 0; i < 20; i++) {
      clients.push(await lab.connect());
      assert.equal((await clients[i].request('/')).status, 200);
    }
    for (let i = 0; i < 5; i++) {
      const extra = await lab.connect();
      await extra.send('/extra').catch(() => {});
      assert.equal((await extra.response()).status, 503);
      await extra.isClosed();
    }
    await lab.logs({ status: 503, end: END.connectionLimit });
    for (const client of clients) assert.equal((await client.request('/')).status, 200);
    for (const client of clients.splice(0, 5)) client.destroy();
    await eventually(async () => (await lab.request('/again').catch(() => ({}))).status === 200, 'room for new clients');
  });

  test('above the connection limit a tcp client is closed', async (t) => {
    const lab = await Lab.start(t, { ...LINE, limits: { connections: 5 }, servers: { s1: { kind: 'tcp' } } });
    const clients = [];
    for (let i = 0; i < 5; i++) {
      clients.push(await lab.connect());
      await clients[i].write('x');
      await clients[i].read(1);
    }
    await lab.isTurnedAway();
    for (const client of clients) { await client.write('y'); await client.read(1); }
  });

  test('a flood of connections far above the limit leaves limpet in order', async (t) => {
    const lab = await Lab.start(t, { limits: { connections: 50 } });
    const before = lab.limpet.descriptors();
    const results = await Promise.all(Array.from({ length: 400 }, () => lab.request('/').then((response) => response.status, () => 'closed')));
    assert.ok(results.filter((status) => status === 200).length >= 50);
    assert.ok(results.every((status) => status === 200 || status === 503 || status === 'closed'), String(new Set(results)));
    await eventually(async () => (await lab.request('/')).status === 200, 'order');
    await eventually(() => lab.limpet.descriptors() < before + 60, 'descriptors to come back');
  });

  test('slow heads from many clients end while others are served', async (t) => {
    const lab = await Lab.start(t, { timeouts: { head: '1s' } });
    const slow = await Promise.all(Array.from({ length: 200 }, () => lab.raw('GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ')));
    for (let i = 0; i < 50; i++) assert.equal((await lab.request(`/${i}`)).status, 200);
    for (const client of slow) assert.equal((await client.response()).status, 408);
  });

  test('a thousand tunnels come and go and every descriptor comes back', async (t) => {
    const lab = await Lab.start(t);
    await lab.request('/');
    const before = lab.limpet.descriptors();
    for (let round = 0; round < 5; round++) {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => lab.rawWebSocket('/ws')));
      assert.ok(lab.limpet.descriptors() >= before + 398);
      sockets.forEach((socket, i) => { if (i % 3 === 0) socket.client.reset(); else if (i % 3 === 1) socket.close(1000); else socket.client.end(); });
      await lab.server('s1').until(() => lab.server('s1').sockets.size === 0, 'the tunnels to end');
      for (const socket of sockets) socket.destroy();
    }
    await eventually(() => lab.limpet.descriptors() <= before + 4, () => `descriptors to come back: ${lab.limpet.descriptors()} of ${before}`);
  });
});

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

async function roundTrip(client) {
  const at = process.hrtime.bigint();
  await client.echoes('there and back');
  return Number(process.hrtime.bigint() - at) / 1e6;
}

/** The client's echoes take no longer than those through another limpet, by which they are measured in turn. */
async function takesNoLonger(t, client, beside) {
  await atLeastOnce(async () => {
    const times = { here: [], there: [] };
    for (let i = 0; i < 200; i++) {
      times.here.push(await roundTrip(client));
      times.there.push(await roundTrip(beside));
    }
    const [here, there] = [median(times.here), median(times.there)];
    t.diagnostic(`median round trip ${here.toFixed(3)} ms, ${there.toFixed(3)} ms through an idle limpet`);
    return here < 4 * there ? undefined : `${here} ms against ${there} ms`;
  });
}

/** A client that asks for a large answer and never reads it. */
function neverReads(lab) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(lab.where());
    socket.pause();
    socket.on('error', () => {});
    socket.once('connect', () => {
      socket.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n');
      resolve({ socket, destroy: () => socket.destroy() });
    });
    socket.once('error', reject);
  });
}

describe('neighbours', () => {
  test('a thousand clients that never read leave the latency of one that echoes', async (t) => {
    const large = Buffer.alloc(16 * MiB, 'x'); // more than the kernel's buffers take
    const lab = await Lab.start(t, { limits: { memory: '32MiB' }, servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Length': large.length });
      answer.write(large);
      await answer.isGone;
    } }, chat: {} }, pools: { app: ['s1'], chat: ['chat'] }, listeners: { web: { routes: [{ match: { upgrade: 'websocket' }, pool: 'chat' }, { pool: 'app' }] } } });
    const idle = await Lab.start(t);
    const plain = { perMessageDeflate: false };
    const [client, beside] = [await lab.websocket('/ws', plain), await idle.websocket('/ws', plain)];
    for (let i = 0; i < 300; i++) await roundTrip(client);
    const memory = lab.limpet.memory();
    for (let i = 0; i < 1000; i += 50) {
      for (const one of await Promise.all(Array.from({ length: 50 }, () => neverReads(lab)))) lab.clients.add(one);
    }
    await lab.server('s1').until(() => lab.server('s1').requests.length >= 1000, 'a thousand requests');
    await takesNoLonger(t, client, beside);
    const grown = (lab.limpet.memory() - memory) / MiB;
    t.diagnostic(`beside 1000 clients that never read; ${grown.toFixed(1)} MiB more`);
    assert.ok(grown < 400, `memory grew by ${grown} MiB`);
  });

  test('memory of stalled connections is bounded by ending the longest stalled', async (t) => {
    const large = Buffer.alloc(16 * MiB, 'x');
    const lab = await Lab.start(t, { limits: { memory: '1MiB', stalled: '64KiB' }, servers: { s1: { handle: async (request, answer) => { answer.respond(200, {}, large); await answer.isGone; } } } });
    const before = lab.limpet.memory();
    const wasEnded = () => lab.limpet.log.some((line) => line.path === '/large' && line.end === END.slowPeer);
    for (let i = 0; i < 1500 && !wasEnded(); i++) lab.clients.add(await neverReads(lab));
    await lab.logs({ path: '/large', end: END.slowPeer });
    const grown = (lab.limpet.memory() - before) / MiB;
    t.diagnostic(`${lab.clients.size} clients that do not read, ${grown.toFixed(1)} MiB more`);
    assert.ok(grown < 100, `memory grew by ${grown} MiB`);
    assert.equal((await lab.request('/alive', { method: 'HEAD' })).status, 200);
  });

  test('a head that outgrows its buffer is refused once, and its connection ends', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.raw(`GET / HTTP/1.1\r\nHost: ${'a'.repeat(9000)}\r\n\r\n`); // goes on twice, in X-Forwarded-Host, too
    assert.ok([400, 431].includes((await client.response()).status));
    assert.equal((await client.readAll()).length, 0);
  });

  test('clients that send a byte behind a request that waits cannot hold all memory', async (t) => {
    const lab = await Lab.start(t, { workers: 1, limits: { memory: '1MiB' }, servers: { s1: { handle: async (request, answer) => {
      if (request.target === '/plain') return answer.respond(200, {}, 'ok');
      await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
      await answer.chunk('data: and nothing more\n\n');
      return answer.isGone;
    } } } });
    const greedy = await Promise.all(Array.from({ length: 300 }, async () => {
      const client = await lab.connect();
      await client.send('/sse');
      await client.until(() => client.received > 100, 'the event');
      await client.write('G').catch(() => {});
      return client;
    }));
    assert.equal((await lab.request('/plain')).status, 200);
    for (const client of greedy) client.destroy();
    assert.equal((await lab.request('/plain')).status, 200);
  });

  test('a machine without ports left says so and holds nothing against the server', async (t) => {
    // Each check leaves a port waiting for a minute, so ten of them are used up soon.
    const wire = cutWire(t);
    assert.ok(wire, 'needs root, iproute2 and network namespaces');
    execFileSync('ip', ['netns', 'exec', wire.name, 'sh', '-c', 'echo 40000 40009 >/proc/sys/net/ipv4/ip_local_port_range']);
    const lab = await Lab.start(t, { wrapper: ['ip', 'netns', 'exec', wire.name], workers: 1, listeners: { web: { bind: 'unix:FOLDER/web.sock' } },
      servers: { s1: { host: wire.near, handle: (request, answer) => request.path === '/held' ? answer.isGone : answer.respond(200) } },
      pools: { app: { keep_alive: { timeout: '60s' }, check: { type: 'tcp', interval: '1s', fall: 1, rise: 1 } } } });
    assert.equal((await lab.request('/')).status, 200);
    const held = await Promise.all(Array.from({ length: 14 }, () => lab.connect()));
    const refused = await Promise.any(held.map((client) => client.request('/held')));
    assert.equal(refused.status, 503);
    await lab.limpet.says(/no port is left to connect from/);
    for (const client of held) client.destroy();
    await new Promise((go) => setTimeout(go, 2500)); // time for checks that have no port, either
    assert.ok(!lab.limpet.stderr.some((line) => /is down/.test(line)), lab.limpet.stderr.join('\n'));
  });

  test('a client that vanished without a word is let go by its timeouts', async (t) => {
    const wire = cutWire(t);
    assert.ok(wire, 'needs root, iproute2 and network namespaces');
    const lab = await Lab.start(t, { listeners: { web: { bind: `${wire.near}:PORT` } }, timeouts: { keep_alive: '1s', stream_idle: '1500ms', stalled: '1s', linger: '300ms' } });
    const { port } = lab.where();
    const before = lab.limpet.descriptors();
    const script = `const net = require('net');
      const open = (text) => new Promise((done) => { const s = net.connect(${port}, '${wire.near}', () => s.write(text)); s.on('error', () => {}); s.once('data', () => done()); });
      Promise.all([open('GET /idle HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'),
        open('GET /tunnel HTTP/1.1\\r\\nHost: a\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n'),
        open('GET /sse HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')]).then(() => process.stdout.write('up'));
      setTimeout(() => {}, 60000);`;
    const far = spawn('ip', ['netns', 'exec', wire.name, process.execPath, '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => far.kill('SIGKILL'));
    await new Promise((resolve) => { far.stdout.once('data', resolve); });
    wire.cut();
    await lab.logs({ event: 'end', path: '/tunnel', end: END.streamIdle });
    await lab.logs({ event: 'end', path: '/sse' });
    await eventually(() => lab.limpet.descriptors() <= before + 2, 'the descriptors to come back');
  });
});

/** A network namespace behind a wire that can be cut; null where that is not allowed. */
function cutWire(t) {
  const name = `limpet${process.pid}`;
  const subnet = `10.213.${process.pid % 250}`;
  const ip = (...args) => execFileSync('ip', args, { stdio: 'ignore' });
  try {
    ip('netns', 'add', name);
  } catch {
    return null;
  }
  t.after(() => { try { ip('netns', 'del', name); } catch { /* nothing left to clean */ } });
  try {
    const [near, far] = [`lpn${process.pid % 100000}`, `lpf${process.pid % 100000}`];
    ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far);
    t.after(() => { try { ip('link', 'del', near); } catch { /* went with its namespace */ } });
    ip('link', 'set', far, 'netns', name);
    ip('addr', 'add', `${subnet}.1/24`, 'dev', near);
    ip('link', 'set', near, 'up');
    ip('-n', name, 'addr', 'add', `${subnet}.2/24`, 'dev', far);
    ip('-n', name, 'link', 'set', far, 'up');
    return { name, near: `${subnet}.1`, cut: () => ip('-n', name, 'link', 'set', far, 'down') };
  } catch {
    return null;
  }
}
