'use strict';
// Long random conversations: clients and servers that do everything at any moment, mostly right,
// sometimes rude. Whoever behaves gets exactly its own answer; in the end nothing is left. The seed
// is printed; LIMPET_E2E_SEED repeats a run (as far as two processes and a network repeat).

const { describe, test } = require('node:test');
const { Lab, assert } = require('./lab');
const { requestText } = require('./client');
const { OP, frame, closeFrame } = require('./frames');
const { SITE, changeAtRandom } = require('./changes');

const seed = Number(process.env.LIMPET_E2E_SEED || Date.now() % 1e9);

const STORM = process.env.LIMPET_E2E_LONG ? 1000 : 60; // turns of each player under random reloads

/** mulberry32: small, and the same everywhere. */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const dice = (random) => ({
  upTo: (n) => Math.floor(random() * n),
  oneOf: (list) => list[Math.floor(random() * list.length)],
  chance: (share) => random() < share,
});
const soon = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const filler = (id, size) => `${id}|`.repeat(Math.ceil(size / (id.length + 1))).slice(0, size);

/** Answers as the query asks: mode, size, pause. The body tells whose it is. */
async function obey(request, answer) {
  if (request.path !== '/r') return false;
  const query = new URLSearchParams(request.target.split('?')[1]);
  const body = filler(query.get('id'), Number(query.get('size')));
  const pause = () => (query.has('pause') ? soon(Number(query.get('pause'))) : null);
  const mode = query.get('mode');
  if (mode !== 'early') await request.body;
  await pause();
  if (mode === 'reset') { answer.reset(); return true; }
  if (mode === 'cut') {
    await answer.head(200, { 'Content-Length': body.length + 10 });
    await answer.write(body);
    answer.reset();
    return true;
  }
  if (mode === 'chunked') {
    await answer.head(200, { 'Transfer-Encoding': 'chunked' });
    for (let at = 0; at < body.length; at += 3001) { await answer.chunk(body.slice(at, at + 3001)); await pause(); }
    await answer.lastChunk();
  } else if (mode === 'close') {
    await answer.head(200, { Connection: 'close' });
    await answer.write(body);
    answer.close();
  } else {
    await answer.respond(200, mode === 'leave' ? { Connection: 'close' } : {}, body);
    if (mode === 'leave') answer.close();
  }
  return true;
}

class Player {
  constructor(lab, number, random, tally) {
    Object.assign(this, { lab, number, tally, count: 0, ...dice(random) });
  }

  target(mode) {
    this.id = `c${this.number}n${this.count++}`;
    this.size = this.oneOf([0, 1, 100, 5000, 40000, 200000]);
    const pause = this.chance(0.2) ? `&pause=${this.upTo(15)}` : '';
    return `/r?id=${this.id}&size=${this.size}&mode=${mode}${pause}`;
  }

  check(response) {
    assert.equal(response.status, 200, `${this.id} got ${response.status} ${response.text.slice(0, 200)} for ${this.head}`);
    const wanted = filler(this.id, this.size);
    const { text } = response;
    assert.ok(text.length === wanted.length || !wanted.startsWith(text), `the answer to ${this.id} is cut: ${text.length} of ${this.size} bytes`);
    assert.ok(text === wanted, `somebody else's answer to ${this.id}: ${text.slice(0, 100)}`);
    this.tally.answers++;
  }

  request(mode) {
    const headers = { Cookie: `user=${this.upTo(50)}` };
    const version = this.chance(0.1) ? '1.0' : '1.1';
    const target = this.target(mode);
    if (this.chance(0.5)) return { version, bytes: requestText(target, { version, headers }) };
    // Who sends on for more than 256 KiB after an early answer may lose it: we stop listening then.
    const body = Buffer.alloc(this.oneOf(mode === 'early' ? [0, 1, 3000, 70000] : [0, 1, 3000, 70000, 300000]), 'b');
    if (version === '1.0' || this.chance(0.5)) return { version, bytes: requestText(target, { method: 'POST', version, headers, body }) };
    const size = 1 + this.upTo(20000);
    const parts = [requestText(target, { method: 'PUT', headers: { ...headers, 'Transfer-Encoding': 'chunked' } })];
    for (let at = 0; at < body.length; at += size) {
      const part = body.subarray(at, at + size);
      parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'));
    }
    return { version, bytes: Buffer.concat([...parts, Buffer.from('0\r\n\r\n')]) };
  }

