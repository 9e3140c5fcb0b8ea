'use strict';
// Real clients over https and wss: curl, npm ws, socket.io, EventSource and Chromium; much data, and
// clients that do not read.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const fs = require('node:fs');
const https = require('node:https');
const { execFile } = require('node:child_process');
const { io } = require('socket.io-client');
const { Lab, assert, eventually } = require('./lab');
const { openPage } = require('./browser');
const pki = require('./pki');

const MiB = 1 << 20;
const only = (version) => ({ minVersion: version, maxVersion: version });
const VERSIONS = ['TLSv1.2', 'TLSv1.3'];
const listener = (more) => ({ tls: { certificates: [pki.site.config], ...more } });
const web = (more = {}, tls) => ({ listeners: { web: listener(tls) }, ...more });

/** curl with the root of the tests, asking site.example.com; gives its standard output. */
function curl(lab, target, ...args) {
  const { port } = lab.where();
  return new Promise((resolve, reject) => {
    execFile('curl', ['-sS', '--cacert', pki.ca.cert, '--connect-to', `site.example.com:443:127.0.0.1:${port}`, ...args, `https://site.example.com${target}`], { maxBuffer: 64 * MiB, encoding: 'buffer' },
      (err, out, said) => (err ? reject(new Error(said.toString())) : resolve(out)));
  });
}

