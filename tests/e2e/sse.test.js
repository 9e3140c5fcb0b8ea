'use strict';
// Event streams, with npm `eventsource` and with raw bytes.

const { describe, test } = require('node:test');
const { Lab, END, assert } = require('./lab');

const streams = (lab, name = 's1') => lab.server(name).until(() => lab.server(name).streams?.size && lab.server(name).streams, 'an open stream');

describe('event streams', { concurrency: 4 }, () => {
  test('events reach the client one by one, as they are sent', async (t) => {
    const lab = await Lab.start(t);
    const client = lab.eventSource('/sse');
    await client.receives('hello from s1');
    const [stream] = await streams(lab);
    for (let i = 0; i < 30; i++) {
      await stream.event(`event ${i}`);
      await client.receives(`event ${i}`); // the next is sent only when this one is here
    }
    await lab.logs({ event: 'start', class: 'sse', path: '/sse', status: 200 });
    client.destroy();
    await lab.server('s1').until(() => lab.server('s1').streams.size === 0, 'the server to hear that the client left');
    await lab.logs({ event: 'end', class: 'sse', path: '/sse', end: (end) => end === END.clientClosed || end === END.clientReset });
  });

  test('a stream adds little delay to its events', async (t) => {
    const lab = await Lab.start(t);
    const client = lab.eventSource('/sse');
    await client.receives('hello from s1');
    const [stream] = await streams(lab);
    const delays = [];
    for (let i = 0; i < 50; i++) {
      const at = process.hrtime.bigint();
      await stream.event(`tick ${i}`);
      await client.receives(`tick ${i}`);
      delays.push(Number(process.hrtime.bigint() - at) / 1e6);
    }
    const best = Math.min(...delays.slice(25)); // the kernel acknowledges the first few at once
    t.diagnostic(`best ${best.toFixed(2)} ms, worst ${Math.max(...delays).toFixed(2)} ms`);
    assert.ok(best < 30, `nothing waits for a timer: ${best} ms at best`); // Nagle and delayed ACK alone would be 40
  });

  test('a client reconnects with Last-Event-ID when the server ends the stream', async (t) => {
    let times = 0;
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      times++;
      await answer.head(200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'Transfer-Encoding': 'chunked' });
      await answer.chunk(`retry: 10\nid: ${times}\ndata: last was ${request.get('last-event-id') ?? 'none'}\n\n`);
      if (times === 1) await answer.lastChunk();
      else await answer.isGone;
    } } } });
    const client = lab.eventSource('/');
    await client.receives('last was none');
    await client.receives('last was 1');
  });

  test('a stream until close is passed on at once, too', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Type': 'text/event-stream', Connection: 'close' });
      await answer.write('data: one\n\n');
      await new Promise((resolve) => { lab.goOn = resolve; });
      await answer.write('data: two\n\n');
      answer.close();
    } } } });
    const client = await lab.connect();
    await client.send('/');
    const head = await client.responseHead();
    assert.equal(head.get('content-type'), 'text/event-stream');
    await client.readUntil('data: one\n\n');
    lab.goOn();
    await client.readUntil('data: two\n\n');
    await client.isClosed();
  });

  test('a stream of many small and some large events comes whole', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Type': 'text/event-stream', 'Transfer-Encoding': 'chunked' });
      for (let i = 0; i < 300; i++) await answer.event(`${i} ${'x'.repeat((i * i) % 9000)}`);
      await answer.lastChunk();
    } } } });
    const response = await lab.request('/');
    const events = response.text.split('\n\n').filter(Boolean);
    assert.equal(events.length, 300);
    events.forEach((event, i) => assert.equal(event, `data: ${i} ${'x'.repeat((i * i) % 9000)}`));
    await lab.logs({ event: 'end', class: 'sse', end: END.done });
  });

  test('a stream to a client of HTTP/1.0 has no chunks', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.send('/sse', { version: '1.0' });
    const head = await client.responseHead();
    assert.equal(head.get('transfer-encoding'), undefined);
    assert.equal((await client.readUntil('\n\n')).toString(), 'data: hello from s1\n\n');
  });

  test('a server that dies ends the stream visibly cut', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.connect();
    await client.send('/sse');
    await client.readUntil('data: hello from s1\n\n');
    await lab.server('s1').kill();
    const rest = (await client.readAll()).toString();
    assert.doesNotMatch(rest, /0\r\n\r\n$/);
    await lab.logs({ event: 'end', class: 'sse', end: (end) => end === END.serverReset || end === END.serverClosed });
  });
});
