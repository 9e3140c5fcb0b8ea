'use strict';
// docs/headers.md against what a server and a client really get: its tables are what is compared.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { Lab, assert } = require('./lab');
const pki = require('./pki');

const page = fs.readFileSync(path.join(__dirname, '..', '..', 'docs', 'headers.md'), 'utf8');

/** The rows of the tables under a heading; cells as text. */
const rows = (heading) => page.split(/^## /m).find((part) => part.startsWith(heading)).split('\n')
  .filter((line) => /^\| (`|\d|all)/.test(line)).map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
const quoted = (cell) => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1]);
const nameOf = ([cell]) => quoted(cell)[0];
const lower = (names) => names.map((name) => name.toLowerCase()).sort();
const names = (fields) => lower(fields.map(([name]) => name));
const without = (fields, some) => fields.filter(([name]) => !some.includes(name.toLowerCase()));

const servers = rows('What servers get');
const gone = rows('What does not go on');
const ADDED = lower(servers.map(nameOf));
const OF_TLS = ['x-client-cert-fingerprint', 'x-client-cert-subject'];
const OF_WEBSOCKET = ['connection', 'upgrade'];
const ALWAYS = ADDED.filter((name) => ![...OF_TLS, ...OF_WEBSOCKET].includes(name));

/** What must go on, whatever limpet thinks of it. */
const ORDINARY = [
  ['Accept', '*/*'], ['Accept-Encoding', 'br'], ['Authorization', 'Basic YQ=='], ['Cookie', 'a=b'], ['Trailer', 'X-T'],
  ['Origin', 'http://a.test'], ['Via', '1.1 a'], ['X-Kept', '1'], ['X_Kept', '2'], ['x-kept', '3'], ['User_Agent', 'x'],
  ['X-Forwarded-Port', '1'], ['Strict-Transport-Security', 'max-age=1'], ['Content_Type', 'a'],
];
const dashed = (row) => nameOf(row).replaceAll('-', '_');
const lookalikes = gone.filter((row) => row[3] === 'removed').map((row) => [dashed(row), 'lookalike']);
const framing = ['content-length', 'transfer-encoding'];
/** The fields of the page whose cell is one of these words, as somebody says them. */
const sent = (column, words) => gone
  .filter((row) => words.includes(row[column]) && !framing.includes(nameOf(row).toLowerCase()))
  .map((row) => [nameOf(row), nameOf(row) === 'Connection' ? 'X-Named' : 'theirs']);

/** What a server is told about who asks. */
const told = (request) => ['host', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-real-ip']
  .map((name) => request.get(name));

describe('headers', { concurrency: 4 }, () => {
  test('a server gets what the page says, and nothing else', async (t) => {
    const lab = await Lab.start(t);
    const strange = [...sent(1, ['removed', 'replaced']), ['X-Named', 'for this hop'], ...lookalikes];
    const headers = [['Host', 'site.test:81'], ...ORDINARY.slice(0, 7), ...strange, ...ORDINARY.slice(7)];
    assert.equal((await lab.request('/all?x=1', { headers })).status, 200);
    const request = await lab.server('s1').request('/all?x=1');
    assert.deepEqual(without(request.fields, ALWAYS), ORDINARY, 'the rest goes on as it came');
    assert.deepEqual(names(request.fields).filter((name) => ADDED.includes(name)), ALWAYS, 'each of them once');
    assert.equal(request.first, 'GET /all?x=1 HTTP/1.1');
    assert.deepEqual(told(request), ['site.test:81', '127.0.0.1', 'http', 'site.test:81', '127.0.0.1']);
    assert.match(request.get('x-request-id'), /^[0-9a-f]{32}$/);
    const line = await lab.logs({ path: '/all' });
    assert.equal(line.id, request.get('x-request-id'));
  });

  test('the request id of a client goes on, a long one does not', async (t) => {
    const lab = await Lab.start(t);
    for (const [path, id] of [['/1', 'a'], ['/128', 'b'.repeat(128)]]) {
      await lab.request(path, { headers: { 'X-Request-ID': id } });
      assert.equal((await lab.server('s1').request(path)).get('x-request-id'), id);
    }
    await lab.request('/129', { headers: { 'X-Request-ID': 'c'.repeat(129) } });
    assert.match((await lab.server('s1').request('/129')).get('x-request-id'), /^[0-9a-f]{32}$/);
  });

  test('a trusted proxy is believed where the page says so', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: { trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8'] } } });
    await lab.request('/trusted', { headers: [
      ['Host', 'inner.test'], ['X-Forwarded-For', '203.0.113.9, 10.1.1.1'], ['X-Forwarded-Proto', 'https'],
      ['X-Forwarded-Host', 'site.test'], ['X-Real-IP', '6.6.6.6'], ['Forwarded', 'for=6.6.6.6'],
      ['X-Client-Cert-Subject', 'CN=x'], ['X-Client-Cert-Fingerprint', 'ab'], ...lookalikes,
    ] });
    const request = await lab.server('s1').request('/trusted');
    assert.deepEqual(names(request.fields), ALWAYS);
    assert.deepEqual(told(request),
      ['inner.test', '203.0.113.9, 10.1.1.1, 127.0.0.1', 'https', 'site.test', '203.0.113.9']);
    await lab.request('/silent', { headers: { Host: 'inner.test' } });
    const silent = await lab.server('s1').request('/silent');
    assert.deepEqual(told(silent), ['inner.test', '127.0.0.1', 'http', 'inner.test', '127.0.0.1']);
  });

  test('an absolute target, HTTP/1.0 and a Unix socket', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: {}, local: { bind: 'unix:FOLDER/in.sock' } } });
    await (await lab.raw('GET http://a.test/absolute HTTP/1.1\r\nHost: b.test\r\n\r\n')).response();
    let request = await lab.server('s1').request('/absolute');
    assert.equal(request.first, 'GET /absolute HTTP/1.1');
    assert.deepEqual([request.get('host'), request.get('x-forwarded-host')], ['a.test', 'a.test']);
    await (await lab.raw('GET /old HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n\r\n')).response();
    request = await lab.server('s1').request('/old');
    assert.deepEqual(names(request.fields), ALWAYS.filter((name) => name !== 'x-forwarded-host'));
    assert.equal(request.get('host'), `127.0.0.1:${lab.server('s1').port}`);
    const forged = { 'X-Forwarded-For': '6.6.6.6', 'X-Real-IP': '6.6.6.6' };
    await lab.request('/unix', { listener: 'local', headers: { Host: 'a.test', ...forged } });
    request = await lab.server('s1').request('/unix');
    assert.deepEqual(names(request.fields), ALWAYS.filter((name) => !['x-forwarded-for', 'x-real-ip'].includes(name)));
  });

  test('a WebSocket has its two fields, on both sides', async (t) => {
    const lab = await Lab.start(t);
    const headers = { Connection: 'X-Named, upgrade', 'X-Named': '1', Host: 'a.test' };
    const socket = await lab.rawWebSocket('/ws', { headers });
    const request = await lab.server('s1').request('/ws');
    const its = ['sec-websocket-key', 'sec-websocket-version'];
    assert.deepEqual(names(request.fields), [...ALWAYS, ...OF_WEBSOCKET, ...its].sort());
    assert.deepEqual([request.get('connection'), request.get('upgrade')], ['upgrade', 'websocket']);
    assert.deepEqual(['connection', 'upgrade'].map((name) => socket.response.get(name)), ['upgrade', 'websocket']);
  });

  test('with client_ca a server learns whose certificate it is', async (t) => {
    const tls = { certificates: [pki.site.config], client_ca: pki.ca.cert };
    const lab = await Lab.start(t, { listeners: { web: { tls } } });
    const forged = { 'X-Client-Cert-Subject': 'CN=mallory', X_Client_Cert_Subject: 'CN=mallory' };
    const answer = await lab.request('/who', { headers: { Host: 'a.test', ...forged }, tls: pki.client('alice').node });
    assert.equal(answer.status, 200);
    const request = await lab.server('s1').request('/who');
    assert.deepEqual(names(request.fields), [...ALWAYS, ...OF_TLS].sort());
    assert.match(request.get('x-client-cert-subject'), /^CN=alice\b/);
    assert.match(request.get('x-client-cert-fingerprint'), /^[0-9a-f]{64}$/);
    assert.equal(request.get('x-forwarded-proto'), 'https');
  });

  test('a client gets what the page says, and nothing else', async (t) => {
    const ordinary = [...ORDINARY, ...sent(2, ['goes on'])];
    const strange = [...sent(2, ['removed']), ['X-Named', 'for this hop'], ...lookalikes];
    const fields = [...ordinary.slice(0, 9), ...strange, ...ordinary.slice(9)];
    const lines = ['HTTP/1.1 200 Fine', 'Content-Length: 0', ...fields.map((field) => field.join(': ')), '', ''];
    const lab = await Lab.start(t, {
      servers: { s1: { handle: async (request, answer) => {
        await answer.write(lines.join('\r\n'));
        return true;
      } } },
      listeners: { web: {}, safe: { tls: { certificates: [pki.site.config], hsts: '1d' } } },
    });
    const response = await lab.request('/');
    assert.equal(response.first, 'HTTP/1.1 200 Fine');
    assert.deepEqual(response.fields, [['Content-Length', '0'], ...ordinary]);
    const safe = await lab.request('/', { listener: 'safe' });
    const replaced = ['content-length', 'strict-transport-security'];
    assert.deepEqual(without(safe.fields, replaced), without(ordinary, replaced));
    assert.equal(safe.get('strict-transport-security'), 'max-age=86400');
    const old = await (await lab.raw('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')).response();
    assert.equal(old.get('connection'), 'keep-alive');
    const last = await lab.request('/', { headers: { Host: 'a', Connection: 'close' } });
    assert.equal(last.get('connection'), 'close');
  });

  test("limpet's own answers have the fields of the page", async (t) => {
    const own = rows('What clients get').filter(([cell]) => /^(all|\d)/.test(cell));
    const listed = (status) => lower(own
      .filter(([cell]) => cell === 'all' || cell.split(', ').includes(String(status)))
      .flatMap((row) => quoted(row[1])));
    const routes = [{ match: { path: '/dead' }, pool: 'dead' }, { match: { path: '/app' }, pool: 'app' }];
    const lab = await Lab.start(t, {
      servers: { s1: {}, s2: { isDown: true } },
      pools: { app: ['s1'], dead: ['s2'] },
      listeners: { web: { routes }, plain: { redirect: 'https' } },
    });
    for (const [status, lines, listener] of [
      [400, ['GET / HTTP/1.1']],
      [404, ['GET / HTTP/1.1', 'Host: a.test']],
      [405, ['CONNECT a.test:1 HTTP/1.1', 'Host: a.test:1']],
      [426, ['GET /app HTTP/1.1', 'Host: a.test', 'Connection: upgrade', 'Upgrade: websocket',
        'Sec-WebSocket-Version: 12', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==']],
      [503, ['GET /dead HTTP/1.1', 'Host: a.test']],
      [301, ['GET / HTTP/1.1', 'Host: a.test'], 'plain'],
      [308, ['PUT / HTTP/1.1', 'Host: a.test', 'Content-Length: 0'], 'plain'],
    ]) {
      const client = await lab.raw([...lines, '', ''].join('\r\n'), { listener });
      const response = await client.response({ method: lines[0].split(' ')[0] });
      assert.equal(response.status, status, response.first);
      assert.deepEqual(names(without(response.fields, ['connection'])), listed(status), `${status}`);
      assert.equal(response.get('content-type'), 'text/plain');
      assert.equal(response.get('cache-control'), 'no-store');
    }
  });
});
