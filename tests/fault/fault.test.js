'use strict';
// Each scenario again and again, its 1st, 2nd, ... k-th operation failing at the lb/uring seam as the
// kernel might make it fail (LIMPET_FAULT, debug builds). One worker and no checks, so that the k-th
// operation is the scenario's. Afterwards: the client got a whole answer or a clean end, the next
// request is served, and the lab finds nothing left behind.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { Lab } = require('../e2e/lab');
const pki = require('../e2e/pki');

const OPERATIONS_MAX = 9; // more than any scenario below has of one kind, but for those over TLS

const body = 'b'.repeat(40000);

const scenarios = {
  'an exchange with a body both ways': async (lab) => {
    const client = await lab.connect();
    const response = await client.request('/echo', { method: 'POST', headers: { 'Content-Length': String(body.length) }, body });
    if (response.status === 200) assert.equal(response.text, body);
    return response.status;
  },
  'two requests on one connection': async (lab) => {
    const client = await lab.connect();
    const first = await client.request('/one');
    const second = await client.request('/two');
    if (first.status === 200) assert.equal(first.json().target, '/one');
    if (second.status === 200) assert.equal(second.json().target, '/two');
    return Math.max(first.status, second.status);
  },
  'a WebSocket that echoes and closes': async (lab) => {
    const socket = await lab.rawWebSocket();
    if (socket.response.status !== 101) return socket.response.status;
    await socket.echoes?.('hello');
    await socket.close(1000);
    return 200;
  },
};

const overTls = {
  options: () => ({ servers: { s1: { tls: pki.server.node } }, pools: { app: { tls: { ca: pki.ca.cert } } }, listeners: { web: { tls: { certificates: [pki.site.config] } } } }),
  operations: 16, // handshakes have some
};
const scenariosOverTls = {
  'an exchange over TLS on both sides': scenarios['an exchange with a body both ways'],
  'a WebSocket over TLS on both sides': scenarios['a WebSocket that echoes and closes'],
  'a WebSocket over TLS with much to say': async (lab) => {
    const socket = await lab.rawWebSocket();
    if (socket.response.status !== 101) return socket.response.status;
    for (let i = 0; i < 3; i++) await socket.send(body);
    for (let i = 0; i < 3; i++) assert.equal(await socket.message(), body);
    await socket.close(1000);
    return 200;
  },
};

// The client's own view of a failure: refused with a status of ours, or a connection that ended.
function isCleanEnd(err) {
  return /ended \((fin|reset)|closed during the handshake|disconnected before secure|ECONNRESET|ECONNREFUSED|EPIPE|instead of 101|502|503|504/.test(String(err.message) + err.code);
}

async function play(t, fault, { scenario, options, operations }, mustSucceed) {
  const lab = await Lab.start(t, { workers: 1, env: { LIMPET_FAULT: fault }, ...options() });
  let status;
  try {
    status = await scenario(lab);
  } catch (err) {
    if (mustSucceed || !isCleanEnd(err)) throw err;
    status = 'ended';
  }
  if (mustSucceed) assert.equal(status, 200, `${fault} must not be seen`);
  else assert.ok([200, 'ended', 502, 503, 504].includes(status), `${fault}: ${status}`);
  // The fault was one. A k-th operation that the scenario did not reach may hit a request that
  // follows it, so the last of a few is the one that must be served.
  for (let i = 0; i < operations; i++) {
    const after = await lab.request('/after').then((response) => response.status, (err) => (isCleanEnd(err) ? 'ended' : Promise.reject(err)));
    if (mustSucceed) assert.equal(after, 200);
  }
  assert.equal((await lab.request('/last')).status, 200);
}

const visible = [['recv', 'ECONNRESET'], ['recv', 'ETIMEDOUT'], ['send', 'EPIPE'], ['send', 'ECONNRESET'], ['connect', 'ECONNREFUSED'], ['connect', 'ETIMEDOUT']];
const invisible = [['recv', 'ENOBUFS'], ['send', 'short'], ['accept', 'EMFILE'], ['accept', 'ECANCELED']];

function describeFaults(name, what) {
  describe(name, { concurrency: 3 }, () => {
    for (const [operation, error] of visible)
      test(`ends cleanly whichever ${operation} fails with ${error}`, async (t) => {
        const last = operation === 'connect' ? 2 : what.operations;
        for (let k = 1; k <= last; k++) await t.test(`number ${k}`, (one) => play(one, `${operation}:${error}:${k}`, what, false));
      });
    for (const [operation, error] of invisible)
      test(`does not notice which ${operation} meets ${error}`, async (t) => {
        const last = operation === 'accept' ? 2 : what.operations;
        for (let k = 1; k <= last; k++) await t.test(`number ${k}`, (one) => play(one, `${operation}:${error}:${k}`, what, true));
      });
    test('does not notice that every send is short and every third receive finds no buffer', async (t) => {
      await t.test('sends', (one) => play(one, 'send:short:1:1', what, true));
      await t.test('receives', (one) => play(one, 'recv:ENOBUFS:1:3', what, true));
    });
  });
}

for (const [name, scenario] of Object.entries(scenarios)) describeFaults(name, { scenario, options: () => ({}), operations: OPERATIONS_MAX });
for (const [name, scenario] of Object.entries(scenariosOverTls)) describeFaults(name, { scenario, ...overTls });

describe('a peer that does not take our close_notify', { concurrency: 3 }, () => {
  const handle = (request, answer) => answer.respond(200); // in one piece
  const options = { workers: 1, servers: { s1: { handle } }, timeouts: { keep_alive: '200ms', stalled: '300ms', linger: '10s' }, listeners: overTls.options().listeners };

  for (const [what, end] of [['that was idle for too long', () => {}], ['whose turn in a drain has come', (lab) => lab.terminate()]])
    test(`is not waited for longer than timeouts.stalled: a client ${what}`, async (t) => {
      const lab = await Lab.start(t, { ...options, env: { LIMPET_FAULT: 'send:stuck:5' } }); // two flights, request, answer
      const client = await lab.connect({ tls: { maxVersion: 'TLSv1.2' } }); // whose tickets have no send of their own
      assert.equal((await client.request('/')).status, 200);
      end(lab);
      await client.isClosed();
    });
});
