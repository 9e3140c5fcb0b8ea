'use strict';
// Who is still there: a client that leaves is noticed whatever it left unread, and what only looks
// like life (an empty line, a head that drips) is not taken for it.

const { describe, test } = require('node:test');
const { Lab, END, assert, eventually } = require('./lab');

const GET = 'GET /waits HTTP/1.1\r\nHost: a\r\n\r\n';
const soon = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Servers that begin an answer of some kind and wait for their client to leave. */
const answers = {
  nothing: async () => {},
  'an interim head': (answer) => answer.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'),
  'half a head': (answer) => answer.write('HTTP/1.1 200 OK\r\nX-Half: '),
  'an event stream': async (answer) => {
    await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
    await answer.event('begun');
  },
  'chunks of another type': async (answer) => {
    await answer.head(200, { 'Content-Type': 'application/grpc-web-text', 'Transfer-Encoding': 'chunked' });
    await answer.chunk('begun');
  },
  'a body until close': async (answer) => {
    await answer.head(200, { Connection: 'close' });
    await answer.write('begun');
  },
};

const lab = (t, begin, more = {}) => Lab.start(t, { timeouts: { stream_idle: '10m', response: '10m' }, servers: { s1: { handle: async (request, answer, origin) => {
  await begin(answer, request);
  origin.hasBegun = true;
  origin.changed();
  await answer.isGone;
} } }, ...more });

describe('a client that leaves', { concurrency: 3 }, () => {
  for (const [what, begin] of Object.entries(answers)) {
    for (const [behind, bytes] of Object.entries({ nothing: '', 'a byte': 'P', 'half a request': 'GET /next HTTP/1.1\r\nHo', 'a request': GET })) {
      test(`is noticed, its request answered with ${what}, ${behind} unread behind it`, async (t) => {
        const one = await lab(t, begin);
        for (const leave of ['end', 'reset']) {
          const client = await one.raw(GET + bytes);
          await one.server('s1').until(() => one.server('s1').hasBegun, 'the request');
          client[leave]();
          await one.server('s1').until(() => one.server('s1').arrivals.every((arrival) => arrival.isClosed || arrival.isEnded), 'the server to hear of it');
          one.server('s1').hasBegun = false;
        }
        await one.logs({ path: '/waits', end: /^client-/ });
      });
    }
  }

  test('is noticed over TLS, too, behind bytes that were not read', async (t) => {
    const pki = require('./pki');
    const one = await lab(t, answers['an event stream'], { listeners: { web: { tls: { certificates: [{ cert: pki.site.cert, key: pki.site.key }] } } } });
    const client = await one.raw(`${GET}more`);
    await client.readUntil('begun');
    client.destroy();
    await one.server('s1').until(() => one.server('s1').arrivals.every((arrival) => arrival.isClosed || arrival.isEnded), 'the server to hear of it');
  });

  test('is noticed when what lies unread came long after the request', async (t) => {
    const one = await lab(t, answers['an event stream']);
    const client = await one.raw(GET);
    await client.readUntil('begun');
    await soon(300);
    await client.write('more');
    await soon(100);
    client.destroy();
    await one.server('s1').until(() => one.server('s1').arrivals[0].isClosed || one.server('s1').arrivals[0].isEnded, 'the server to hear of it');
  });

  test('has said FIN, and still gets the rest of a response of known length', async (t) => {
    const one = await Lab.start(t, { servers: { s1: { handle: async (request, answer, origin) => {
      await answer.head(200, { 'Content-Length': 8 });
      await answer.write('half');
      await origin.until(() => origin.mayGoOn, 'leave to go on');
      await answer.write('half');
    } } } });
    for (const behind of ['', 'P']) {
      one.server('s1').mayGoOn = false;
      const client = await one.raw(GET + behind);
      await client.readUntil('half');
      await soon(200);
      client.end();
      await soon(200);
      one.server('s1').mayGoOn = true;
      one.server('s1').changed();
      assert.equal((await client.read(4)).toString(), 'half');
    }
  });

  test('a pipelined request behind a slow one is served all the same', async (t) => {
    const one = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      await soon(300);
      await answer.respond(200, {}, request.target);
    } } } });
    const client = await one.raw('GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal((await client.response()).text, '/a');
    assert.equal((await client.response()).text, '/b');
  });
});

describe('what is no sign of life', { concurrency: 4 }, () => {
  for (const [what, bytes] of Object.entries({ 'an empty line': '\r\n', 'half an empty line': '\r' })) {
    test(`${what} begins no request: keep_alive counts, and there is no 408`, async (t) => {
      const one = await Lab.start(t, { timeouts: { head: '200ms', keep_alive: '10m' } });
      const client = await one.raw(bytes);
      await soon(700);
      await client.write('\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n'.slice(bytes === '\r' ? 1 : 2));
      assert.equal((await client.response()).status, 200);
      const idle = await Lab.start(t, { timeouts: { head: '10m', keep_alive: '400ms' } });
      const other = await idle.raw(bytes);
      assert.equal((await other.readAll()).length, 0);
      assert.equal(other.ended, 'fin');
    });
  }

  test('behind an empty line a head that does not end is 408', async (t) => {
    const one = await Lab.start(t, { timeouts: { head: '300ms', keep_alive: '10m' } });
    const client = await one.raw('\r\n');
    await soon(100);
    await client.write('GET / HT');
    assert.equal((await client.response()).status, 408);
  });

  test('an idle client that sent an empty line has its turn in a drain', async (t) => {
    const one = await Lab.start(t, { drain: { delay: '0s', deadline: '3s', spread: '20%' }, timeouts: { keep_alive: '10m', head: '10m' } });
    const client = await one.connect();
    await client.request('/');
    await client.write('\r\n');
    await eventually(() => client.socket.bytesWritten > 0, 'the empty line to leave');
    one.terminate();
    assert.equal((await client.readAll()).length, 0);
    await one.exitsWith(0);
  });

  test('a response head that drips does not move timeouts.response', async (t) => {
    const one = await Lab.start(t, { timeouts: { response: '600ms' }, servers: { s1: { handle: async (request, answer) => {
      const isInterim = request.target === '/interim';
      await answer.write(isInterim ? '' : 'HTTP/1.1 200 OK\r\nX: ');
      while (!answer.socket.destroyed) {
        await answer.write(isInterim ? 'HTTP/1.1 103 Early Hints\r\n\r\n' : 'x');
        await soon(60);
      }
    } } } });
    const client = await one.raw('GET /drips HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal((await client.response()).status, 504);
    const other = await one.raw('GET /interim HTTP/1.1\r\nHost: a\r\n\r\n');
    assert.equal((await other.response()).status, 504);
    await one.logs({ path: '/interim', end: END.responseTimeout });
  });
});
