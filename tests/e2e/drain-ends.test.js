'use strict';
// The end of things in a drain: an event stream ends behind an event whatever its framing, a message
// is whole, a connection that was not told to close has one more request.

const { describe, test } = require('node:test');
const zlib = require('node:zlib');
const { Lab, END, assert, eventually } = require('./lab');
const { OP, frame, closeFrame, acceptOf } = require('./frames');
const pki = require('./pki');

const soon = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const chunk = (data) => Buffer.concat([Buffer.from(`${Buffer.byteLength(data).toString(16)}\r\n`), Buffer.from(data), Buffer.from('\r\n')]);
const CHUNKED = { 'Transfer-Encoding': 'chunked' };
const SLOW = { delay: '0s', deadline: '15s', spread: '5%' };

/** A server that sends pieces of an event stream, one every few milliseconds, as long as it may. */
const streams = (fields, piece, pause = 15) => ({ handle: async (request, answer) => {
  await answer.head(200, { 'Content-Type': 'text/event-stream', ...fields });
  for (let i = 0; !answer.socket.destroyed; i++) {
    await Promise.race([answer.write(piece(i)), answer.isGone]);
    await soon(pause);
  }
} });

/** What came of a stream that ended by itself, with its last chunk where it has chunks. */
async function rest(client, isChunked) {
  const parts = [];
  while (isChunked) {
    const size = parseInt((await client.readUntil('\r\n')).toString(), 16);
    assert.ok(Number.isInteger(size), 'a chunk begins');
    parts.push(Buffer.from(await client.read(size)));
    await client.readUntil('\r\n');
    if (size === 0) break;
  }
  const behind = await client.readAll();
  assert.equal(client.ended, 'fin');
  if (isChunked) assert.equal(behind.length, 0);
  return Buffer.concat([...parts, behind]);
}

const event = (i) => `id: ${i}\ndata: number ${i}\n\n`;
const big = (i) => `data: ${String(i).padEnd(70000, '.')}\n\n`;
/** The same events, cut so that no chunk ends where an event ends. */
const shifted = (make) => (i) => chunk(i === 0 ? make(0).slice(0, 7) : make(i - 1).slice(7) + make(i).slice(0, 7));

const cases = {
  'whose quiet is a comment without an empty line': { piece: (i) => chunk(i === 0 ? event(0) : ': quiet\n') },
  'with comments of CRLF and of CR': { piece: (i) => chunk(i === 0 ? 'data: a\r\n\r\n' : i % 2 ? ': quiet\r\n' : ':\r') },
  'of which no chunk ends where an event ends': { piece: shifted(event) },
  'of which no chunk ends where a large event ends': { piece: shifted(big), pause: 30 },
  'in chunks of one byte': { piece: (i) => chunk(event(0)[i % event(0).length]), pause: 2 },
  'with several events in a chunk': { piece: (i) => chunk(event(i) + event(i) + event(i).slice(0, 9)) , skipsEnd: true },
  'for a client of HTTP/1.0': { piece: shifted(event), version: '1.0' },
  'for a client of HTTP/1.0, in large events': { piece: shifted(big), version: '1.0', pause: 30 },
  'that ends with its connection': { fields: { Connection: 'close' }, piece: (i) => (i % 2 ? event(i).slice(9) : event(i + 1).slice(0, 9)) },
};

