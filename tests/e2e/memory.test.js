'use strict';
// Peers that take nothing hold what limits.memory allows, and no more: who takes and gives notices
// nothing of them, what limpet itself has to say never waits for them, and the kernel holds little
// for them.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const net = require('node:net');
const { Lab, END, assert, eventually } = require('./lab');
const pki = require('./pki');

const MiB = 1 << 20;
const flood = Buffer.alloc(MiB, 'x');

/** Answers /flood and /slow with more than anybody's buffers take, and the rest as usual. */
const app = { handle: async (request, answer) => {
  if (!['/flood', '/slow'].includes(request.path)) return answer.respond(200, {}, 'hi');
  await answer.head(200, { 'Content-Length': 64 * MiB });
  for (let i = 0; i < 64; i++) answer.write(flood);
  return answer.isGone;
} };

const floodRoutes = (more) => ({ routes: [{ match: { path: '/flood' }, pool: 'flood' }, ...more] });

/** Asks for the flood and reads nothing of it. */
function neverReads(lab) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(lab.where());
    socket.pause();
    socket.once('error', reject).once('connect', () => {
      socket.off('error', reject).on('error', () => {});
      socket.write('GET /flood HTTP/1.1\r\nHost: a\r\n\r\n');
      lab.clients.add({ destroy: () => socket.destroy() });
      resolve(socket);
    });
  });
}

const isEnded = (line) => line.path === '/flood' && line.end === END.slowPeer;
const ended = (lab) => lab.limpet.log.filter(isEnded).length;

/** Keeps coming until memory has been full: the first have ended. */
async function fillMemory(lab, atLeast = 1, before = () => {}) {
  for (let i = 0; i < 2000 && ended(lab) < atLeast; i += 10) {
    await before();
    await Promise.all(Array.from({ length: 10 }, () => neverReads(lab)));
  }
  await eventually(() => ended(lab) >= atLeast, 'memory to be full');
}

/** Bytes that the kernel holds for each client of this port: not sent, or not acknowledged. */
function unsent(lab, port) {
  const hex = (number) => number.toString(16).toUpperCase().padStart(4, '0');
  const table = fs.readFileSync(`/proc/${lab.limpet.child.pid}/net/tcp`, 'latin1');
  return table.split('\n').slice(1).filter(Boolean)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => state === '01' && local.endsWith(`:${hex(port)}`))
    .map((fields) => parseInt(fields[4].split(':')[0], 16));
}

describe('full memory', { concurrency: 2 }, () => {
  test('a neighbour of many that read nothing is served, and never ended in their place', async (t) => {
    const lab = await Lab.start(t, { workers: 1, limits: { memory: '1MiB' }, servers: { s1: app } });
    const neighbour = await lab.connect();
    await fillMemory(lab);
    for (let i = 0; i < 200; i++) {
      if (i % 4 === 0) await neverReads(lab);
      assert.equal((await neighbour.request(`/neighbour?${i}`)).text, 'hi');
    }
    assert.ok(!lab.limpet.log.some((line) => line.path === '/neighbour' && line.end !== END.done));
  });

  test('who takes a byte now and then outlives those who take none', async (t) => {
    const lab = await Lab.start(t, { workers: 1, limits: { memory: '2MiB' }, servers: { s1: app } });
    const slow = await Promise.all(Array.from({ length: 10 }, () => lab.connect()));
    const sips = setInterval(() => slow.forEach((client) => client.socket.read()), 5);
    t.after(() => clearInterval(sips));
    for (const client of slow) {
      client.pause();
      await client.send('/slow');
    }
    // Whoever comes next finds that all of them have taken something since the one before.
    await fillMemory(lab, 50, () => Promise.all(slow.map((client) => {
      const more = client.received + (MiB >> 4);
      return client.until(() => client.ended || client.received >= more, 'it to drink');
    })));
    assert.equal(slow.filter((client) => client.ended).length, 0);
    assert.ok(!lab.limpet.log.some((line) => line.path === '/slow'));
  });

  for (const over of ['plain', 'tls']) {
    test(`a drain beside those who read nothing: every idle WebSocket hears its Close (${over})`, async (t) => {
      const tls = over === 'tls' ? { tls: { certificates: [pki.site.config] } } : {};
      const lab = await Lab.start(t, {
        workers: 1, limits: { memory: '1MiB' }, drain: { deadline: '4s' }, timeouts: { linger: '1s' },
        servers: { s1: app, chat: {} }, pools: { flood: ['s1'], chat: ['chat'] },
        listeners: { web: floodRoutes([{ pool: 'chat' }]), chat: { pool: 'chat', ...tls } },
      });
      const sockets = await Promise.all(Array.from({ length: 60 }, () => lab.websocket('/ws', { listener: 'chat' })));
      await fillMemory(lab, 20);
      lab.terminate();
      for (const socket of sockets) await socket.isClosedWith(1001);
      await lab.limpet.exits();
    });
  }

  test('what limpet answers itself is said', async (t) => {
    const lab = await Lab.start(t, {
      workers: 1, limits: { memory: '64KiB' }, servers: { s1: app, down: { isDown: true } },
      pools: { flood: ['s1'], down: ['down'] },
      listeners: { web: floodRoutes([{ match: { path: '/down' }, pool: 'down' }]) },
    });
    await fillMemory(lab, 20);
    for (let i = 0; i < 40; i++) {
      await neverReads(lab);
      assert.equal((await lab.request('/down')).status, 503);
      assert.equal((await lab.request('/nowhere')).status, 404);
    }
  });

  test('a fresh server connection says whom it serves', async (t) => {
    const lab = await Lab.start(t, {
      workers: 1, limits: { memory: '64KiB' }, servers: { s1: app, told: { proxied: true } },
      pools: { flood: ['s1'], told: { servers: ['told'], proxy_protocol: 'v2' } },
      listeners: { web: floodRoutes([{ pool: 'told' }]) },
    });
    await fillMemory(lab, 20);
    for (let i = 0; i < 40; i++) {
      await neverReads(lab);
      assert.equal((await lab.request('/')).status, 200);
    }
    assert.ok(lab.server('told').proxied.length >= 40);
  });
});

describe('what the kernel holds', () => {
  test('little waits in its queues for a client that reads nothing', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: app } });
    await Promise.all(Array.from({ length: 10 }, () => neverReads(lab)));
    await lab.server('s1').until(() => lab.server('s1').requests.length === 10, 'all requests');
    const front = () => unsent(lab, lab.where().port);
    await eventually(() => front().length === 10 && Math.min(...front()) > 64 << 10, 'the queues to fill');
    let before;
    await eventually(() => { // until nothing moves any more
      const now = front().join();
      const isStill = now === before;
      before = now;
      return isStill;
    }, 'the queues to settle');
    const most = Math.max(...front());
    assert.ok(most < 512 << 10, `${most} bytes`);
  });
});