describe('clients over TLS', { concurrency: 4 }, () => {
  test('curl is served over 1.2 and 1.3, whatever it offers', async (t) => {
    const lab = await Lab.start(t, web());
    const file = `${pki.folder(t)}/body`;
    fs.writeFileSync(file, crypto.randomBytes(3 * MiB));
    const facts = ['-o', '/dev/null', '-w', '%{http_version} %{http_code} %{ssl_verify_result}'];
    for (const args of [['--tls-max', '1.2'], ['--tlsv1.3'], ['--http2'], ['--http1.1'], ['--no-alpn'], ['--curves', 'P-384']]) {
      assert.equal((await curl(lab, '/', ...args, ...facts)).toString(), '1.1 200 0', args.join(' '));
    }
    for (const args of [['--tls-max', '1.2'], ['--tlsv1.3']]) {
      assert.ok((await curl(lab, '/echo', ...args, '--data-binary', `@${file}`)).equals(fs.readFileSync(file)));
    }
  });

  test('curl keeps its connection for several requests', async (t) => {
    const lab = await Lab.start(t, web());
    const { port } = lab.where();
    const urls = Array.from({ length: 4 }, (_, i) => `https://site.example.com/${i}`);
    const out = await new Promise((resolve, reject) => {
      execFile('curl', ['-sS', '--cacert', pki.ca.cert, '--connect-to', `site.example.com:443:127.0.0.1:${port}`, '-w', '\n%{num_connects};', ...urls], (err, text, said) => (err ? reject(new Error(said)) : resolve(text)));
    });
    assert.deepEqual(out.match(/^\d;/gm).map((one) => parseInt(one, 10)).reduce((a, b) => a + b), 1);
  });

  test('node\'s https agent keeps and resumes connections', async (t) => {
    const lab = await Lab.start(t, web());
    const agent = new https.Agent({ keepAlive: true, maxSockets: 3, ca: pki.ca.pem, servername: 'site.example.com' });
    t.after(() => agent.destroy());
    const ask = (i) => new Promise((resolve, reject) => {
      const request = https.request(lab.url('/echo'), { agent, method: 'POST' }, async (answer) => {
        const parts = [];
        for await (const part of answer) parts.push(part);
        resolve(Buffer.concat(parts).length === i * 1000);
      });
      request.on('error', reject);
      request.end(Buffer.alloc(i * 1000));
    });
    assert.ok((await Promise.all(Array.from({ length: 60 }, (_, i) => ask(i)))).every(Boolean));
  });

  test('WebSockets over TLS carry text, bytes and large messages, and close with their code', async (t) => {
    const lab = await Lab.start(t, web());
    for (const version of VERSIONS) {
      const client = await lab.websocket('/chat', only(version));
      await client.echoes('hello');
      await client.echoes(crypto.randomBytes(70000));
      await client.echoes(crypto.randomBytes(5 * MiB));
      for (let i = 0; i < 200; i++) await client.echoes(`message ${i}`);
      client.close(1000, 'bye');
      await client.isClosedWith(1000);
    }
    const request = await lab.server('s1').request('/chat');
    assert.equal(request.get('x-forwarded-proto'), 'https');
    await lab.logs({ event: 'end', path: '/chat', class: 'websocket', end: 'done', close_code: 1000 });
  });

  test('a frame is sent on at once, not kept until a record is full', async (t) => {
    const lab = await Lab.start(t, web());
    const client = await lab.websocket('/ws');
    const times = [];
    for (let i = 0; i < 40; i++) {
      const began = process.hrtime.bigint();
      await client.echoes('tick');
      times.push(Number(process.hrtime.bigint() - began) / 1e6);
    }
    const best = Math.min(...times.slice(20));
    assert.ok(best < 30, `a round trip took ${best} ms at best`);
  });

  test('socket.io polls and upgrades over TLS and keeps its server', async (t) => {
    const lab = await Lab.start(t, web({ servers: { s1: { kind: 'socketio' }, s2: { kind: 'socketio' } }, pools: { chat: { balance: 'hash', hash: { key: ['client_ip'] } } } }));
    for (const [i, transports] of [['polling', 'websocket'], ['polling'], ['websocket']].entries()) {
      const localAddress = `127.0.7.${i + 1}`;
      const agent = new https.Agent({ keepAlive: true, localAddress, ca: pki.ca.pem, servername: 'site.example.com' });
      const socket = io(lab.url('/'), { transports, reconnection: false, forceNew: true, agent, localAddress, ca: pki.ca.pem, servername: 'site.example.com' });
      lab.clients.add({ destroy: () => { socket.disconnect(); agent.destroy(); } });
      const name = await new Promise((resolve, reject) => {
        socket.on('name', resolve);
        socket.on('connect_error', reject);
      });
      for (let n = 0; n < 5; n++) assert.equal(await new Promise((resolve) => { socket.emit('say', `hello ${n}`, resolve); }), `${name}: hello ${n}`);
      const { engine } = socket.io;
      await eventually(() => engine.transport.name === transports.at(-1), 'the upgrade');
      assert.equal(await new Promise((resolve) => { socket.emit('say', 'again', resolve); }), `${name}: again`);
    }
  });

  test('events arrive one by one over TLS', async (t) => {
    const lab = await Lab.start(t, web());
    const source = lab.eventSource('/sse');
    await source.receives('hello from s1');
    await lab.server('s1').until(() => lab.server('s1').streams?.size, 'the stream');
    for (let i = 0; i < 20; i++) {
      for (const stream of lab.server('s1').streams) await stream.event(`event ${i}`);
      await source.receives(`event ${i}`);
    }
    assert.equal(source.events.length, 21);
  });

  test('Chromium opens a page, posts, listens to events and talks over wss', async (t) => {
    const handle = async (request, answer) => {
      if (request.path !== '/page') return false;
      await answer.respond(200, { 'Content-Type': 'text/html' }, '<!doctype html><title>over TLS</title>');
      return true;
    };
    const lab = await Lab.start(t, web({ servers: { s1: { handle } } }, { hsts: '1d' }));
    const page = await openPage(t);
    const { port } = lab.where();
    const response = await page.goto(`https://site.example.com:${port}/page`);
    assert.equal(response.status(), 200);
    assert.equal(await page.title(), 'over TLS');
    const security = await response.securityDetails();
    assert.equal(security.protocol, 'TLS 1.3');
    assert.equal(security.subjectName, 'site');
    const heard = await page.evaluate(async (origin) => {
      const said = [];
      const socket = new WebSocket(`${origin.replace('https', 'wss')}/ws`);
      await new Promise((resolve, reject) => { socket.onopen = resolve; socket.onerror = reject; });
      for (let i = 0; i < 10; i++) {
        socket.send(`frame ${i}`);
        said.push(await new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); }));
      }
      socket.close(1000);
      const events = new EventSource(`${origin}/sse`);
      said.push(await new Promise((resolve, reject) => { events.onmessage = (event) => resolve(event.data); events.onerror = reject; }));
      events.close();
      const post = await fetch(`${origin}/echo`, { method: 'POST', body: 'b'.repeat(300000) });
      said.push(String((await post.text()).length));
      const many = await Promise.all(Array.from({ length: 30 }, (_, i) => fetch(`${origin}/${i}`).then((one) => one.status)));
      said.push(many.every((status) => status === 200));
      return said;
    }, `https://site.example.com:${port}`);
    assert.deepEqual(heard, [...Array.from({ length: 10 }, (_, i) => `frame ${i}`), 'hello from s1', '300000', true]);
  });
});