describe('an event stream ends behind an event', { concurrency: 3 }, () => {
  for (const [what, { fields = CHUNKED, piece, version = '1.1', pause, skipsEnd }] of Object.entries(cases)) {
    for (const why of ['a drain', 'the end of its server']) {
      test(`${what}, in ${why}`, async (t) => {
        const isChunked = fields === CHUNKED && version === '1.1';
        const lab = await Lab.start(t, { drain: SLOW, servers: { s1: streams(fields, piece, pause), s2: {} }, pools: { app: { servers: ['s1'], drain: { deadline: '15s', spread: '5%' } } } });
        const client = await lab.connect();
        await client.send('/events', { version });
        await client.responseHead();
        await eventually(() => client.piecesSize > 30, 'some events');
        if (why === 'a drain') lab.terminate();
        else await lab.reload((config) => { config.pools.app.servers = { s2: lab.server('s2').address }; });
        const text = (await rest(client, isChunked)).toString();
        if (!skipsEnd) assert.match(text.replace(/(:[^\n\r]*(\r\n|\n|\r))*$/, ''), /(\n\n|\r\n\r\n|\r\r)$/, JSON.stringify(text.slice(-60)));
        assert.ok(!/(^|\n)data: [^\n]*$/.test(text), 'no event is cut');
        if (why === 'a drain') await lab.exitsWith(0);
      });
    }
  }

  for (const [what, version] of Object.entries({ 'HTTP/1.1': '1.1', 'HTTP/1.0': '1.0' })) {
    test(`at the end of any chunk where it is coded, for ${what}`, async (t) => {
      const gzip = zlib.createGzip();
      const ready = [];
      gzip.on('data', (data) => ready.push(data));
      const next = (i) => {
        gzip.write(event(i));
        gzip.flush(zlib.constants.Z_SYNC_FLUSH);
        return chunk(ready.length > 0 ? Buffer.concat(ready.splice(0)) : zlib.gzipSync('').subarray(0, 10));
      };
      const lab = await Lab.start(t, { drain: SLOW, servers: { s1: streams({ ...CHUNKED, 'Content-Encoding': 'gzip' }, next) } });
      const client = await lab.connect();
      await client.send('/events', { version });
      await client.responseHead();
      await eventually(() => client.piecesSize > 30, 'some events');
      lab.terminate();
      await rest(client, version === '1.1');
      await lab.exitsWith(0);
    });
  }

  test('also over TLS', async (t) => {
    const lab = await Lab.start(t, { drain: SLOW, servers: { s1: streams(CHUNKED, shifted(event)) }, listeners: { web: { tls: { certificates: [{ cert: pki.site.cert, key: pki.site.key }] } } } });
    const client = await lab.connect();
    await client.send('/events');
    await client.responseHead();
    await eventually(() => client.piecesSize > 30, 'some events');
    lab.terminate();
    assert.match((await rest(client, true)).toString(), /\n\n$/);
    await lab.exitsWith(0);
  });
});

describe('a connection that was not told to close has one more request', { concurrency: 2 }, () => {
  const long = { handle: async (request, answer, origin) => {
    if (request.path !== '/long') return false;
    await answer.head(200, CHUNKED);
    await answer.chunk('one');
    await origin.until(() => origin.mayEnd, 'leave to end');
    await answer.chunk('two');
    await answer.lastChunk();
    return true;
  } };
  const end = (lab) => {
    lab.server('s1').mayEnd = true;
    lab.server('s1').changed();
  };

  for (const delay of ['0s', '1s']) {
    test(`in a drain with a delay of ${delay}`, async (t) => {
      const lab = await Lab.start(t, { drain: { delay, deadline: '10s', spread: '1%' }, servers: { s1: long } });
      const client = await lab.connect();
      await client.send('/long');
      await client.readUntil('one');
      lab.terminate();
      await lab.says(/drain: /);
      if (delay === '0s') await soon(300);
      end(lab);
      await client.readUntil('0\r\n\r\n');
      const next = await client.request('/next', { method: 'DELETE' });
      assert.equal(next.status, 200);
      assert.equal(next.get('connection'), 'close');
      await client.isClosed();
      await lab.exitsWith(0);
    });
  }

  test('when its listener is removed', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: long }, listeners: { web: {}, more: {} } });
    const client = await lab.connect({ listener: 'web' });
    await client.send('/long');
    await client.readUntil('one');
    await lab.reload((config) => { delete config.listeners.web; });
    end(lab);
    await client.readUntil('0\r\n\r\n');
    const next = await client.request('/next');
    assert.equal(next.status, 200);
    assert.equal(next.get('connection'), 'close');
    await client.isClosed();
  });
});