  async write(client, bytes) {
    let at = 0;
    while (at < bytes.length && !client.ended) {
      const size = this.chance(0.3) ? 1 + this.upTo(50) : 1 + this.upTo(100000);
      client.write(bytes.subarray(at, at + size));
      at += size;
      if (this.chance(0.3)) await soon(this.upTo(3));
    }
  }

  /** Requests on one connection, one after the other, as an honest client sends them. */
  async honest() {
    const client = await this.lab.connect();
    for (let i = this.upTo(6) + 1; i > 0 && !client.ended; i--) {
      const mode = this.oneOf(['length', 'length', 'chunked', 'close', 'leave', 'early']);
      const { version, bytes } = this.request(mode);
      this.head = bytes.subarray(0, 300).toString('latin1');
      this.write(client, bytes);
      const response = await client.response();
      this.check(response);
      if (version === '1.0' || response.isUntilClose || mode === 'early' || /close/.test(response.get('connection') ?? '')) break;
    }
    client.destroy();
  }

  /** Several requests at once; the answers come in order. */
  async pipelined() {
    const client = await this.lab.connect();
    const expected = [];
    const parts = [];
    for (let i = 0; i < 5; i++) {
      parts.push(requestText(this.target(this.oneOf(['length', 'chunked', 'leave'])), { headers: { Cookie: `user=${this.upTo(50)}` } }));
      expected.push([this.id, this.size]);
    }
    this.write(client, Buffer.concat(parts));
    for (const [id, size] of expected) {
      Object.assign(this, { id, size });
      this.check(await client.response());
    }
    client.destroy();
  }

  /** Leaves at any moment, in any way. */
  async rude() {
    const client = await this.lab.connect();
    const { bytes } = this.request(this.oneOf(['length', 'chunked', 'close', 'reset', 'cut', 'early']));
    await this.write(client, bytes.subarray(0, this.chance(0.5) ? bytes.length : this.upTo(bytes.length)));
    await soon(this.upTo(20));
    this.oneOf([() => client.destroy(), () => client.reset(), () => { client.end(); soon(20).then(() => client.destroy()); }])();
  }

  /** Meets servers that fail: 502, a cut answer, or (retried elsewhere) never another's. */
  async unlucky() {
    const client = await this.lab.connect();
    this.write(client, requestText(this.target(this.oneOf(['reset', 'cut']))));
    const response = await client.response().catch(() => null);
    if (response) assert.equal(response.status, 502);
    client.destroy();
  }

  /** The next message; a tunnel that limpet closes says so. */
  async hears(socket, text) {
    const next = await socket.frame();
    if (next.opcode === OP.CLOSE && next.code === 1001) throw new Error('the tunnel was closed with 1001');
    assert.equal(next.text, text, `somebody else's message to ${this.number}`);
    this.tally.messages++;
  }

  async socket() {
    const early = this.chance(0.3) ? frame(OP.TEXT, 'early') : undefined;
    const socket = await this.lab.rawWebSocket(`/ws/${this.number}`, { early });
    assert.equal(socket.response.status, 101, `the upgrade got ${socket.response.status}`);
    if (early) await this.hears(socket, 'early');
    for (let i = this.upTo(8); i > 0; i--) {
      const text = filler(`w${this.number}i${i}`, this.oneOf([1, 125, 126, 5000, 66000]));
      this.write(socket.client, frame(OP.TEXT, text));
      await this.hears(socket, text);
    }
    const ending = this.upTo(4);
    if (ending === 0) socket.client.reset();
    if (ending === 1) socket.client.destroy();
    if (ending === 2) socket.client.end();
    if (ending === 3) {
      await socket.write(closeFrame(1000));
      assert.ok([1000, 1001].includes((await socket.frame()).code));
    }
    if (ending >= 2) await socket.client.isClosed();
  }

  async play(turns, forgives) {
    for (let i = 0; i < turns; i++) {
      const what = this.oneOf(['honest', 'honest', 'honest', 'pipelined', 'rude', 'rude', 'unlucky', 'socket', 'socket']);
      await this[what]().catch((err) => { if (!forgives(err)) throw err; });
    }
  }
}

/** forgives: which failures the scenario explains. A wrong answer is never one of them. */
async function everybodyPlays(t, options, turns, during, forgives = () => false) {
  t.diagnostic(`seed ${seed}`);
  const random = generator(seed);
  const servers = Object.fromEntries(['s1', 's2', 's3'].map((name) => [name, { handle: obey, perMessageDeflate: false, mayFault: true }]));
  const lab = await Lab.start(t, { servers, timeouts: { linger: '10s' }, ...options });
  const tally = { answers: 0, messages: 0 };
  const players = Array.from({ length: 24 }, (_, i) => new Player(lab, i, generator(random() * 2 ** 32), tally).play(turns, forgives));
  const playing = Promise.all(players);
  await during?.(lab, playing);
  await playing;
  t.diagnostic(`${tally.answers} answers, ${tally.messages} messages`);
}

