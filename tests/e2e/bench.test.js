'use strict';
// The benchmark's programs: bench-load says what happened and nothing else, whatever the server does;
// bench-origin and bench-floor serve each of its modes. They stand beside the program under test.

const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const net = require('node:net');
const { environment } = require('./limpet');
const { eventually } = require('./wait');
const { OP, frame, closeFrame, acceptOf } = require('./frames');
const { takePort } = require('./ports');
const {
  BODY, ERRORS, Program, neighbour, startLoad, resultOf, measureOnce, measure, assertErrors,
  Server, response, http, webSocket, echoFrame, withByteChanged,
} = require('./bench-load');

// ---- Counts ------------------------------------------------------------------------------------

describe('bench-load counts what happened', { concurrency: 2 }, () => {
  test('http: as many requests as the server saw, over as many connections as were asked for', async (t) => {
    const server = await Server.start(t, http((socket) => socket.write(response())));
    const result = await measure(t, 'http', server.port);
    await server.settled();
    assert.ok(result.units > 0);
    assert.equal(result.units + result.unfinished, server.units);
    assert.equal(server.connections.length, 4);
    assert.equal(result.bytes_out, server.bytes);
    assert.equal(result.bytes_in, result.units * response().length);
    assert.ok(Math.abs(result.per_second - result.units / result.seconds) < 1);
    assertErrors(result);
  });

  test('http: what came in the warm-up does not count', async (t) => {
    const server = await Server.start(t, http((socket) => socket.write(response())));
    const load = startLoad(t, 'http', server.port, { warmup: 0.4 });
    await load.says('load: measuring');
    const before = server.units;
    const result = await resultOf(load);
    await server.settled();
    assert.ok(before > 0);
    assert.ok(result.units <= server.units - before + 8, `${result.units} of ${server.units}, ${before} before`);
  });

  test('close: a unit is a connection that the server has ended', async (t) => {
    const server = await Server.start(t, http((socket, number, head) => {
      assert.match(head, /^Connection: close$/m);
      socket.end(response());
    }));
    const result = await measure(t, 'close', server.port);
    await server.settled();
    assert.ok(result.units > 0);
    assert.ok(result.units <= server.units && server.units <= result.units + result.unfinished);
    assert.equal(result.reopened, 0);
    assertErrors(result);
  });

  test('ws: each message comes back, whatever its size', async (t) => {
    for (const size of [0, 5, 64, 125, 126, 65535, 65536, 300000]) {
      const server = await Server.start(t, webSocket(echoFrame));
      const result = await measure(t, 'ws', server.port, { size, seconds: 0.2 });
      await server.settled();
      assert.ok(result.units > 0, `${size} bytes`);
      assert.ok(result.units <= server.units && server.units <= result.units + result.unfinished);
      assert.equal(server.connections.length, 4);
      assertErrors(result);
    }
  });

  test('churn: a unit is a WebSocket from its handshake to its Close', async (t) => {
    const codes = [];
    const server = await Server.start(t, webSocket((socket, one) => {
      if (one.opcode === OP.CLOSE) codes.push(one.code);
      echoFrame(socket, one);
    }));
    const result = await measure(t, 'churn', server.port);
    await server.settled();
    assert.ok(result.units > 0);
    assert.ok(codes.length >= result.units && codes.length <= result.units + result.unfinished);
    assert.ok(codes.every((code) => code === 1000));
    assertErrors(result);
  });

  test('sse: each event, with the time since the server wrote it', async (t) => {
    const readers = [];
    const server = await Server.start(t, http((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
      readers.push(socket);
    }));
    const load = startLoad(t, 'sse', server.port, { seconds: 2, connections: 3 });
    await load.says('load: measuring');
    const aged = process.hrtime.bigint() - 20000000n;
    for (let i = 0; i < 10; i++) {
      // The third event is cut in the middle of its digits, by a chunk and by a segment.
      const text = `: a comment\nevent: tick\ndata: ${String(aged).padStart(19, '0')} xxx\n\n`;
      const cut = i === 3 ? 35 : text.length;
      for (const piece of [text.slice(0, cut), text.slice(cut)]) {
        if (piece) for (const socket of readers) socket.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
        await new Promise(setImmediate);
      }
    }
    const result = await resultOf(load);
    assert.equal(result.units, 30);
    assert.ok(result.latency_us.p50 > 20000);
    assertErrors(result);
  });

  test('down: whole bodies as units, and each byte that came', async (t) => {
    const body = Buffer.alloc(3000000, 'b');
    const server = await Server.start(t, http((socket, number, head) => {
      assert.match(head, /^GET \/bytes\/3000000 /);
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
      socket.write(body);
    }));
    const result = await measure(t, 'down', server.port, { size: body.length, connections: 2 });
    assert.ok(result.units > 0);
    assert.ok(result.bytes_in >= result.units * body.length && result.bytes_in <= (result.units + 2) * (body.length + 100));
    assertErrors(result);
  });

  test('up: whole bodies as units, and each byte that was sent', async (t) => {
    const size = 3000000;
    const server = await Server.start(t, (socket, counts) => {
      let left = -1;
      socket.on('data', (data) => {
        if (left < 0) left = size + data.indexOf('\r\n\r\n') + 4;
        left -= data.length;
        if (left > 0) return;
        left = -1;
        counts.unit();
        socket.write(response(String(size)));
      });
    });
    const result = await measure(t, 'up', server.port, { size, connections: 2 });
    await server.settled();
    assert.ok(result.units > 0);
    assert.ok(server.units - result.units <= 2);
    assert.ok(result.bytes_out >= result.units * size);
    assertErrors(result);
  });

  test('slow: the readers leave the bytes to those who send them', async (t) => {
    const body = Buffer.alloc(8 << 20, 'b');
    const server = await Server.start(t, http((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`);
      socket.write(body);
    }));
    const result = await measureOnce(t, 'slow', server.port, { size: body.length, seconds: 1 });
    const most = 4 * 8192 * (10 * result.seconds + 1);
    assert.ok(result.bytes_in > 0 && result.bytes_in <= most, `${result.bytes_in} bytes`);
    assertErrors(result);
  });

  test('tcp: each byte comes back', async (t) => {
    const server = await Server.start(t, (socket) => socket.pipe(socket));
    const result = await measure(t, 'tcp', server.port, { size: 1000 });
    await server.settled();
    assert.ok(result.units > 0);
    assert.equal(result.bytes_out, server.bytes);
    assert.equal((result.units + result.unfinished) * 1000, server.bytes);
    assertErrors(result);
  });

  test('responses count however they are framed and cut', async (t) => {
    const chunked = `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40;a=b\r\n${'x'.repeat(64)}\r\n40\r\n${'x'.repeat(64)}\r\n0\r\nTrailer: yes\r\n\r\n`;
    const kinds = [response(), chunked, `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${response()}`, response().toLowerCase().replace('http', 'HTTP')];
    const server = await Server.start(t, http(async (socket, number) => {
      for (const byte of kinds[number % kinds.length]) {
        socket.write(byte);
        await new Promise(setImmediate);
      }
    }));
    const result = await measure(t, 'http', server.port, { connections: 8 });
    assert.ok(result.units > 0);
    assertErrors(result);
  });

  test('a message may come back in fragments, with a Ping between them that is answered', async (t) => {
    const pongs = [];
    const server = await Server.start(t, webSocket((socket, one) => {
      if (one.opcode === OP.PONG) pongs.push(one.text);
      if (one.opcode !== OP.BINARY) return;
      socket.write(frame(OP.BINARY, one.payload.subarray(0, 10), { fin: false, masked: false }));
      socket.write(frame(OP.PING, 'are you there', { masked: false }));
      socket.write(frame(OP.CONTINUATION, '', { fin: false, masked: false }));
      socket.write(frame(OP.CONTINUATION, one.payload.subarray(10), { masked: false }));
    }));
    const result = await measure(t, 'ws', server.port);
    await server.settled();
    assert.ok(result.units > 0);
    assert.ok(pongs.length >= result.units && pongs.every((text) => text === 'are you there'));
    assertErrors(result);
  });

  test('a connection that the server ends in good order is reopened, not an error', async (t) => {
    const server = await Server.start(t, http((socket) => socket.end(response(BODY, 'Connection: close\r\n'))));
    const result = await measure(t, 'http', server.port);
    assert.equal(result.reopened, result.units);
    assert.ok(result.units > 0);
    assert.ok(result.units <= 4 * (100 * result.seconds + 20), 'one reconnect per connection in 10 ms');
    assertErrors(result);
  });

  test('a WebSocket that is closed between two messages is answered, and reopened', async (t) => {
    const codes = [];
    const server = await Server.start(t, webSocket((socket, one) => {
      if (one.opcode === OP.CLOSE) {
        codes.push(one.code);
        socket.end();
        return;
      }
      echoFrame(socket, one);
      socket.write(closeFrame(1001, 'going away', { masked: false }));
    }));
    const result = await measure(t, 'ws', server.port, { rate: 40, seconds: 0.5 }, [], (one) => one.reopened > 0);
    await server.settled();
    assert.ok(result.reopened > 0);
    assert.ok(codes.length >= result.reopened && codes.every((code) => code === 1001));
    // Closed, too, where the machine was so busy that the next message was on its way.
    assertErrors(result, { closed: result.errors.closed });
  });
});

// ---- TLS ---------------------------------------------------------------------------------------

describe('bench-load --tls', { concurrency: 2 }, () => {
  const closing = http((socket) => socket.end(response()));

  for (const group of ['X25519', 'P-256']) {
    test(`full handshakes with ${group} and one suite, each counted`, async (t) => {
      const server = await Server.start(t, closing, {});
      const result = await measure(t, 'close', server.port, { group }, ['--tls']);
      assert.ok(result.units > 0);
      assert.deepEqual({ ...result.tls, handshakes: 0 }, { version: 'TLSv1.3', suite: 'TLS_AES_128_GCM_SHA256', group, handshakes: 0, resumed: 0 });
      assert.ok(Math.abs(result.tls.handshakes - result.units) <= 4);
      assertErrors(result);
    });
  }

  test('with --resume each place resumes its last session', async (t) => {
    let resumed = 0;
    const server = await Server.start(t, (socket, counts) => { resumed += socket.isSessionReused(); closing(socket, counts); }, {});
    const result = await measure(t, 'close', server.port, { connections: 20, warmup: 0.01 }, ['--tls', '--resume']);
    assert.ok(result.units > 0);
    assert.equal(result.tls.resumed, result.tls.handshakes, 'the warm-up lasts until each place has a session');
    assert.equal(server.connections.length - resumed, 20, 'one full handshake for each place');
    assertErrors(result);
  });

  test('each mode goes through it: every byte is as it would be without', async (t) => {
    const modes = { http: http((socket) => socket.write(response())), ws: webSocket(echoFrame), churn: webSocket(echoFrame), tcp: (socket) => socket.pipe(socket) };
    for (const [mode, serve] of Object.entries(modes)) {
      const server = await Server.start(t, serve, {});
      const result = await measure(t, mode, server.port, mode === 'http' || mode === 'churn' ? {} : { size: 100000 }, ['--tls']);
      assert.ok(result.units > 0, mode);
      assertErrors(result);
    }
  });

  test('bulk both ways, in bytes of the bodies', async (t) => {
    const size = 3000000;
    const down = await Server.start(t, http((socket) => { socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`); socket.write(Buffer.alloc(size)); }), {});
    const got = await measure(t, 'down', down.port, { size, connections: 2 }, ['--tls']);
    assert.ok(got.units > 0 && got.bytes_in >= got.units * size && got.bytes_in <= (got.units + 2) * (size + 100));
    assertErrors(got);
    const up = await Server.start(t, (socket) => {
      let left = -1;
      socket.on('data', (data) => {
        if (left < 0) left = size + data.indexOf('\r\n\r\n') + 4;
        left -= data.length;
        if (left === 0) { left = -1; socket.write(response(String(size))); }
      });
    }, {});
    const sent = await measure(t, 'up', up.port, { size, connections: 2 }, ['--tls']);
    assert.ok(sent.units > 0 && sent.bytes_out >= sent.units * size);
    assertErrors(sent);
  });

  test('what speaks no TLS, or no such version, is an error of its own', async (t) => {
    const plain = await Server.start(t, (socket) => socket.write('220 welcome\r\n'));
    const old = await Server.start(t, closing, { maxVersion: 'TLSv1.2' });
    for (const server of [plain, old]) {
      const load = startLoad(t, 'close', server.port, { seconds: 0.2 }, ['--tls']);
      assert.equal((await load.exits()).code, 1);
      assert.match(load.stderr, /no connection came about \(tls/);
    }
  });
});

