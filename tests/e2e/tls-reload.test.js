'use strict';
// SIGHUP with TLS: new handshakes see what is new, open connections never notice.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const tls = require('node:tls');
const { Lab, assert, eventually } = require('./lab');
const pki = require('./pki');

const own = (t, pair = pki.site) => {
  const folder = pki.folder(t);
  return { folder, site: pki.install(pair, folder) };
};
const renewed = () => pki.ca.issue('renewed', { names: ['site.example.com'] });
const web = (tls, more = {}) => ({ listeners: { web: { tls } }, ...more });

async function shows(lab, options) {
  const client = await lab.connect(options);
  const { peer } = client;
  client.destroy();
  return peer;
}

describe('TLS and SIGHUP', { concurrency: 3 }, () => {
  test('a certificate is swapped under 200 open wss in use: new handshakes see it, nothing closes', async (t) => {
    const { folder, site } = own(t);
    const lab = await Lab.start(t, web({ certificates: [site.config] }));
    const sockets = await Promise.all(Array.from({ length: 200 }, (_, i) => lab.websocket('/ws', i % 2 ? { maxVersion: 'TLSv1.2' } : {})));
    const state = { isOver: false, count: 0 };
    const chatter = Promise.all(sockets.map(async (socket, i) => {
      for (let n = 0; !state.isOver; n++) {
        await socket.echoes(`${i}: ${n} ${'x'.repeat((n * 37) % 3000)}`);
        state.count++;
        await new Promise((go) => setTimeout(go, 20));
      }
    }));
    chatter.catch(() => {}); // it is asked for at the end
    const kept = await lab.connect(); // a kept-alive connection outlives it, too
    await kept.request('/before');
    for (const pair of [renewed(), pki.site, pki.rsaSite, renewed()]) {
      pki.install(pair, folder);
      const before = state.count;
      const answer = await lab.reload();
      assert.ok(answer.isDone, answer.line);
      assert.match(answer.line, /\b0 connections closed/);
      assert.equal(await shows(lab), pair.fingerprint);
      await eventually(() => state.count > before + 200, 'the talk to go on');
    }
    assert.equal((await kept.request('/after')).status, 200);
    state.isOver = true;
    await chatter;
    assert.ok(sockets.every((socket) => socket.isOpen));
    await eventually(async () => (await lab.reload()).snapshots <= 2, 'old snapshots to go');
  });

  test('clients that connect all the time see the old or the new one, never an error', async (t) => {
    const { folder, site } = own(t);
    const lab = await Lab.start(t, web({ certificates: [site.config] }));
    const next = renewed();
    const legal = new Set([pki.site.fingerprint, next.fingerprint]);
    let isOver = false;
    let count = 0;
    const loads = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const response = await lab.request('/');
        assert.equal(response.status, 200);
        count++;
      }
    });
    for (let i = 0; i < 10; i++) {
      pki.install(i % 2 ? pki.site : next, folder);
      const answer = await lab.reload();
      assert.ok(answer.isDone, answer.line);
      const before = count;
      assert.ok(legal.has(await shows(lab)));
      await eventually(() => count > before + 8, 'the load to go on');
    }
    isOver = true;
    await Promise.all(loads);
  });

  test('a key that does not fit, or a broken file, refuses the reload and is named; all goes on', async (t) => {
    const { folder, site } = own(t);
    const client = path.join(folder, 'ca.pem');
    const secret = pki.secret(folder);
    fs.copyFileSync(pki.ca.cert, client);
    const lab = await Lab.start(t, web({ certificates: [site.config], client_ca: client, tickets: { secret_file: secret } }));
    const alice = pki.client('alice').node;
    const socket = await lab.websocket('/ws', alice);
    const good = { [site.cert]: fs.readFileSync(site.cert), [site.key]: fs.readFileSync(site.key), [client]: fs.readFileSync(client), [secret]: fs.readFileSync(secret) };
    const breaks = [
      [site.cert, pki.ca.issue('another').pem, /certificates\[0\].*(key|fit|match)/], [site.key, pki.ca.issue('another').keyPem, /certificates\[0\].*(key|fit|match)/],
      [site.cert, 'nonsense', /certificates\[0\]\.cert/], [site.key, '', /certificates\[0\]\.key/], [site.cert, null, /certificates\[0\]\.cert/], [site.key, null, /certificates\[0\]\.key/],
      [site.cert, good[site.cert].subarray(0, 300), /certificates\[0\]\.cert/], [client, 'nonsense', /client_ca/], [client, null, /client_ca/],
      [client, good[client] + pki.ca.pem.replace('MII', '*?!') + good[client], /client_ca/], [secret, null, /secret_file/], [secret, '', /secret_file/],
    ];
    for (const [file, content, named] of breaks) {
      if (content === null) fs.rmSync(file);
      else fs.writeFileSync(file, content);
      const answer = await lab.reload();
      assert.ok(!answer.isDone, `${path.basename(file)}: ${answer.line}`);
      await eventually(() => named.test(answer.said()) && answer.said().includes(path.basename(file)), () => `${named} and the file in:\n${answer.said()}`);
      assert.equal(await shows(lab, { tls: alice }), pki.site.fingerprint);
      await socket.echoes('still here');
      fs.writeFileSync(file, good[file]);
    }
    const answer = await lab.reload();
    assert.ok(answer.isDone, answer.line);
    await socket.echoes('and now');
  });

  test('another client CA holds for new handshakes, open sessions keep theirs', async (t) => {
    const folder = pki.folder(t);
    const file = path.join(folder, 'clients.pem');
    fs.copyFileSync(pki.ca.cert, file);
    const lab = await Lab.start(t, web({ certificates: [pki.site.config], client_ca: file }));
    const alice = pki.client('alice');
    const bob = pki.stranger.issue('bob', { isClient: true });
    const isIn = (pair) => lab.request('/', { tls: pair.node }).then((response) => response.status === 200, () => false);
    const socket = await lab.websocket('/ws', alice.node);
    assert.deepEqual([await isIn(alice), await isIn(bob)], [true, false]);
    fs.copyFileSync(pki.stranger.cert, file);
    assert.ok((await lab.reload()).isDone);
    assert.deepEqual([await isIn(alice), await isIn(bob)], [false, true]);
    await socket.echoes('an open session is open');
  });

  test('another ticket secret ends the old tickets, nothing else does', async (t) => {
    const folder = pki.folder(t);
    const lab = await Lab.start(t, { listeners: {
      filed: { tls: { certificates: [pki.site.config], tickets: { secret_file: pki.secret(folder) } } },
      random: { tls: { certificates: [pki.site.config] } },
    } });
    const visit = async (listener, version, session) => {
      const client = await lab.connect({ listener, tls: { minVersion: version, maxVersion: version, session } });
      await client.request('/');
      const ticket = client.sessions.at(-1) ?? session;
      client.destroy();
      return { isResumed: client.isResumed, ticket };
    };
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const filed = (await visit('filed', version)).ticket;
      const random = (await visit('random', version)).ticket;
      assert.ok((await lab.reload()).isDone);
      assert.equal((await visit('filed', version, filed)).isResumed, true);
      assert.equal((await visit('random', version, random)).isResumed, true, 'random secrets survive a reload');
      pki.secret(folder);
      assert.ok((await lab.reload()).isDone);
      assert.equal((await visit('filed', version, filed)).isResumed, false);
      const { ticket } = await visit('filed', version);
      assert.equal((await visit('filed', version, ticket)).isResumed, true);
      assert.equal((await visit('random', version, random)).isResumed, true);
    }
  });

  test('a fresh OCSP response is stapled after the reload', async (t) => {
    const { folder, site } = own(t);
    const file = path.join(folder, 'site.ocsp');
    const staple = () => new Promise((resolve, reject) => {
      const { port } = lab.where();
      const socket = tls.connect({ port, host: '127.0.0.1', ca: pki.ca.pem, servername: 'site.example.com', requestOCSP: true });
      socket.on('OCSPResponse', (response) => { resolve(response); socket.destroy(); });
      socket.on('error', reject);
    });
    fs.copyFileSync(pki.ca.ocsp(pki.site), file);
    const lab = await Lab.start(t, web({ certificates: [{ ...site.config, ocsp: file }] }));
    const first = fs.readFileSync(file);
    assert.ok((await staple()).equals(first));
    await eventually(() => !fs.readFileSync(pki.ca.ocsp(pki.site)).equals(first), 'a newer response');
    fs.copyFileSync(pki.site.cert.replace(/\.pem$/, '.ocsp'), file);
    assert.ok((await lab.reload()).isDone);
    assert.ok((await staple()).equals(fs.readFileSync(file)));
  });

  test('certificates come and go, and a listener may begin and end to speak TLS', async (t) => {
    const second = pki.ca.issue('second.example.com');
    const lab = await Lab.start(t, web({ certificates: [pki.site.config] }));
    const asked = { tls: { servername: 'second.example.com', checkServerIdentity: () => undefined } };
    assert.equal(await shows(lab, asked), pki.site.fingerprint);
    await lab.reload((config) => { config.listeners.web.tls.certificates.push(second.config); });
    assert.equal(await shows(lab, asked), second.fingerprint);
    await lab.reload((config) => { config.listeners.web.tls.certificates.pop(); });
    assert.equal(await shows(lab, asked), pki.site.fingerprint);
    const socket = await lab.websocket('/ws');
    const secure = await lab.connect();
    assert.equal((await secure.request('/')).status, 200);
    const answer = await lab.reload((config) => { delete config.listeners.web.tls; });
    assert.ok(answer.isDone, answer.line);
    assert.equal((await lab.request('/')).status, 200);
    const plain = await lab.connect();
    assert.equal((await plain.request('/')).status, 200);
    await lab.reload((config) => { config.listeners.web.tls = { certificates: [pki.site.config] }; });
    assert.equal((await lab.request('/')).status, 200);
    for (const client of [secure, plain]) assert.equal((await client.request('/again')).status, 200);
    await socket.echoes('through all of it');
  });

  test('another CA for the servers holds for the next connection', async (t) => {
    const handle = async (request, answer) => {
      await answer.respond(200, { Connection: 'close' });
      answer.close();
      return true;
    };
    const file = path.join(pki.folder(t), 'servers.pem');
    fs.copyFileSync(pki.ca.cert, file);
    const lab = await Lab.start(t, { servers: { s1: { tls: pki.server.node, handle } }, pools: { app: { tls: { ca: file } } } });
    assert.equal((await lab.request('/')).status, 200);
    fs.copyFileSync(pki.stranger.cert, file);
    assert.ok((await lab.reload()).isDone);
    await eventually(async () => [502, 503].includes((await lab.request('/')).status), 'the server to be refused');
    fs.copyFileSync(pki.ca.cert, file);
    assert.ok((await lab.reload()).isDone);
    await eventually(async () => (await lab.request('/')).status === 200, 'the server to be believed');
  });
});
