'use strict';
// A reload between any two bytes of a conversation: what is half done goes by the settings it began
// with, and nobody loses anything. Every kind of conversation is cut at many places at once (at all of
// them with LIMPET_E2E_LONG), then a reload changes one thing, then everybody goes on.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const tls = require('node:tls');
const { Duplex } = require('node:stream');
const { Lab, assert, eventually } = require('./lab');
const { RawClient, requestText } = require('./client');
const { OP, acceptOf, closeFrame, frame, readFrame } = require('./frames');
const pki = require('./pki');
const { SITE, changes } = require('./changes');

const STRIDE = process.env.LIMPET_E2E_LONG ? 1 : 9;
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const LINES = { Accept: '*/*', 'User-Agent': 'between', 'X-One': '1', 'X-Two': '2' };
const UPGRADE = { ...LINES, Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': 13, 'Sec-WebSocket-Key': KEY };

/** What came of it: a status, or what went wrong. */
async function statusOf(client) {
  const response = await client.response();
  if (response.status === 200 && response.text !== '' && !/between|body|name/.test(response.text)) return `a body of ${response.text}`;
  return response.status;
}

async function webSocket(client) {
  const response = await client.response();
  if (response.status !== 101) return response.status;
  for (;;) {
    const next = await client.until(() => readFrame(client.buffer) ?? (client.ended && { code: client.ended }), 'a frame');
    if (next.size) await client.read(next.size);
    if (next.opcode === OP.CLOSE || next.opcode === undefined) return next.code === 1000 ? 200 : `Close ${next.code}`;
    if (next.text !== 'between') return `a message of ${next.text}`;
  }
}

/** Bytes that a client says, cut somewhere; reads() gives what came of it. */
const said = {
  request: { bytes: requestText('/plain', { headers: LINES }), reads: statusOf },
  length: { bytes: requestText('/echo', { method: 'POST', headers: LINES, body: 'a body between' }), reads: statusOf },
  chunks: {
    bytes: Buffer.concat([requestText('/echo', { method: 'PUT', headers: { ...LINES, 'Transfer-Encoding': 'chunked' } }), Buffer.from('6\r\na body\r\n8;x=y\r\n between\r\n0\r\nX-End: 1\r\n\r\n')]),
    reads: statusOf,
  },
  pair: {
    bytes: Buffer.concat([requestText('/first', { headers: LINES }), requestText('/second', { headers: LINES })]),
    reads: async (client) => {
      const first = await client.response();
      return first.status !== 200 || first.get('connection') === 'close' ? first.status : statusOf(client);
    },
  },
  websocket: { bytes: Buffer.concat([requestText('/ws', { headers: UPGRADE }), frame(OP.TEXT, 'between'), closeFrame(1000)]), reads: webSocket },
  line: { listener: 'line', bytes: Buffer.from('one line between two others\n'), reads: async (client, bytes) => ((await client.read(bytes.length)).equals(bytes) ? 200 : 'other bytes') },
};

/** Bytes that a server says, cut somewhere. */
const answered = {
  body: Buffer.from('HTTP/1.1 200 OK\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nContent-Length: 14\r\n\r\na body between'),
  chunked: Buffer.from('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\na body\r\n8\r\n between\r\n0\r\nX-End: 1\r\n\r\n'),
  events: Buffer.from('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n: comment between\n\r\n10\r\ndata: a body\n\n..\r\n0\r\n\r\n'),
  upgrade: Buffer.concat([
    Buffer.from(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(KEY)}\r\n\r\n`),
    frame(OP.TEXT, 'between', { masked: false }), closeFrame(1000, '', { masked: false }),
  ]),
};

/** A TLS client of which only the first `size` bytes leave, until it is released. */
async function heldTls(where, size) {
  const raw = await RawClient.connect(where);
  const held = [];
  let left = size;
  const link = new Duplex({
    read() {},
    write(bytes, encoding, done) {
      const now = bytes.subarray(0, left);
      left -= now.length;
      if (now.length > 0) raw.socket.write(now);
      if (now.length < bytes.length) held.push(bytes.subarray(now.length));
      done();
    },
  });
  raw.socket.on('data', (data) => link.push(data));
  raw.socket.on('close', () => link.destroy(new Error('closed')));
  const socket = tls.connect({ socket: link, ca: pki.ca.pem, servername: 'site.example.com' });
  const client = new RawClient(socket);
  socket.write(requestText('/secure', { headers: LINES })); // behind the handshake
  client.raw = raw;
  client.release = () => {
    left = Infinity;
    for (const bytes of held.splice(0)) raw.socket.write(bytes);
  };
  return client;
}

const times = (length, offset, stride = STRIDE) => Array.from({ length: Math.ceil((length - offset) / stride) }, (_, i) => offset + i * stride);

/** Everybody says the first part of what he has to say. Gives what makes them go on, and their names. */
async function beginAll(lab, round, without) {
  const offset = round % STRIDE;
  const all = [];
  const add = (kind, cut, begin) => { if (!without.includes(kind)) all.push(begin().then((one) => ({ kind, cut, ...one }))); };
  for (const [kind, { bytes, reads, listener = 'web' }] of Object.entries(said)) {
    for (const cut of times(bytes.length, offset)) {
      add(kind, cut, async () => {
        const client = await lab.connect({ listener, tls: false });
        await client.write(bytes.subarray(0, cut));
        return { goOn: () => client.write(bytes.subarray(cut)).catch(() => {}), reads: () => reads(client, bytes) };
      });
    }
  }
  for (const [kind, bytes] of Object.entries(answered)) {
    for (const cut of times(bytes.length, offset)) {
      add(kind, cut, async () => {
        const client = await lab.connect({ listener: 'web', tls: false });
        const isUpgrade = kind === 'upgrade';
        await client.send(`/cut/${kind}/${cut}`, { headers: isUpgrade ? UPGRADE : LINES });
        return { isCut: true, goOn: () => {}, reads: () => (isUpgrade ? webSocket(client) : statusOf(client)) };
      });
    }
  }
  for (const cut of times(800, offset, STRIDE * 5)) {
    add('tls', cut, async () => {
      const client = await heldTls(lab.where('secure'), cut);
      lab.clients.add(client.raw);
      return { goOn: client.release, reads: () => statusOf(client) };
    });
  }
  return Promise.all(all);
}

/** Nothing that clients or servers have said lies unread before limpet. */
function isAllRead(lab) {
  const ours = new Set(Object.values(lab.config.listeners).flatMap(({ bind }) => [bind].flat().map((one) => Number(one.split(':').at(-1)))));
  const servers = new Set(Object.values(lab.servers).map((one) => one.port));
  return fs.readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1).every((line) => {
    const [, local, remote, state, queues] = line.trim().split(/\s+/);
    if (state !== '01') return true;
    const [from, to] = [local, remote].map((one) => parseInt(one.split(':')[1], 16));
    return (!ours.has(from) && !servers.has(to)) || queues.endsWith(':00000000');
  });
}

describe('a reload between any two bytes', () => {
  test('of any conversation, whatever it changes, loses nothing', async (t) => {
    let gate;
    const renew = () => { gate = {}; gate.opened = new Promise((resolve) => { gate.open = resolve; }); };
    const cut = async (request, answer) => {
      const [, kind, size] = /^\/cut\/(\w+)\/(\d+)/.exec(request.path) ?? [];
      if (!kind) return false;
      const { opened } = gate;
      if (Number(size) > 0) await answer.write(answered[kind].subarray(0, Number(size)));
      lab.cuts++;
      lab.changed();
      await opened;
      await answer.write(answered[kind].subarray(Number(size)));
      return true;
    };
    renew();
    const lab = await Lab.start(t, {
      timeouts: {}, drain: { deadline: '5s' },
      servers: { s1: { handle: cut, handleUpgrade: cut, mayFault: true }, line: { kind: 'tcp' } },
      pools: { app: ['s1'], line: ['line'] },
      listeners: { web: { pool: 'app' }, line: { protocol: 'tcp', pool: 'line' }, secure: { tls: SITE, pool: 'app' } },
    });
    let round = 0;
    let count = 0;
    for (const [name, { to, back, also = [], without = [] }] of Object.entries(changes)) {
      for (const [way, change] of [['to', to], ['back', back]]) {
        renew();
        lab.cuts = 0;
        const config = structuredClone(lab.config);
        // What begins under the changed settings may have no sense for those who go by the old ones.
        const all = await beginAll({ connect: (o) => lab.connect(o.listener === 'web' ? { ...o, listener: lab.config.listeners.web ? 'web' : 'other' } : o), where: (l) => lab.where(l), clients: lab.clients }, round++, way === 'back' ? without : []);
        const cuts = all.filter((one) => one.isCut).length;
        const isRefused = way === 'back' && also.length > 0; // by the settings it begins with
        await lab.until(() => lab.cuts === cuts || isRefused, () => `${cuts} cut answers, have ${lab.cuts}`);
        await eventually(() => isAllRead(lab), 'everything to be read');
        const answer = await lab.reload(change);
        assert.ok(answer.isDone, `${name}: ${answer.line}\n${answer.said()}`);
        gate.open();
        for (const one of all) one.goOn();
        const outcomes = await Promise.all(all.map(async ({ kind, cut: at, reads }) => [`${kind} cut at ${at}`, await reads().catch((err) => err.message)]));
        const wrong = outcomes.filter(([, outcome]) => outcome !== 200 && !also.includes(outcome));
        assert.deepEqual(Object.fromEntries(wrong.slice(0, 12)), {}, `${name}, ${way}; before: ${JSON.stringify(config.listeners)}`);
        for (const client of lab.clients) client.destroy();
        lab.clients.clear();
        count += all.length;
      }
    }
    t.diagnostic(`${count} conversations cut by ${round} reloads`);
  });

  test('of a check: it is judged by what it asked', async (t) => {
    const to = { http: 'websocket', websocket: 'http', tcp: 'http' };
    for (const [from, type] of Object.entries(to)) {
      let open;
      const opened = new Promise((resolve) => { open = resolve; });
      const asked = { http: 0, websocket: 0 };
      const lab = await Lab.start(t, {
        servers: { s1: { kind: 'raw', script: async (connection, origin) => {
          const head = (await connection.readUntil('\r\n\r\n')).toString();
          const key = /sec-websocket-key: *(\S+)/i.exec(head)?.[1];
          const kind = key ? 'websocket' : 'http';
          const answer = key ? `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`
            : 'HTTP/1.1 204 No Content\r\n\r\n';
          const isCut = ++asked[kind] === 2 && kind === from;
          if (isCut) {
            await connection.write(answer.slice(0, 20));
            origin.isCut = true;
            origin.changed();
            await opened;
          }
          await connection.write(isCut ? answer.slice(20) : answer);
          connection.end();
          origin.changed();
        } } },
        pools: { app: { check: { type: from, expect: [204], path: '/health', headers: { 'X-Check': 'a' }, interval: '40ms', timeout: '30s', rise: 1, fall: 1 } } },
      });
      const origin = lab.server('s1');
      if (from !== 'tcp') await origin.until(() => origin.isCut, 'a check to be cut');
      await lab.reload((config) => { config.pools.app.check = { ...config.pools.app.check, type, expect: ['200-299'], path: '/other' }; });
      open();
      const before = asked[type];
      await origin.until(() => asked[type] > before + 2, 'the new checks');
      assert.deepEqual(lab.limpet.stderr.filter((line) => line.includes('down')), []);
    }
  });
});