describe('much data over TLS', { concurrency: 1 }, () => {
  for (const version of VERSIONS) {
    test(`${version}: 1 GiB goes each way unharmed and in order`, async (t) => {
      const SIZE = 1024 * MiB;
      const lab = await Lab.start(t, { servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp', ...listener() } } });
      const client = await lab.connect({ tls: only(version) });
      const piece = crypto.randomBytes(MiB);
      const sent = crypto.createHash('sha1');
      const got = crypto.createHash('sha1');
      client.socket.removeAllListeners('data');
      let size = 0;
      client.socket.on('data', (data) => { got.update(data); size += data.length; client.changed(); });
      for (let i = 0; i < SIZE / MiB; i++) {
        piece.writeUInt32BE(i, 0);
        sent.update(piece);
        await client.write(Buffer.from(piece));
      }
      await client.until(() => size === SIZE, () => `${SIZE} bytes, have ${size}`);
      assert.equal(got.digest('hex'), sent.digest('hex'));
      assert.ok(lab.limpet.memory() < 600 * MiB, 'a stream is never held in memory');
    });
  }

  test('clients that do not read cost little memory and no neighbour\'s time', async (t) => {
    const BODY = 64 * MiB;
    const part = crypto.randomBytes(MiB);
    const handle = async (request, answer) => {
      if (request.path !== '/large') return false;
      await answer.head(200, { 'Content-Length': BODY });
      for (let i = 0; i < BODY / MiB && !answer.socket.destroyed; i++) await Promise.race([answer.write(part), answer.isGone]);
      return true;
    };
    const lab = await Lab.start(t, web({ servers: { s1: { handle } } }));
    await lab.request('/');
    const before = lab.limpet.memory();
    const lazy = await Promise.all(Array.from({ length: 40 }, async (_, i) => {
      const client = await lab.connect({ tls: only(VERSIONS[i % 2]) });
      client.pause();
      await client.send('/large');
      return client;
    }));
    await eventually(() => lab.server('s1').requests.filter((request) => request.path === '/large').length === lazy.length, 'all requests');
    const socket = await lab.websocket('/ws');
    const times = [];
    for (let i = 0; i < 100; i++) {
      const began = process.hrtime.bigint();
      await socket.echoes('neighbour');
      times.push(Number(process.hrtime.bigint() - began) / 1e6);
    }
    times.sort((a, b) => a - b);
    assert.ok(times[10] < 50, `of a neighbour's round trips nine in ten took more than ${times[10]} ms`);
    const grown = (lab.limpet.memory() - before) / lazy.length;
    assert.ok(grown < MiB, `each client that does not read costs ${grown} bytes`);
    const expected = crypto.createHash('sha1');
    for (let i = 0; i < BODY / MiB; i++) expected.update(part);
    for (const client of lazy.slice(0, 2)) {
      client.resume();
      const response = await client.response();
      assert.equal(crypto.createHash('sha1').update(response.body).digest('hex'), expected.copy().digest('hex'));
    }
  });
});
