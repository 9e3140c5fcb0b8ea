'use strict';
// SIGTERM: every connection ends in its own language, spread over the time there is.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const { Lab, END, assert } = require('./lab');
const { OP, frame, closeFrame, acceptOf } = require('./frames');

/** Turns come within 2.4 s; there is time to end in, and no test waits for the deadline. */
const short = { drain: { delay: '0s', deadline: '60s', spread: '4%' } };
/** The same where all turns come too late: what is asked in the drain comes before them. */
const long = { drain: { delay: '0s', deadline: '120s' } };

/** Times, in order, lie near an even spread over the window: the largest distance as its share. */
function unevenness(times, windowMs) {
  return Math.max(...times.map((at, i) => Math.abs(at - (windowMs * (i + 0.5)) / times.length))) / windowMs;
}

const handshake = async (connection) => {
  const head = (await connection.readUntil('\r\n\r\n')).toString('latin1');
  await connection.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(/sec-websocket-key: *(\S+)/i.exec(head)[1])}\r\n\r\n`);
};

describe('drain', { concurrency: 4 }, () => {
  test('requests in flight finish and every answer says Connection: close', async (t) => {
    const lab = await Lab.start(t, { ...long, servers: { s1: { handle: async (request, answer) => {
      if (request.path !== '/slow') return false;
      await new Promise((resolve) => { lab.goOn = resolve; lab.changed(); });
      await answer.respond(200, {}, 'finished');
      return true;
    } } } });
    const slow = await lab.connect();
    const kept = await lab.connect();
    await kept.request('/before');
    await slow.send('/slow');
    await lab.until(() => lab.goOn, 'the slow request');
    lab.terminate();
    await lab.says(/drain/);
    const last = await kept.request('/after');
    assert.equal(last.status, 200);
    assert.match(last.get('connection'), /close/);
    await kept.isClosed();
    lab.goOn();
    const response = await slow.response();
    assert.equal(response.text, 'finished');
    assert.match(response.get('connection'), /close/);
    await lab.exitsWith(0);
  });

  test('limpet still accepts during the delay and then refuses', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '3s', deadline: '60s', spread: '1%' } });
    const ws = await lab.websocket();
    lab.terminate();
    await lab.says(/drain/);
    const response = await lab.request('/during');
    assert.equal(response.status, 200);
    assert.match(response.get('connection'), /close/);
    await lab.refusesNewClients();
    await ws.isClosedWith(1001);
    assert.ok(ws.closed.at - lab.terminated >= 2950, 'no tunnel closes within the delay');
    await lab.exitsWith(0);
  });

  test('nothing that waits in an accept queue is lost', async (t) => {
    const lab = await Lab.start(t, long);
    const clients = [];
    const crowd = Promise.all(Array.from({ length: 150 }, async () => {
      const client = await lab.connect().catch(() => null); // refused is fine, lost is not
      if (client) clients.push(client.request('/queued').then((response) => response.status, String));
    }));
    lab.terminate();
    await crowd;
    const results = await Promise.all(clients);
    assert.deepEqual(results.filter((status) => status !== 200), []);
    await lab.exitsWith(0);
  });

  test('idle connections are closed over the spread', async (t) => {
    const lab = await Lab.start(t, short);
    const clients = await Promise.all(Array.from({ length: 30 }, () => lab.connect()));
    for (const client of clients) await client.request('/');
    lab.terminate();
    const times = await Promise.all(clients.map(async (client) => {
      assert.equal(await client.isClosed(), 'fin');
      return Date.now() - lab.terminated;
    }));
    times.sort((a, b) => a - b);
    assert.ok(times.at(-1) - times[0] > 500, `spread: ${times}`);
    await lab.exitsWith(0);
  });

  test('a message that is under way arrives whole before the Close', async (t) => {
    const big = frame(OP.BINARY, crypto.randomBytes(150000), { masked: false });
    const lab = await Lab.start(t, { ...short, servers: { s1: { kind: 'raw', script: async (connection, origin) => {
      await handshake(connection);
      await connection.write(big.subarray(0, 100000));
      await new Promise((resolve) => { origin.goOn = resolve; origin.changed(); });
      await connection.write(big.subarray(100000));
      while (!connection.isGone) {
        await connection.write(frame(OP.TEXT, 'more', { masked: false }));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    } } } });
    const socket = await lab.rawWebSocket();
    await socket.client.until(() => socket.client.received > 100000, 'the first part');
    lab.terminate();
    await lab.says(/drain/);
    await new Promise((resolve) => setTimeout(resolve, 2500)); // its turn comes while the frame is cut in two
    lab.server('s1').goOn();
    assert.equal((await socket.frame()).payload.length, 150000);
    let next = await socket.frame();
    while (next.opcode === OP.TEXT) next = await socket.frame();
    assert.equal(next.code, 1001);
    await socket.close(1001);
    assert.equal((await socket.client.readAll()).length, 0, 'nothing comes behind a Close');
    await lab.limpet.exits();
  });

  test('what the client still says goes to the server until its Close, which is forwarded', async (t) => {
    const lab = await Lab.start(t, { ...short, servers: { s1: { onWebSocket: () => {} } } });
    const socket = await lab.rawWebSocket('/talks');
    lab.terminate();
    assert.equal((await socket.frame()).code, 1001);
    for (const word of ['not', 'yet', 'done']) await socket.send(word);
    await socket.close(1001, 'now');
    const origin = lab.server('s1');
    await origin.receives('done');
    assert.deepEqual(origin.messages, ['not', 'yet', 'done']);
    await origin.until(() => origin.closes.length > 0, 'the Close');
    assert.deepEqual(origin.closes, [1001]);
    assert.equal((await socket.client.readAll()).length, 0, 'the echo of the server is swallowed');
    await lab.logs({ event: 'end', path: '/talks', end: END.drain });
    await lab.exitsWith(0);
  });

  test('a client that does not answer its Close costs the server no more than linger', async (t) => {
    const lab = await Lab.start(t, { ...short, timeouts: { linger: '300ms' } });
    const socket = await lab.rawWebSocket();
    socket.client.keepsOpen = true;
    lab.terminate();
    assert.equal((await socket.frame()).code, 1001);
    const origin = lab.server('s1');
    await origin.until(() => origin.closes.length > 0, 'a Close from limpet');
    assert.deepEqual(origin.closes, [1001]);
    await lab.limpet.exits();
  });

  test('nothing is injected behind a Close that either side has sent', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '3s' }, servers: { s1: { kind: 'raw', script: async (connection, origin, arrival) => {
      await handshake(connection);
      if (origin.arrivals.length === 1) await connection.write(closeFrame(4000, 'mine', { masked: false }));
      await connection.until(() => connection.ended, 'the end');
      arrival.rest = connection.buffer;
      connection.end();
      origin.changed();
    } } } });
    const told = await lab.rawWebSocket('/told');
    assert.equal((await told.frame()).code, 4000);
    const telling = await lab.rawWebSocket('/telling');
    await telling.close(1000);
    await lab.server('s1').until(() => lab.server('s1').arrivals[1].connection.piecesSize > 0, 'the Close of the client');
    lab.terminate();
    told.client.keepsOpen = telling.client.keepsOpen = false;
    assert.equal((await told.client.readAll()).length, 0);
    assert.equal((await telling.client.readAll()).length, 0);
    await lab.limpet.exits();
  });

  test('an opaque tunnel is never injected into', async (t) => {
    const lab = await Lab.start(t, { ...short, servers: { s1: { kind: 'raw', script: async (connection) => { await handshake(connection); await connection.write('these are no frames'); await connection.until(() => connection.ended, 'the end'); connection.end(); } } } });
    const socket = await lab.rawWebSocket();
    lab.terminate();
    assert.equal((await socket.client.readAll()).toString(), 'these are no frames');
    await lab.limpet.exits();
  });

  test('a 101 that arrives during the drain gets its Close like the others', async (t) => {
    const lab = await Lab.start(t, { ...short, servers: { s1: { handleUpgrade: async () => {
      await new Promise((resolve) => { lab.goOn = resolve; lab.changed(); });
      return false;
    } } } });
    const opening = lab.websocket('/', { wait: false });
    await lab.until(() => lab.goOn, 'the upgrade request');
    lab.terminate();
    await lab.says(/drain/);
    lab.goOn();
    const ws = await opening;
    await ws.isClosedWith(1001);
    assert.equal(ws.error, undefined);
    await lab.exitsWith(0);
  });

  test('event streams end at an event and a chunk boundary with a complete body', async (t) => {
    // The server cuts its events and chunks at odd places and never stops by itself.
    const lab = await Lab.start(t, { ...short, servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
      const text = Array.from({ length: 100000 }, (_, i) => `id: ${i}\ndata: number ${i} ${'.'.repeat(i % 50)}\n\n`).join('');
      for (let at = 0, end; !answer.socket.destroyed; at = end) {
        end = crypto.randomInt(4) === 0 ? text.indexOf('\n\n', at) + 2 : at + crypto.randomInt(1, 91);
        await answer.chunk(text.slice(at, end));
        if (end % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    } } } });
    const clients = await Promise.all(Array.from({ length: 10 }, async () => {
      const client = await lab.connect();
      await client.send('/sse');
      return client;
    }));
    await Promise.all(clients.map((client) => client.until(() => client.received > 2000, 'some events')));
    lab.terminate();
    for (const client of clients) {
      const response = await client.response();
      assert.match(response.text, /\n\n$/, 'ends behind a whole event');
      assert.equal(response.chunks.at(-1), 0);
      await client.isClosed();
    }
    await lab.logs({ event: 'end', class: 'sse', end: END.drain });
    await lab.exitsWith(0);
  });

  test('an event stream that ends by itself within an event is complete', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '60s', spread: '0%' }, servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
      await answer.chunk('data: no blank line');
      await lab.until(() => lab.goOn, 'the drain');
      await answer.chunk(' follows');
      return answer.lastChunk();
    } } } });
    const client = await lab.connect();
    await client.send('/sse');
    await client.until(() => client.received > 100, 'the first words');
    lab.terminate();
    await lab.says(/drain/);
    setTimeout(() => { lab.goOn = true; lab.changed(); }, 300); // its turn is at once
    assert.equal((await client.response()).text, 'data: no blank line follows');
    await lab.exitsWith(0);
  });

  test('a tunnel whose server has said FIN ends at its turn', async (t) => {
    const lab = await Lab.start(t, { ...short, servers: { s1: { kind: 'raw', script: async (connection) => { await handshake(connection); connection.end(); await connection.until(() => connection.ended, 'the end'); } } } });
    const socket = await lab.rawWebSocket();
    socket.client.keepsOpen = true; // it answers no FIN, so the tunnel is still there when the drain begins
    await socket.client.until(() => socket.client.ended, 'the FIN');
    lab.terminate();
    await lab.exitsWith(0);
  });

  test('tcp connections end within the drain', async (t) => {
    const lab = await Lab.start(t, { ...short, servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp' } } });
    const clients = await Promise.all(Array.from({ length: 10 }, () => lab.connect()));
    for (const client of clients) { await client.write('x'); await client.read(1); }
    lab.terminate();
    for (const client of clients) await client.isClosed();
    const ended = await lab.limpet.exits();
    assert.ok(ended.code === 0 || ended.code === 1);
  });

  test('the deadline closes what is left, with exit status 1 and counts', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '1s' }, servers: { s1: { kind: 'silent' } } });
    const client = await lab.connect();
    await client.send('/never');
    await lab.server('s1').receives('/never');
    lab.terminate();
    await client.isClosed();
    await lab.exitsWith(1);
    await lab.logs({ path: '/never', end: END.drainDeadline });
    assert.match(lab.limpet.stderr.join('\n'), /\b1\b[^\n]*(connection|request|stream|left|deadline)/);
  });

  test('a second signal ends it, but not one within the same second', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '10m' }, servers: { s1: { kind: 'silent' } } });
    const client = await lab.connect();
    await client.send('/never');
    await lab.server('s1').receives('/never');
    lab.terminate();
    lab.limpet.signal('SIGINT'); // two of one kind may be one to the kernel
    await lab.says(/drain/);
    await new Promise((resolve) => setTimeout(resolve, 1200)); // the rule itself is about time
    assert.equal(lab.limpet.ended, undefined, 'the second of a double signal is ignored');
    assert.equal(client.ended, undefined);
    lab.limpet.signal('SIGINT');
    await lab.exitsWith(1);
  });

  test('SIGINT drains like SIGTERM, and SIGHUP is refused meanwhile', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '5s', deadline: '60s', spread: '1%' } });
    const ws = await lab.websocket();
    lab.limpet.signal('SIGINT');
    await lab.says(/drain/);
    const answer = await lab.reload();
    assert.equal(answer.isDone, false);
    await ws.isClosedWith(1001);
    await lab.exitsWith(0);
  });

  test('SIGINT with nothing open ends at once, whatever the delay', async (t) => {
    const lab = await Lab.start(t, {
      drain: { delay: '200s', deadline: '300s' },
      servers: { s1: {}, s2: { kind: 'tcp' }, mute: { kind: 'silent' } },
      pools: {
        app: { servers: ['s1'], keep_alive: { timeout: '200s' } }, // its connection stays, and is nobody's
        line: ['s2'],
        checked: { servers: ['mute'], check: { type: 'http', interval: '10ms', timeout: '200ms' } },
      },
      listeners: { web: { pool: 'app' }, raw: { protocol: 'tcp', pool: 'line' }, other: { pool: 'checked' } },
    });
    assert.equal((await lab.request('/before')).status, 200);
    await lab.logs({ path: '/before' });
    lab.limpet.signal('SIGINT');
    await lab.exitsWith(0);
  });

  for (const kind of ['http', 'tcp', 'websocket']) {
    test(`SIGINT with ${kind} open skips the delay and drains`, async (t) => {
      const isTcp = kind === 'tcp';
      const lab = await Lab.start(t, {
        drain: { delay: '200s', deadline: '201s', spread: '0%' },
        servers: { s1: isTcp ? { kind: 'tcp' } : { handle: async (request, answer) => {
          if (request.path !== '/slow') return false;
          await new Promise((resolve) => { lab.goOn = resolve; lab.changed(); });
          await answer.respond(200, {}, 'finished');
          return true;
        } } },
        listeners: { web: isTcp ? { protocol: 'tcp' } : {} },
      });
      const client = kind === 'websocket' ? await lab.websocket() : await lab.connect();
      if (kind === 'http') await client.send('/slow');
      if (kind === 'http') await lab.until(() => lab.goOn, 'the slow request');
      if (isTcp) { await client.write('x'); await client.read(1); }
      lab.limpet.signal('SIGINT');
      await lab.refusesNewClients();
      lab.goOn?.();
      if (kind === 'http') assert.equal((await client.response()).text, 'finished');
      if (kind === 'websocket') await client.isClosedWith(1001);
      await client.isClosed?.();
      await lab.exitsWith(0);
    });
  }

  test('SIGTERM keeps the delay, also with nothing open', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '1s', deadline: '4s' } });
    lab.terminate();
    await lab.exitsWith(0);
    assert.ok(Date.now() - lab.terminated >= 950, 'balancers in front have a second to look elsewhere');
  });

  test('the close code can be chosen', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '60s', spread: '1%', close_code: 1012 } });
    const ws = await lab.websocket('/chosen');
    lab.terminate();
    await ws.isClosedWith(1012);
    const line = await lab.logs({ event: 'end', path: '/chosen' });
    assert.equal(line.end, END.drain);
    assert.equal(line.close_code, 1012);
    await lab.exitsWith(0);
  });
});

describe('drain of many', () => {
  test('300 WebSockets all get 1001, spread evenly over the window', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '60s', spread: '10%' } });
    const clients = await Promise.all(Array.from({ length: 300 }, () => lab.websocket()));
    const started = Date.now();
    lab.terminate();
    for (const client of clients) await client.isClosedWith(1001);
    for (const client of clients) assert.equal(client.error, undefined);
    const times = clients.map((client) => client.closed.at - started).sort((a, b) => a - b);
    const off = unevenness(times, 6000);
    t.diagnostic(`first ${times[0]} ms, last ${times.at(-1)} ms, ${(off * 100).toFixed(1)} % from even`);
    assert.ok(off < 0.25, `${(off * 100).toFixed(1)} % from even`);
    await lab.exitsWith(0);
    assert.equal(lab.limpet.log.filter((line) => line.event === 'end' && line.end === END.drain).length, 300);
  });

  test('no frame is cut while large fragmented compressed messages stream', async (t) => {
    // Half of the data compresses, so that frames have every size; fragments of one message mix
    // with pings. A cut frame or message would be a protocol error at the client.
    const parts = Array.from({ length: 8 }, (_, i) => Buffer.concat([crypto.randomBytes(9000 + i * 1777), Buffer.alloc(30000, 'abc')]));
    const whole = Buffer.concat(parts);
    const stream = async (socket) => {
      const sent = (data, options) => new Promise((resolve) => socket.send(data, options, () => resolve()));
      while (socket.readyState === 1) {
        for (const [i, part] of parts.entries()) {
          await sent(part, { binary: true, compress: true, fin: i === parts.length - 1 });
          if (i % 3 === 0 && socket.readyState === 1) socket.ping();
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '60s', spread: '7%' }, servers: { s1: { onWebSocket: stream, perMessageDeflate: { threshold: 0, zlibDeflateOptions: { level: 1 } } } } });
    const clients = await Promise.all(Array.from({ length: 30 }, () => lab.websocket('/', { perMessageDeflate: true })));
    for (const client of clients) {
      client.socket.removeAllListeners('message');
      client.socket.on('message', (data) => {
        client.got = (client.got ?? 0) + 1;
        if (!data.equals(whole)) client.wrong = true;
        client.changed();
      });
    }
    await clients[0].until(() => clients[0].got >= 2, 'two whole messages');
    lab.terminate();
    for (const client of clients) {
      await client.isClosedWith(1001);
      assert.equal(client.error, undefined);
      assert.ok(!client.wrong);
    }
    await lab.exitsWith(0);
  });
});