describe('stress', () => {
  test('random conversations keep everybody\'s answers apart', async (t) => {
    await everybodyPlays(t, { pools: { app: { hash: { key: ['cookie:user'] } } } }, 25);
  });

  test('random conversations survive starved buffers and a small memory', async (t) => {
    await everybodyPlays(t, { workers: 1, limits: { memory: '64MiB', stalled: '16KiB' }, pools: { app: { balance: 'least_connections' } } }, 15);
  });

  test('random conversations do not notice reloads', async (t) => {
    await everybodyPlays(t, { pools: { app: { balance: 'round_robin' } } }, 20, async (lab, playing) => {
      let isOver = false;
      playing.then(() => { isOver = true; }, () => { isOver = true; });
      for (let i = 0; !isOver; i++) assert.ok((await lab.reload((config) => { config.pools.app.retries = i % 3; })).isDone);
    });
  });

  test('reloads that change anything at any moment mix up nobody and end nothing but what they must', async (t) => {
    // Timeouts of a millisecond, limits of one line, another protocol: much may fail, but not limpet.
    // As a tcp stream, a response without a length is cut where the stream is.
    const explained = (err) => !/somebody else's/.test(err.message);
    await everybodyPlays(t, {
      pools: { app: { servers: ['s1', 's2', 's3'] }, line: { servers: ['s1'] } },
      listeners: { web: { pool: 'app' }, line: { protocol: 'tcp', pool: 'line' }, secure: { tls: SITE, pool: 'app' } },
    }, STORM, async (lab, playing) => {
      const random = dice(generator(seed + 1));
      let isOver = false;
      playing.then(() => { isOver = true; }, () => { isOver = true; });
      while (!isOver) {
        const answer = await lab.reload((config) => changeAtRandom(config, random));
        assert.ok(answer.isDone, answer.said());
        await soon(random.upTo(30));
      }
      assert.ok(!lab.limpet.ended, 'limpet is still there');
    }, explained);
  });

  test('servers that die and come back cost only their own requests', async (t) => {
    const explained = (err) => /got 50[234]\b|ended (\(|with)/.test(err.message);
    await everybodyPlays(t, { pools: { app: { balance: 'round_robin', check: { interval: '100ms', rise: 1, fall: 1 } } } }, 25, async (lab, playing) => {
      let isOver = false;
      playing.then(() => { isOver = true; }, () => { isOver = true; });
      for (let i = 0; !isOver; i++) {
        const origin = lab.server(`s${(i % 3) + 1}`);
        await origin.kill();
        await soon(60);
        await origin.revive();
        await soon(60);
      }
      for (const name of ['s1', 's2', 's3']) await lab.says(new RegExp(`\\b${name}\\b`));
    }, explained);
  });

  test('servers that a reload removes and adds cost nobody a request', async (t) => {
    // Tunnels of a removed server are closed with 1001, and cut at the deadline: the one thing that may be different.
    const explained = (err) => /closed with 1001|ended \((fin|reset)\) instead of a frame/.test(err.message);
    await everybodyPlays(t, { pools: { app: { balance: 'least_connections', drain: { deadline: '300ms' } } } }, 20, async (lab, playing) => {
      let isOver = false;
      playing.then(() => { isOver = true; }, () => { isOver = true; });
      const addresses = { ...lab.config.pools.app.servers };
      for (let i = 0; !isOver; i++) {
        await lab.reload((config) => {
          config.pools.app.servers = { ...addresses };
          delete config.pools.app.servers[`s${(i % 3) + 1}`];
        });
      }
    }, explained);
  });

  test('a drain in the middle of everything answers what was accepted', async (t) => {
    let isDraining = false;
    // From the signal on: refused, or closed before the first byte of an answer, or a tunnel's 1001.
    const explained = (err) => isDraining && (err.code === 'ECONNREFUSED' || err.code === 'ECONNRESET'
      || /closed with 1001|ended \((fin|reset)\) (before "|instead)/.test(err.message));
    await everybodyPlays(t, { drain: { delay: '200ms', deadline: '60s', spread: '8%' } }, 60, async (lab, playing) => {
      await Promise.race([soon(700), playing]);
      isDraining = true;
      lab.terminate();
      const ended = await lab.limpet.exits();
      assert.ok(ended.code === 0 || ended.code === 1);
    }, explained);
  });
});
