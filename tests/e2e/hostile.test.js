'use strict';
// A corpus of hostile requests and responses. Whatever is sent, no ambiguous message reaches a
// server and no client gets another's answer: behind each row a stranger asks and must be answered
// with its own words.

const { describe, test } = require('node:test');
const { Lab, END, assert } = require('./lab');
const { requestText } = require('./client');
const { acceptOf, makeKey } = require('./frames');
const requests = require('./hostile-requests');
const responses = require('./hostile-responses');

const LANES = 4; // rows that run at once, each with its own limpet

/** A stranger on a new connection and one on a kept connection: each gets its own answer. */
async function strangersAreSafe(lab, number, kept) {
  const fresh = await lab.request(`/stranger/${number}`);
  assert.equal(fresh.status, 200);
  assert.equal(fresh.json().target, `/stranger/${number}`);
  const again = await kept.request(`/kept/${number}`);
  assert.equal(again.json().target, `/kept/${number}`);
}

async function playRefused(client, statuses, check) {
  const response = await client.response();
  assert.ok(statuses.includes(response.status), `status ${response.status}, wanted ${statuses}`);
  check?.(response);
  if (response.status === 426 || response.status === 417) return; // the message itself was clear
  const rest = await client.readAll();
  assert.equal(rest.length, 0, `more came behind the refusal: ${rest}`);
}

async function playCut(client) {
  const all = (await client.readAll()).toString('latin1');
  assert.doesNotMatch(all, /^HTTP\/1\.1 200/, 'a broken message was answered as if it were whole');
  if (all !== '') assert.match(all, /^HTTP\/1\.1 400 /);
}

async function playRequest(lab, kept, [name, bytes, wanted], number) {
  const origin = lab.server('s1');
  const target = `case-${number}`;
  const before = origin.requests.length;
  const client = await lab.raw(Buffer.from(bytes.replaceAll('CASE', target), 'latin1'));
  client.keepsOpen = false;
  try {
    if (wanted.ok) {
      const response = await client.response();
      assert.equal(response.status, 200);
      const request = origin.requests.slice(before).find((one) => one.target.includes(wanted.target ?? target));
      assert.ok(request, 'the request reached the server');
      await wanted.check?.(request);
    } else if (wanted.cut) {
      await playCut(client);
      for (const request of origin.requests.slice(before)) {
        assert.ok(!request.isWhole, `a whole message reached the server: ${request.raw}`);
        await origin.until(() => request.arrival.isClosed || request.arrival.isEnded, 'the server connection of a broken body to end');
      }
    } else {
      await playRefused(client, wanted.statuses ?? wanted, wanted.check);
      assert.deepEqual(origin.requests.slice(before).map((one) => one.first), [], 'something reached the server');
    }
  } finally {
    client.destroy();
  }
  await strangersAreSafe(lab, number, kept);
  assert.ok(!origin.text.includes('/smuggled'), 'a request was smuggled');
  assert.deepEqual(origin.faults.map(String), [], name);
}

describe('hostile requests', { concurrency: LANES }, () => {
  const size = Math.ceil(requests.length / LANES);
  for (let lane = 0; lane < LANES; lane++) {
    const rows = requests.slice(lane * size, (lane + 1) * size);
    test(`rows ${lane * size + 1} to ${lane * size + rows.length} reach no server ambiguously and harm no stranger`, async (t) => {
      const lab = await Lab.start(t, { timeouts: { head: '3s', body: '3s', linger: '10s' } });
      const kept = await lab.connect();
      for (const [index, row] of rows.entries()) {
        await t.test(row[0], () => playRequest(lab, kept, row, lane * size + index));
      }
    });
  }
});

/** What the server says to the request of a row; anybody else is answered honestly. */
function hostileHandler(rows) {
  const answer = async (request, out) => {
    const match = /^\/case-(\d+)/.exec(request.target);
    if (!match) return false;
    const key = request.get('sec-websocket-key');
    await request.body;
    await out.write(Buffer.from(rows[match[1]][1].replace('ACCEPT', key ? acceptOf(key) : ''), 'latin1'));
    return true;
  };
  return { handle: answer, handleUpgrade: answer };
}

function askCase(number, { upgrade, method } = {}) {
  const headers = upgrade ? { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': makeKey() } : {};
  return requestText(`/case-${number}`, { method: method ?? 'GET', headers });
}

/** Either one of our own statuses, an honest end of the row, or a message that is visibly cut. */
async function playResponse(lab, kept, [name, , wanted, options], number) {
  const client = await lab.raw(askCase(number, options));
  const allowed = [wanted].flat();
  const seen = await client.response({ method: options?.method }).catch((err) => ({ cut: err }));
  const text = JSON.stringify(seen.fields ?? '') + (seen.body ?? '');
  assert.ok(!text.includes('evil'), `${name}: the second answer got through`);
  if (seen.cut) {
    assert.match(String(seen.cut), /the connection ended/, `${name}: ${seen.cut}`);
    assert.ok(allowed.includes('cut'), `${name}: the response was cut (${seen.cut})`);
  } else if (typeof wanted === 'string' && wanted !== 'cut') {
    assert.equal(seen.status, 200);
    assert.equal(seen.text, wanted);
  } else {
    assert.ok(allowed.includes(seen.status) || (allowed.includes('cut') && seen.status === 502), `${name}: status ${seen.status}, wanted ${allowed}`);
    if (seen.status === 502) await lab.logs({ path: `/case-${number}`, status: 502 });
  }
  if (!client.ended) { // what the server said in excess must not answer our next request either
    const next = await client.request(`/next/${number}`).catch(() => null);
    if (next) assert.equal(next.json().target, `/next/${number}`);
  }
  client.destroy();
  for (let i = 0; i < 3; i++) await strangersAreSafe(lab, number, kept);
}

describe('hostile responses', { concurrency: LANES }, () => {
  const size = Math.ceil(responses.length / LANES);
  for (let lane = 0; lane < LANES; lane++) {
    const rows = responses.slice(lane * size, (lane + 1) * size);
    test(`rows ${lane * size + 1} to ${lane * size + rows.length} reach no client as if they were whole`, async (t) => {
      const lab = await Lab.start(t, { workers: 1, servers: { s1: hostileHandler(responses) }, timeouts: { response: '3s', linger: '10s' } });
      const kept = await lab.connect();
      for (const [index, row] of rows.entries()) {
        await t.test(row[0], () => playResponse(lab, kept, row, lane * size + index));
      }
    });
  }

  test('what a server says on an idle connection is nobody\'s answer', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { kind: 'raw', script: async (connection, origin) => {
      const number = origin.arrivals.length;
      for (;;) {
        const head = (await connection.readUntil('\r\n\r\n')).toString();
        const text = `${number}:${head.split(' ')[1]}`;
        await connection.write(`HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`);
        if (number > 1) continue;
        await new Promise((resolve) => { origin.speak = resolve; });
        await connection.write('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil');
      }
    } } } });
    const origin = lab.server('s1');
    const client = await lab.connect();
    assert.equal((await client.request('/a')).text, '1:/a');
    await origin.until(() => origin.speak, 'the script to wait');
    origin.speak();
    await origin.until(() => origin.arrivals[0].isClosed || origin.arrivals[0].isEnded, 'the poisoned connection to end');
    assert.equal((await client.request('/b')).text, '2:/b');
    assert.equal((await lab.request('/c')).text, '2:/c');
    await lab.logs({ path: '/c', end: END.done });
  });
});
