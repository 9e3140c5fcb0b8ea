'use strict';
// limpet is stopped for longer than any timeout, as by SIGSTOP, a cgroup freezer or a paused machine.
// What came meanwhile came in time: it is looked at before any timer fires, whatever was waited for.

const { describe, test } = require('node:test');
const { Lab, assert, eventually } = require('./lab');
const { OP, acceptOf, frame, readFrame } = require('./frames');
const { RawClient } = require('./client');
const pki = require('./pki');
const tls = require('node:tls');
const { Duplex } = require('node:stream');

const WAIT_S = 6; // every timeout; long enough that a busy machine gets everybody into place
const EACH = 25;
const wait = `${WAIT_S}s`;

/** A promise that the test keeps when limpet stands still. */
function gate() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return { open, opened };
}

/** Who is in the middle of something: `begin` gets him there, `meanwhile` is what limpet does not see
 * happen, `then` is what must come of it. */
const kinds = {
  'half a head': {
    begin: (lab) => lab.raw('POST /echo HTTP/1.1\r\nHost: a\r\nContent-'),
    meanwhile: (client) => client.write('Length: 3\r\n\r\nend'),
    then: async (client) => assert.equal((await client.response()).text, 'end'),
  },
  'half a body': {
    begin: async (lab) => lab.raw('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nthe'),
    meanwhile: (client) => client.write('end'),
    then: async (client) => assert.equal((await client.response()).text, 'theend'),
  },
  'a request that its server has not answered': {
    begin: async (lab) => lab.raw('GET /gated HTTP/1.1\r\nHost: a\r\n\r\n'),
    then: async (client) => assert.equal((await client.response()).text, 'at last'),
  },
  'half a response': {
    begin: async (lab) => {
      const client = await lab.raw('GET /gated/half HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.readUntil('half');
      return client;
    },
    then: async (client) => assert.equal((await client.read(6)).toString(), 'whole!'),
  },
  'an idle connection': {
    begin: async (lab) => {
      const client = await lab.connect();
      await client.request('/');
      return client;
    },
    meanwhile: (client) => client.send('/again'),
    then: async (client) => assert.equal((await client.response()).status, 200),
  },
  'a quiet WebSocket': {
    begin: (lab) => lab.rawWebSocket('/ws'),
    meanwhile: (ws) => ws.send('hello'),
    then: async (ws) => assert.equal((await ws.frame()).payload.toString(), 'hello'),
  },
  'a quiet event stream': {
    begin: async (lab) => {
      const client = await lab.raw('GET /gated/sse HTTP/1.1\r\nHost: a\r\n\r\n');
      await client.readUntil('first');
      return client;
    },
    then: (client) => client.readUntil('second'),
  },
  'a tcp stream that is half closed': {
    begin: async (lab) => {
      const client = await lab.raw('bye', { listener: 'line' });
      client.end();
      await lab.server('line').until(() => lab.server('line').arrivals.some((one) => one.isEnded), 'a FIN');
      return client;
    },
    then: async (client) => assert.equal((await client.readAll()).toString(), 'last words'),
  },
  'half a ClientHello': {
    begin: async (lab) => {
      // The hello is held back behind its first bytes, until the pause.
      const raw = await RawClient.connect(lab.where('secure'));
      const held = [];
      const link = new Duplex({
        read() {},
        write(bytes, encoding, done) {
          const first = held.length === 0 && !link.isFree ? bytes.subarray(0, 7) : Buffer.alloc(0);
          if (link.isFree) raw.socket.write(bytes);
          else held.push(bytes.subarray(first.length));
          if (first.length > 0) raw.socket.write(first);
          done();
        },
      });
      raw.socket.on('data', (data) => link.push(data));
      const socket = tls.connect({ socket: link, ca: pki.ca.pem, servername: 'site.example.com' });
      const secured = new Promise((resolve, reject) => {
        socket.once('secureConnect', resolve).once('error', reject);
        raw.socket.once('close', () => reject(new Error('closed in the handshake')));
      });
      secured.catch(() => {});
      await eventually(() => held.length > 0, 'a ClientHello');
      lab.clients.add(raw);
      return { secured, socket, release: () => { link.isFree = true; for (const one of held) raw.socket.write(one); } };
    },
    meanwhile: (client) => client.release(),
    then: async (client) => {
      await client.secured;
      client.socket.on('error', () => {});
    },
  },
};

describe('a pause that is longer than every timeout', () => {
  test('costs nobody what came in time, and no server its health', async (t) => {
    const pause = gate();
    const gated = async (request, answer) => {
      if (!request.path.startsWith('/gated')) return false;
      if (request.path === '/gated/sse') {
        await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
        await answer.event('first');
        await pause.opened;
        await answer.event('second');
        await answer.isGone;
        return true;
      }
      const isHalf = request.path === '/gated/half';
      if (isHalf) await answer.head(200, { 'Content-Length': 10 });
      if (isHalf) await answer.write('half');
      await pause.opened;
      if (isHalf) await answer.write('whole!');
      else await answer.respond(200, {}, 'at last');
      return true;
    };
    // A check of several steps, each of them slow: a pause comes upon it in the middle.
    const slowly = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const checked = async (connection) => {
      const head = (await connection.readUntil('\r\n\r\n')).toString();
      await slowly(200);
      const accept = acceptOf(/sec-websocket-key: *(\S+)/i.exec(head)[1]);
      await connection.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
      const ping = await connection.until(() => {
        if (connection.ended) throw new Error('no Ping');
        return readFrame(connection.buffer);
      }, 'a Ping');
      await slowly(200);
      await connection.write(frame(OP.PONG, ping.payload, { masked: false }));
    };
    const names = Array.from({ length: 8 }, (_, i) => `c${i}`);
    const lab = await Lab.start(t, {
      timeouts: Object.fromEntries(['handshake', 'head', 'keep_alive', 'body', 'connect', 'response', 'stream_idle', 'half_closed'].map((name) => [name, wait])),
      drain: { deadline: '5s' },
      servers: {
        s1: { handle: gated },
        line: { kind: 'raw', script: async (connection) => {
          await connection.until(() => connection.ended, 'the FIN');
          await pause.opened;
          await connection.write('last words');
          connection.end();
        } },
        ...Object.fromEntries(names.map((name) => [name, { kind: 'raw', script: checked }])),
      },
      pools: {
        app: ['s1'], line: ['line'],
        checked: { servers: names, check: { type: 'websocket', ping: true, interval: '10ms', timeout: wait, fall: 1 } },
      },
      listeners: {
        web: { pool: 'app' }, line: { protocol: 'tcp', pool: 'line' }, more: { pool: 'checked' },
        secure: { tls: { certificates: [{ cert: pki.site.cert, key: pki.site.key }] }, pool: 'app' },
      },
    });
    const began = Date.now();
    const all = await Promise.all(Object.entries(kinds).flatMap(([name, kind]) => Array.from({ length: EACH }, async () => ({ name, kind, one: await kind.begin(lab) }))));
    lab.limpet.signal('SIGSTOP');
    const stopped = Date.now();
    assert.ok(stopped - began < WAIT_S * 1000, 'this machine is too slow to get everybody into place in time');
    await eventually(() => lab.limpet.state() === 'T', 'limpet to stop');
    pause.open();
    await Promise.all(all.map(({ kind, one }) => kind.meanwhile?.(one)));
    await eventually(() => Date.now() - stopped > (WAIT_S + 1) * 1000, 'every timeout to be over');
    lab.limpet.signal('SIGCONT');
    const failed = {};
    await Promise.all(all.map(({ name, kind, one }) => kind.then(one).catch((err) => { (failed[name] ??= []).push(err.message); })));
    assert.deepEqual(failed, {});
    assert.deepEqual(lab.limpet.stderr.filter((line) => line.includes('down')), []);
  });
});