// ---- Errors ------------------------------------------------------------------------------------

describe('bench-load names each error', { concurrency: 2 }, () => {
  /** Every third unit goes wrong, the others are good. */
  const failing = (name, mode, serve, wanted, options = {}) => test(name, async (t) => {
    const server = await Server.start(t, serve);
    const some = (result) => result.units > 0 && ERRORS.some((kind) => result.errors[kind] > 0);
    const result = await measure(t, mode, server.port, options, [], some);
    assert.ok(result.units > 0, 'others go on');
    assertErrors(result, wanted);
  });
  const third = (good, bad) => (socket, number, ...more) => (number % 3 === 0 ? bad : good)(socket, number, ...more);
  const good = (socket) => socket.write(response());
  const thirdFrame = (bad) => webSocket((socket, one, number, server) => {
    if (one.opcode < OP.CLOSE && number % 3 === 0) bad(socket, one, server);
    else echoFrame(socket, one);
  });

  test('a status that was not expected, by its number, on a connection that stays', async (t) => {
    const server = await Server.start(t, http(third(good, (socket) => socket.write('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nno\n'))));
    const result = await measure(t, 'http', server.port, {}, [], (one) => one.units > 0 && one.status[503] > 0);
    await server.settled();
    assert.ok(result.units > 0 && result.status[503] > 0);
    assert.equal(result.units + result.status[503] + result.unfinished, server.units);
    assert.equal(server.connections.length, 4);
    assertErrors(result, { status: result.status[503] });
  });

  failing('a reset in the middle of a body', 'http', http(third(good, (socket) => socket.write(response().slice(0, -10), () => socket.resetAndDestroy()))), { reset: true });
  failing('a FIN in the middle of a body', 'http', http(third(good, (socket) => socket.end(response().slice(0, -10)))), { closed: true });
  failing('a FIN in the middle of a chunk', 'http', http(third(good, (socket) => socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n80\r\nxx'))), { closed: true });
  failing('a FIN instead of a response', 'http', http(third(good, (socket) => socket.end())), { closed: true });
  failing('a body of another length', 'http', http(third(good, (socket) => socket.write(response('short')))), { protocol: true });
  failing('bytes behind the response', 'http', http(third(good, (socket) => socket.write(`${response()}HTTP`))), { protocol: true });
  failing('what is no HTTP', 'http', http(third(good, (socket) => socket.write('220 welcome\r\n\r\n'))), { protocol: true });
  failing('a chunk whose size is no number', 'http', http(third(good, (socket) => socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n'))), { protocol: true });
  failing('no answer in time', 'http', http(third(good, () => {})), { timeout: true }, { timeout: 0.2, seconds: 0.8 });
  failing('no FIN in time', 'close', http(third((socket) => socket.end(response()), good)), { timeout: true }, { timeout: 0.2, seconds: 0.8 });
  failing('a byte that came back wrong', 'tcp', (socket, server) => socket.on('data', (data) => {
    socket.write(server.unit() % 3 === 0 ? withByteChanged(data, data.length - 1) : data);
  }), { protocol: true });
  failing('an echo that is too long', 'tcp', (socket, server) => socket.on('data', (data) => {
    socket.write(server.unit() % 3 === 0 ? Buffer.concat([data, data]) : data);
  }), { protocol: true });
  failing('a WebSocket echo with a wrong byte', 'ws', thirdFrame((socket, one) => socket.write(frame(one.opcode, withByteChanged(one.payload, 40), { masked: false }))), { protocol: true });
  failing('a WebSocket echo that is too short', 'ws', thirdFrame((socket, one) => socket.write(frame(one.opcode, one.payload.subarray(1), { masked: false }))), { protocol: true });
  failing('the echo of another message', 'ws', webSocket((socket, one, number, server) => {
    const { payload } = server.last ?? one;
    server.last = number % 3 === 1 ? one : undefined;
    socket.write(frame(one.opcode, payload, { masked: false }));
  }), { protocol: true });
  failing('a frame that no server may mask', 'ws', thirdFrame((socket, one) => socket.write(frame(one.opcode, one.payload))), { protocol: true });
  failing('a WebSocket closed instead of an echo', 'ws', thirdFrame((socket) => socket.write(closeFrame(1011, '', { masked: false }))), { closed: true });
  failing('a WebSocket reset instead of an echo', 'ws', thirdFrame((socket) => socket.resetAndDestroy()), { reset: true });
  failing('an event without its time', 'sse', http((socket, number) => {
    const stamp = number % 3 === 0 ? 'soon' : String(process.hrtime.bigint()).padStart(19, '0');
    const event = `data: ${stamp}\n\n`;
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
    const timer = setInterval(() => socket.write(`${event.length.toString(16)}\r\n${event}\r\n`), 20);
    socket.on('close', () => clearInterval(timer));
  }), { protocol: true });

  test('an upgrade that is refused, by its status', async (t) => {
    const server = await Server.start(t, webSocket(echoFrame, { upgrade: () => 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n' }));
    const result = await measureOnce(t, 'ws', server.port);
    assert.equal(result.units, 0);
    assert.equal(result.status[404], result.errors.status);
    assertErrors(result, { status: true });
  });

  test('an upgrade that is accepted with a wrong key', async (t) => {
    const server = await Server.start(t, webSocket(echoFrame, { upgrade: () => `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf('another')}\r\n\r\n` }));
    assertErrors(await measureOnce(t, 'ws', server.port), { protocol: true });
  });

  test('refused connects once the server is gone, and not in a busy loop', async (t) => {
    const server = await Server.start(t, http(good));
    const load = startLoad(t, 'http', server.port, { seconds: 2 });
    await load.says('load: measuring');
    await server.until(() => server.units > 20, 'some requests');
    server.listener.close();
    server.connections.forEach((socket) => socket.destroy());
    const result = await resultOf(load);
    assert.ok(result.units > 0);
    const { refused } = result.errors;
    assert.ok(refused > 0 && refused <= 4 * (100 * result.seconds + 1), `${refused} refused`);
    assert.equal(result.errors.status + result.errors.protocol + result.errors.timeout + result.errors.connect, 0);
  });
});

// ---- Time --------------------------------------------------------------------------------------

describe('bench-load measures time', { concurrency: 2 }, () => {
  /** Answers at once, but for half a second not at all. */
  const stalling = (server) => {
    const waiting = [];
    setTimeout(() => {
      server.isStalled = true;
      setTimeout(() => {
        server.isStalled = false;
        waiting.splice(0).forEach((socket) => socket.write(response()));
      }, 500);
    }, 500);
    return (socket) => (server.isStalled ? waiting.push(socket) : socket.write(response()));
  };

  test('a fixed rate counts from the moment each unit was due, so a stall cannot hide', async (t) => {
    const server = await Server.start(t, http((socket) => server.answer(socket)));
    server.answer = (socket) => socket.write(response());
    const load = startLoad(t, 'http', server.port, { rate: 100, seconds: 2, connections: 10 }, ['--timeline']);
    await load.says('load: measuring');
    server.answer = stalling(server);
    const result = await resultOf(load);
    // All 200 count, though ten connections cannot ask while all wait; 50 of them were late.
    assert.ok(result.units + result.unfinished >= 198, `${result.units} units`);
    assert.ok(result.units <= 100 * result.seconds + 2, `${result.units} units`);
    assert.ok(result.latency_us.max >= 450000, `max ${result.latency_us.max} us`);
    assert.ok(result.latency_us['p99.9'] >= 400000, `p99.9 ${result.latency_us['p99.9']} us`);
    assert.ok(result.latency_us.p90 >= 150000, `p90 ${result.latency_us.p90} us`);
    assert.ok(result.latency_us.p50 < result.latency_us.max / 2, `p50 ${result.latency_us.p50} us`);
    // The timeline shows when: nothing during the stall, and what came behind it was late.
    const silent = result.timeline.findIndex((bucket) => bucket.units === 0 && bucket.ms > 400);
    assert.ok(silent > 0 && result.timeline.slice(silent).some((bucket) => bucket.max_us >= 400000));
    assertErrors(result);
  });

  test('a closed loop sees the same stall once per connection', async (t) => {
    const server = await Server.start(t, http((socket) => server.answer(socket)));
    server.answer = (socket) => socket.write(response());
    const load = startLoad(t, 'http', server.port, { seconds: 2, connections: 2 });
    await load.says('load: measuring');
    server.answer = stalling(server);
    const result = await resultOf(load);
    assert.ok(result.latency_us.max >= 450000);
    assert.ok(result.latency_us.p50 < result.latency_us.max / 2);
  });

  test('units that wait for a connection longer than the timeout are errors', async (t) => {
    const server = await Server.start(t, http(() => {}));
    const options = { rate: 100, seconds: 1, connections: 2, timeout: 0.3 };
    const result = await measureOnce(t, 'http', server.port, options);
    assert.equal(result.units, 0);
    // Of 100 units 30 are not late yet when the window ends.
    const { errors: { timeout }, unfinished, seconds } = result;
    assert.ok(timeout > 0 && timeout <= 100 * (seconds - 0.3) + 2, `${timeout} timeouts`);
    const all = timeout + unfinished;
    assert.ok(all >= 98 && all <= 100 * seconds + 2, `${timeout} timeouts, ${unfinished} unfinished`);
    assert.ok(result.unfinished_max_us <= 1e6 * seconds);
  });

  test('a fixed rate keeps its rate', async (t) => {
    for (const mode of ['http', 'close']) {
      const server = await Server.start(t, http((socket) => socket[mode === 'close' ? 'end' : 'write'](response())));
      const result = await measure(t, mode, server.port, { rate: 300, seconds: 1, connections: 20 });
      await server.settled();
      const due = result.units + result.unfinished;
      assert.ok(due >= 290 && due <= 300 * result.seconds + 2, `${due} in ${result.seconds} s`);
      assert.ok(server.units > 0 && server.units <= due, `${server.units} of ${due} were asked in time`);
      assertErrors(result);
    }
  });

  test('the timeline adds up', async (t) => {
    const server = await Server.start(t, http((socket, number) => (number % 7 === 0 ? socket.destroy() : socket.write(response()))));
    const some = (one) => one.units > 0 && ERRORS.some((kind) => one.errors[kind] > 0);
    const result = await measure(t, 'http', server.port, { seconds: 0.75 }, ['--timeline'], some);
    const sum = (key) => result.timeline.reduce((total, bucket) => total + bucket[key], 0);
    assert.equal(sum('units'), result.units);
    assert.equal(sum('errors'), Object.values(result.errors).reduce((a, b) => a + b));
    assert.ok(sum('errors') > 0);
    assert.equal(Math.max(...result.timeline.map((bucket) => bucket.max_us)), result.latency_us.max);
    assert.deepEqual(result.timeline.map((bucket) => bucket.ms), result.timeline.map((_, i) => 100 * (i + 1)));
    assert.equal(result.timeline.length, Math.ceil(result.seconds * 10));
  });
});

// ---- What the proxy costs ----------------------------------------------------------------------

describe('bench-load samples the proxy', { concurrency: 1 }, () => {
  /** Works (uses its CPU) for so many ms of CPU time whenever a line says so. */
  const worker = `
    const { spawn } = require('child_process');
    const child = process.argv[1] === 'parent' && spawn(process.execPath, ['-e', process.env.WORKER, 'child'], { stdio: ['pipe', 'inherit', 'inherit'] });
    require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
      const [own, childs] = line.split(' ').map(Number);
      if (childs) child.stdin.write(childs + ' 0\\n');
      const begin = process.cpuUsage();
      for (let used = 0; used < own * 1000;) {
        const { user, system } = process.cpuUsage(begin);
        used = user + system;
      }
      process.stderr.write('done ');
    }).on('close', () => process.exit());
    process.stderr.write('ready ');`;

  test('CPU time is that of the window, of the process and its children', async (t) => {
    environment.WORKER = worker;
    const proxy = new Program(t, process.execPath, ['-e', worker, 'parent'], ['pipe', 'pipe', 'pipe']);
    delete environment.WORKER;
    const done = (count) => proxy.until(() => proxy.stderr.split('done').length > count, `${count} pieces of work; ${proxy.stderr}`);
    await proxy.until(() => proxy.stderr.split('ready').length > 2, 'two workers');
    proxy.child.stdin.write('400 0\n'); // before the program starts, which must not count
    await done(1);
    const server = await Server.start(t, http((socket) => socket.write(response())));
    const load = startLoad(t, 'http', server.port, { pid: proxy.child.pid, connections: 1, rate: 10, seconds: 3600 });
    await load.says('load: measuring');
    proxy.child.stdin.write('200 150\n');
    await done(3);
    load.child.kill('SIGTERM'); // the end of the window
    const result = await resultOf(load);
    const ms = result.proxy.cpu_ns / 1e6;
    assert.ok(ms >= 250 && ms <= 900, `${ms} ms of 350`);
    assert.ok(Math.abs(result.proxy.cpu_ns_per_unit * result.units - result.proxy.cpu_ns) < result.units);
    assert.ok(result.proxy.threads >= 2);
    assert.ok(result.proxy.voluntary > 0);
    assert.ok(result.proxy.pss > 1 << 20 && result.proxy.rss >= result.proxy.pss && result.proxy.pss_before > 1 << 20);
  });

  test('without --pid there is no proxy in the result', async (t) => {
    const server = await Server.start(t, http((socket) => socket.write(response())));
    const result = await measureOnce(t, 'http', server.port, { seconds: 0.1 });
    assert.equal(result.proxy, undefined);
  });
});

// ---- Idle --------------------------------------------------------------------------------------

describe('bench-load idle', { concurrency: 2 }, () => {
  test('holds WebSockets, says how each ended, and has the others echo', async (t) => {
    const open = [];
    const codes = [];
    const server = await Server.start(t, webSocket((socket, one) => {
      if (one.opcode === OP.CLOSE) codes.push(one.code);
      if (!socket.isMute) echoFrame(socket, one);
    }, { onOpen: (socket) => open.push(socket) }));
    const load = startLoad(t, 'idle', server.port, { connections: 20, hold: 3, timeout: 5 });
    await load.says('load: open 20');
    assert.equal(server.units, 0);
    open.splice(0, 3).forEach((socket) => socket.write(closeFrame(1001, 'bye', { masked: false })));
    open.splice(0, 2).forEach((socket) => socket.write(closeFrame(1012, '', { masked: false })));
    open.splice(0, 1).forEach((socket) => socket.write(frame(OP.CLOSE, '', { masked: false })));
    open.splice(0, 2).forEach((socket) => socket.end());
    open.splice(0, 4).forEach((socket) => socket.resetAndDestroy());
    open.splice(0, 1).forEach((socket) => { socket.isMute = true; });
    const result = await resultOf(load);
    await server.settled();
    const sum = (key) => result.timeline.reduce((total, bucket) => total + bucket[key], 0);
    assert.equal(result.units, 20);
    assert.deepEqual([sum('close_frames'), sum('fin'), sum('reset')], [6, 2, 4]);
    assert.deepEqual(result.close_codes, { 1001: 3, 1005: 1, 1012: 2 });
    assert.deepEqual(codes.slice(0, 6).sort(), [1001, 1001, 1001, 1012, 1012, undefined]);
    assert.equal(result.echo_failed, 1);
    assert.equal(server.units, 8); // seven that came back, and the mute one's
    assert.equal(server.connections.length, 20);
    assertErrors(result);
  });

  test('counts those that did not open', async (t) => {
    let count = 0;
    const server = await Server.start(t, (socket, counts) => (count++ % 2 === 0 ? webSocket(echoFrame)(socket, counts) : webSocket(echoFrame, { upgrade: () => 'HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n' })(socket, counts)));
    const result = await measure(t, 'idle', server.port, { connections: 6, hold: 0.2 });
    assert.ok(result.units >= 3);
    assert.equal(result.status[503], result.errors.status);
    assert.ok(result.errors.status > 0);
    assert.equal(result.echo_failed, 0);
  });

  test('a signal ends the hold early, with a result', async (t) => {
    const server = await Server.start(t, webSocket(echoFrame));
    const load = startLoad(t, 'idle', server.port, { hold: 3600 });
    await load.says('load: open 4');
    load.child.kill('SIGTERM');
    const result = await resultOf(load);
    assert.equal(result.units, 4);
    assert.ok(result.seconds < 60);
    assert.equal(result.echo_failed, 0);
  });
});

// ---- Options -----------------------------------------------------------------------------------

describe('bench-load is told what to do', { concurrency: 2 }, () => {
  const run = async (t, ...args) => {
    const load = new Program(t, neighbour('load'), args);
    return { ...(await load.exits()), stdout: load.stdout, stderr: load.stderr };
  };

  test('a wrong option is a sentence and status 2', async (t) => {
    const wrong = [[], ['http'], ['frob', '--to', '127.0.0.1:1'], ['http', '--to', 'nowhere'], ['http', '--to', '127.0.0.1:1', '--connections', '0'],
      ['http', '--to', '127.0.0.1:1', '--seconds', 'x'], ['down', '--to', '127.0.0.1:1', '--rate', '5'], ['http', '--to', '127.0.0.1:1', '--source', '10.0.0.1/8'],
      ['http', '--to', '127.0.0.1:1', '--resume'], ['http', '--to', '127.0.0.1:1', '--tls', '--group', 'frob'],
      ['http', '--to', '127.0.0.1:1', '--frob'], ['http', '--to', '127.0.0.1:1', '--size'], ['http', 'ws', '--to', '127.0.0.1:1'], ['http', '--to', '127.0.0.1:1', '--path', '/a b']];
    for (const args of wrong) {
      const { code, stderr, stdout } = await run(t, ...args);
      assert.equal(code, 2, `${args}: ${stderr}`);
      assert.match(stderr, /^bench-load: .+\n$/);
      assert.equal(stdout, '');
    }
    assert.equal((await run(t, '--help')).code, 0);
  });

  test('nothing to measure is a sentence and status 1', async (t) => {
    const port = await takePort();
    for (const mode of ['http', 'close', 'ws', 'idle', 'sse']) {
      const { code, stderr, stdout } = await run(t, mode, '--to', `127.0.0.1:${port}`, '--seconds=0.3', '--warmup=0', '--json');
      assert.equal(code, 1, mode);
      assert.match(stderr, /bench-load: 127\.0\.0\.1:\d+: no connection came about \(refused: .*\)\n$/);
      assert.equal(stdout, '');
    }
  });

  test('path and host are asked for, from the addresses of the range', async (t) => {
    const heads = new Set();
    const sources = new Set();
    const server = await Server.start(t, http((socket, number, head) => {
      heads.add(head);
      sources.add(socket.remoteAddress);
      socket.write(response('any length'));
    }));
    const result = await measure(t, 'http', server.port, { path: '/a?b=c', host: 'shop.example', source: '127.0.7.0/29', connections: 12 });
    assert.deepEqual([...heads], ['GET /a?b=c HTTP/1.1\r\nHost: shop.example']);
    assert.deepEqual([...sources].sort(), [1, 2, 3, 4, 5, 6].map((i) => `127.0.7.${i}`));
    assertErrors(result);
  });
});

// ---- Together ----------------------------------------------------------------------------------

describe('the benchmark\'s own server and relays', { concurrency: 1 }, () => {
  const start = async (t, name, ...args) => {
    const port = await takePort();
    const program = new Program(t, neighbour(name), ['--listen', `127.0.0.1:${port}`, ...args]);
    await eventually(() => new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => { socket.destroy(); resolve(true); });
      socket.on('error', () => resolve(false));
    }), () => `${name} to listen: ${program.stderr}`);
    return { program, port };
  };
  const through = [['directly', null], ['through the floor with epoll', 'epoll'], ['through the floor with io_uring', 'uring']];

  for (const [how, engine] of through) {
    test(`every mode runs without an error ${how}`, async (t) => {
      const programs = [];
      const reach = async (...args) => {
        const origin = await start(t, 'origin', ...args);
        programs.push(origin.program);
        if (!engine) return origin.port;
        const floor = await start(t, 'floor', '--to', `127.0.0.1:${origin.port}`, '--engine', engine);
        programs.unshift(floor.program);
        return floor.port;
      };
      const http = await reach();
      const tcp = await reach('--tcp-echo');
      for (const mode of ['http', 'close', 'ws', 'churn', 'sse', 'down', 'up', 'slow', 'tcp', 'idle']) {
        const size = mode === 'down' || mode === 'up' ? { size: 1 << 20 } : {};
        const some = (one) => one.units > 0 || (mode === 'slow' && one.bytes_in > 0);
        const options = { connections: 10, seconds: 0.3, hold: 0.1, ...size };
        const result = await measure(t, mode, mode === 'tcp' ? tcp : http, options, [], some);
        assertErrors(result);
        if (mode === 'slow') assert.ok(result.bytes_in > 0);
        else assert.ok(result.units > 0, mode);
      }
      for (const program of programs) {
        program.child.kill('SIGTERM');
        assert.deepEqual(await program.exits(), { code: 0, signal: null }, program.stderr);
      }
    });
  }
});
