'use strict';
// Health checks: who takes traffic, and when that changes.

const { describe, test } = require('node:test');
const { Lab, END, assert } = require('./lab');
const { acceptOf } = require('./frames');

const quick = { interval: '100ms', rise: 1, fall: 1 };

/** Counts answers by server over n requests on one connection; a refusal counts as its status. */
async function ask(lab, count, target = '/') {
  const client = await lab.connect();
  const counts = {};
  for (let i = 0; i < count; i++) {
    const response = await client.request(target);
    const who = response.server ?? response.status;
    counts[who] = (counts[who] ?? 0) + 1;
    if (response.get('connection') === 'close') break;
  }
  client.destroy();
  return counts;
}

/** A raw check target that answers every request head with these bytes. */
const saying = (answer, { close = false } = {}) => ({ kind: 'raw', script: async (connection, origin) => {
  for (;;) {
    const head = (await connection.readUntil('\r\n\r\n')).toString('latin1');
    const key = /sec-websocket-key: *(\S+)/i.exec(head)?.[1] ?? '';
    await connection.write(answer.replace('ACCEPT', acceptOf(key)).replace('NAME', origin.name));
    if (close) connection.end();
  }
} });
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\n';

describe('checks', { concurrency: 4 }, () => {
  test('of eight targets only the one that answers a WebSocket handshake rightly takes traffic', async (t) => {
    const lab = await Lab.start(t, {
      servers: {
        right: {},
        tcponly: { kind: 'tcp', mute: true },
        ordinary: saying('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'),
        wrongaccept: saying(`${SWITCH}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n`),
        noupgrade: saying(`${SWITCH}Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n`),
        closes: { kind: 'raw', script: (connection) => connection.end() },
        garbage: saying('\0\x01\x02 what?\r\n\r\n'),
        old: saying('HTTP/1.0 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n'),
      },
      pools: { app: { balance: 'round_robin', check: { type: 'websocket', path: '/live', interval: '500ms', timeout: '3s' } } },
    });
    assert.deepEqual(await ask(lab, 40), { right: 40 });
    for (let i = 0; i < 8; i++) assert.equal((await lab.websocket('/ws')).server, 'right');
    const check = await lab.server('right').request('/live');
    assert.equal(check.get('sec-websocket-version'), '13');
    await lab.server('right').until(() => lab.server('right').closes.includes(1000), 'the check to close with 1000');
    const said = lab.limpet.stderr.join('\n');
    for (const name of ['tcponly', 'ordinary', 'wrongaccept', 'noupgrade', 'closes', 'garbage', 'old']) assert.match(said, new RegExp(`\\b${name}\\b`), `the log names ${name}`);
    assert.match(said, /accept/i);
  });

  test('without a type a check is what its keys ask for', async (t) => {
    const failing = () => saying('HTTP/1.1 500 Sad\r\nContent-Length: 0\r\n\r\n');
    const lab = await Lab.start(t, {
      servers: { path: failing(), expect: failing(), ping: failing(), plain: { kind: 'tcp', mute: true } },
      pools: {
        a: { servers: ['path'], check: { path: '/ready', ...quick } },
        b: { servers: ['expect'], check: { expect: 204, ...quick } },
        c: { servers: ['ping'], check: { ping: true, ...quick } },
        d: { servers: ['plain'], check: { ...quick } },
      },
      listeners: { web: {}, b: { pool: 'b' }, c: { pool: 'c' }, d: { protocol: 'tcp', pool: 'd' } },
    });
    await lab.says(/server path of pool a is down: http check: .*500/);
    await lab.says(/server expect of pool b is down: http check: .*500/);
    await lab.says(/server ping of pool c is down: websocket check: .*500/);
    await lab.says(/server plain of pool d is up/);
  });

  test('a websocket check may demand a Pong', async (t) => {
    const deaf = saying(`${SWITCH}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n`);
    const lab = await Lab.start(t, { servers: { alive: {}, deaf }, pools: { app: { balance: 'round_robin', check: { type: 'websocket', ping: true, interval: '500ms', timeout: '3s' } } } });
    assert.deepEqual(await ask(lab, 10), { alive: 10 });
    assert.match(lab.limpet.stderr.join('\n'), /pong/i);
  });

  test('an http check expects a status and sends its host and fields', async (t) => {
    const status = { a: 200, b: 500, c: 404, d: 301 };
    const handle = async (request, answer, origin) => {
      if (request.path !== '/health') return false;
      await answer.respond(status[origin.name]);
      return true;
    };
    const lab = await Lab.start(t, {
      servers: { a: { handle }, b: { handle }, c: { handle }, d: { handle } },
      pools: { app: { balance: 'round_robin', check: { type: 'http', path: '/health', host: 'app.example.com', headers: { 'X-Check': 'yes' }, expect: ['200-299', 404], ...quick } } },
    });
    const counts = await ask(lab, 20);
    assert.deepEqual(Object.keys(counts).sort(), ['a', 'c']);
    const check = await lab.server('a').request('/health');
    assert.equal(check.get('host'), 'app.example.com');
    assert.equal(check.get('x-check'), 'yes');
    status.b = 200;
    await lab.says(/\bb\b.*\bup\b/);
    assert.deepEqual(Object.keys(await ask(lab, 30)).sort(), ['a', 'b', 'c']);
  });

  test('a tcp check is the default and notices a server that goes and comes back', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, pools: { app: { balance: 'round_robin', check: quick } } });
    assert.deepEqual(Object.keys(await ask(lab, 10)).sort(), ['s1', 's2']);
    await lab.server('s2').kill();
    await lab.says(/\bs2\b.*\bdown\b/);
    assert.deepEqual(await ask(lab, 10), { s1: 10 });
    const from = lab.limpet.stderr.length;
    await lab.server('s2').revive();
    await lab.says(/\bs2\b.*\bup\b/, from);
    assert.deepEqual(Object.keys(await ask(lab, 10)).sort(), ['s1', 's2']);
  });

  test('the port of a check may be another', async (t) => {
    const lab = new Lab();
    t.after(() => lab.stop(t));
    const health = await lab.newServer('health', {});
    const both = await Lab.start(t, { servers: { s1: {} }, pools: { app: { when_all_down: 'reject', check: { type: 'http', port: health.port, path: '/check', ...quick } } } });
    assert.equal((await both.request('/')).server, 's1');
    await health.request('/check');
    assert.ok(!both.server('s1').requests.some((request) => request.target === '/check'));
  });

  test('the first result alone decides, then fall and rise results in a row', async (t) => {
    let isFine = false;
    const handle = async (request, answer, origin) => {
      if (request.path !== '/health') return false;
      origin.checks = (origin.checks ?? 0) + 1;
      await answer.respond(isFine ? 200 : 500);
      origin.changed();
      return true;
    };
    const lab = await Lab.start(t, { servers: { s1: { handle } }, pools: { app: { check: { type: 'http', path: '/health', interval: '150ms', rise: 3, fall: 3 } } } });
    const origin = lab.server('s1');
    const status = async () => (await lab.request('/')).status;
    assert.equal(await status(), 503); // one failure at the start is enough
    await lab.logs({ end: END.noServerUp });
    isFine = true;
    const mark = origin.checks;
    const from = lab.limpet.stderr.length;
    await lab.says(/\bs1\b.*\bup\b/, from);
    assert.ok(origin.checks - mark >= 3, `it took ${origin.checks - mark} checks`);
    assert.equal(await status(), 200);
    isFine = false;
    const good = origin.checks;
    await lab.says(/\bs1\b.*\bdown\b/, from);
    assert.ok(origin.checks - good >= 3);
    assert.equal(await status(), 503);
  });

  test('when all are down requests are refused, or tried anyway', async (t) => {
    const lab = await Lab.start(t, {
      servers: { a: { handle: (request, answer) => (request.path === '/health' ? answer.respond(500).then(() => true) : false) } },
      pools: {
        strict: { servers: ['a'], when_all_down: 'reject', check: { type: 'http', path: '/health', ...quick } },
        brave: { servers: ['a'], when_all_down: 'try_all', check: { type: 'http', path: '/health', ...quick } },
      },
      listeners: { web: { routes: [{ match: { path: '/strict' }, pool: 'strict' }, { pool: 'brave' }] } },
    });
    assert.equal((await lab.request('/strict')).status, 503);
    assert.equal((await lab.request('/brave')).server, 'a');
  });

  test('a key returns to its home after the home was down', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {}, s3: {} }, pools: { app: { hash: { key: ['cookie:user'] }, check: quick } } });
    const [first, second] = (await lab.ranks('app', ['alice'])).get('alice');
    const where = async () => (await lab.request('/', { headers: { Cookie: 'user=alice' } })).server;
    assert.equal(await where(), first);
    await lab.server(first).kill();
    await lab.says(new RegExp(`\\b${first}\\b.*\\bdown\\b`));
    assert.equal(await where(), second);
    const from = lab.limpet.stderr.length;
    await lab.server(first).revive();
    await lab.says(new RegExp(`\\b${first}\\b.*\\bup\\b`), from);
    assert.equal(await where(), first);
  });

  test('a tunnel stays when its server fails its checks', async (t) => {
    let isFine = true;
    const handle = async (request, answer) => (request.path === '/health' ? answer.respond(isFine ? 200 : 500).then(() => true) : false);
    const lab = await Lab.start(t, { servers: { s1: { handle } }, pools: { app: { check: { type: 'http', path: '/health', ...quick } } } });
    const client = await lab.websocket();
    isFine = false;
    await lab.says(/\bs1\b.*\bdown\b/);
    await client.echoes('still here');
    assert.ok(client.isOpen);
  });

  test('limpet accepts when the first results are in, even of a server that says nothing', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, silent: { kind: 'silent' } }, pools: { app: { balance: 'round_robin', check: { type: 'http', path: '/', timeout: '3s', interval: '2s' } } } });
    assert.deepEqual(await ask(lab, 6), { s1: 6 });
  });
});