describe('a message that is under way in a drain', { concurrency: 2 }, () => {
  test('arrives whole at the server, however long it takes, and then the Close', async (t) => {
    const lab = await Lab.start(t, { drain: SLOW, timeouts: { linger: '400ms' } });
    const ws = await lab.rawWebSocket('/ws');
    lab.terminate();
    for (let i = 0; i < 40; i++) {
      await ws.write(frame(i === 0 ? OP.TEXT : OP.CONTINUATION, `${i},`, { fin: i === 39 }));
      await soon(40);
    }
    await lab.server('s1').receives('39,');
    assert.equal((await ws.frame()).code, 1001);
    await ws.write(closeFrame(1001));
    await lab.server('s1').until(() => lab.server('s1').closes.length > 0, 'the Close to arrive');
    assert.deepEqual(lab.server('s1').closes, [1001]);
    await lab.exitsWith(0);
  });

  test('a removed server that talks on behind a Close is left at its deadline', async (t) => {
    const deaf = { kind: 'raw', script: async (connection) => {
      const head = (await connection.readUntil('\r\n\r\n')).toString();
      const accept = acceptOf(/sec-websocket-key: (.*)\r/i.exec(head)[1]);
      await connection.write('HTTP/1.1 101 Fine\r\nConnection: upgrade\r\nUpgrade: websocket\r\n'
        + `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
      while (!connection.ended) {
        await connection.write(Buffer.from('\x81\x01x', 'latin1')).catch(() => {});
        await soon(100);
      }
    } };
    const lab = await Lab.start(t, {
      timeouts: { half_closed: '500ms', linger: '500ms' }, servers: { s1: deaf, s2: {} },
      pools: { app: { servers: ['s1'], drain: { deadline: '1s', spread: '1%' } } },
    });
    const ws = await lab.rawWebSocket('/ws');
    ws.client.keepsOpen = true;
    await ws.write(closeFrame(1000));
    await lab.reload((config) => { config.pools.app.servers = { s2: lab.server('s2').address }; });
    await ws.client.isClosed();
    await lab.logs({ path: '/ws', end: END.drainDeadline });
  });

  test('a client that stays in the middle of a message is waited for as long as linger', async (t) => {
    const lab = await Lab.start(t, { drain: SLOW, timeouts: { linger: '400ms' }, servers: { s1: { mayFault: true } } });
    const ws = await lab.rawWebSocket('/ws');
    await ws.write(frame(OP.TEXT, 'half', { fin: false }));
    lab.terminate();
    assert.equal((await ws.frame()).code, 1001);
    await ws.client.isClosed();
    await lab.exitsWith(0);
  });

  /** A server that sends one message in fragments; `count` of them, the last with FIN unless it never ends. */
  const fragments = (count, endless) => ({ onWebSocket: async (socket) => {
    socket.on('message', async () => {
      for (let i = 0; i < count && socket.readyState === 1; i++) {
        socket.send(`${i},`, { fin: !endless && i === count - 1 });
        await soon(30);
      }
    });
  } });

  test('arrives whole at the client, before the Close', async (t) => {
    const lab = await Lab.start(t, { drain: SLOW, timeouts: { linger: '10s' }, servers: { s1: fragments(40) } });
    const client = await lab.websocket('/ws');
    await client.send('begin');
    await lab.server('s1').receives('begin');
    lab.terminate();
    await client.isClosedWith(1001);
    assert.deepEqual(client.messages, [Array.from({ length: 40 }, (_, i) => `${i},`).join('')]);
    await lab.exitsWith(0);
  });

  for (const [what, count] of Object.entries({ 'does not end': 1000, 'stands still between two fragments': 1 })) {
    test(`one that ${what} is closed between two fragments after linger`, async (t) => {
      const lab = await Lab.start(t, { drain: SLOW, timeouts: { linger: '500ms' }, servers: { s1: fragments(count, true) } });
      const client = await lab.websocket('/ws');
      await client.send('begin');
      await lab.server('s1').receives('begin');
      lab.terminate();
      await client.isClosedWith(1001);
      await lab.exitsWith(0);
    });
  }
});

describe('a drain of the process while a server drains', () => {
  test('gives every tunnel its turn in time', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '8s', spread: '50%' }, servers: { s1: {}, s2: {} }, pools: { app: { balance: 'round_robin', servers: ['s1', 's2'], drain: { deadline: '1h' } } } });
    const all = await Promise.all(Array.from({ length: 30 }, () => lab.websocket('/ws')));
    await lab.reload((config) => { delete config.pools.app.servers.s1; });
    lab.terminate();
    await Promise.all(all.map((ws) => ws.isClosedWith(1001)));
    await lab.logs({ event: 'end', end: END.drain });
    await lab.exitsWith(0);
  });
});
