'use strict';
// Sessions that are resumed: on any worker and any limpet with the same secret, for as long as a
// client likes, and never where another policy holds.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const { execFile } = require('node:child_process');
const { Lab, assert } = require('./lab');
const pki = require('./pki');

const only = (version) => ({ minVersion: version, maxVersion: version });
const VERSIONS = ['TLSv1.2', 'TLSv1.3'];
const web = (tickets, more = {}) => ({ tls: { certificates: [pki.site.config], ...(tickets && { tickets: { secret_file: tickets } }), ...more } });

/** One request; gives whether it was resumed, and the ticket it left. */
async function visit(lab, { session, version, listener, tls } = {}) {
  const client = await lab.connect({ listener, tls: { ...(version && only(version)), session, ...tls } });
  assert.equal((await client.request('/')).status, 200);
  const { isResumed } = client;
  const ticket = client.sessions.at(-1) ?? session; // TLS 1.2 renews a ticket only when it wants to
  client.destroy();
  return { isResumed, session: ticket };
}

describe('tickets', { concurrency: 4 }, () => {
  test('a session is resumed on whichever worker its client meets', async (t) => {
    const lab = await Lab.start(t, { workers: 2, listeners: { web: web() } });
    for (const version of VERSIONS) {
      let { session, isResumed } = await visit(lab, { version });
      assert.equal(isResumed, false);
      for (let i = 0; i < 16; i++) {
        ({ isResumed, session } = await visit(lab, { version, session }));
        assert.equal(isResumed, true, `${version}, visit ${i}`);
      }
    }
  });

  test('a session is resumed on another limpet that has the secret, and on no other', async (t) => {
    const secret = pki.secret(pki.folder(t));
    const other = pki.secret(pki.folder(t));
    const [one, two, stranger, random] = [
      await Lab.start(t, { listeners: { web: web(secret) } }), await Lab.start(t, { listeners: { web: web(secret) } }),
      await Lab.start(t, { listeners: { web: web(other) } }), await Lab.start(t, { listeners: { web: web() } })];
    for (const version of VERSIONS) {
      const { session } = await visit(one, { version });
      assert.equal((await visit(two, { version, session })).isResumed, true, version);
      assert.equal((await visit(stranger, { version, session })).isResumed, false, version);
      assert.equal((await visit(random, { version, session })).isResumed, false, version);
      assert.equal((await visit(one, { version, session })).isResumed, true, 'a ticket may be used again');
    }
  });

  test('a session is resumed after a restart with the secret, and not after one without', async (t) => {
    const lab = await Lab.start(t, { listeners: { kept: web(pki.secret(pki.folder(t))), random: web() } });
    const before = {};
    for (const listener of ['kept', 'random']) before[listener] = (await visit(lab, { listener })).session;
    await lab.restart();
    assert.equal((await visit(lab, { listener: 'kept', session: before.kept })).isResumed, true);
    assert.equal((await visit(lab, { listener: 'random', session: before.random })).isResumed, false);
  });

  test('a ticket never crosses to another listener, certificate or client CA', async (t) => {
    const secret = pki.secret(pki.folder(t));
    const second = pki.ca.issue('second.example.com');
    const folder = pki.folder(t);
    fs.writeFileSync(`${folder}/both.pem`, pki.ca.pem + pki.stranger.pem);
    const lab = await Lab.start(t, { listeners: {
      web: web(secret, { certificates: [pki.site.config, second.config] }),
      same: web(secret, { certificates: [pki.site.config, second.config] }),
      demanding: web(secret, { client_ca: pki.ca.cert }),
      other: web(secret, { client_ca: `${folder}/both.pem` }),
    } });
    const alice = pki.client('alice').node;
    for (const version of VERSIONS) {
      const { session } = await visit(lab, { version, listener: 'web' });
      assert.equal((await visit(lab, { version, listener: 'web', session })).isResumed, true);
      assert.equal((await visit(lab, { version, listener: 'same', session })).isResumed, false, 'another listener');
      assert.equal((await visit(lab, { version, listener: 'web', session, tls: { servername: 'second.example.com' } })).isResumed, false, 'another certificate');
      assert.equal((await visit(lab, { version, listener: 'demanding', session, tls: alice })).isResumed, false, 'a client CA');
      // No way in with a ticket alone, either.
      await assert.rejects(visit(lab, { version, listener: 'demanding', session }), `${version}: a ticket of a listener without a client CA opens none with one`);
      const mine = (await visit(lab, { version, listener: 'demanding', tls: alice }).catch(() => ({}))).session;
      if (mine) assert.equal((await visit(lab, { version, listener: 'other', session: mine, tls: alice })).isResumed, false, 'another client CA');
    }
  });

  test('a reload with another client CA ends the tickets of the old one', async (t) => {
    const secret = pki.secret(pki.folder(t));
    const lab = await Lab.start(t, { listeners: { web: web(secret, { client_ca: pki.ca.cert }) } });
    const alice = pki.client('alice').node;
    for (const version of VERSIONS) {
      const client = await lab.connect({ tls: { ...only(version), ...alice } });
      await client.request('/');
      const session = client.sessions.at(-1);
      const answer = await lab.reload((config) => { config.listeners.web.tls.client_ca = pki.stranger.cert; });
      assert.ok(answer.isDone, answer.line);
      await assert.rejects(visit(lab, { version, session }), 'nobody of the old CA is let in by a ticket');
      await assert.rejects(visit(lab, { version, session, tls: alice }));
      await lab.reload((config) => { config.listeners.web.tls.client_ca = pki.ca.cert; });
    }
  });

  test('600 resumptions in a chain succeed, each with the ticket of the one before', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: web() } });
    for (const version of VERSIONS) {
      let session = (await visit(lab, { version })).session;
      let full = 0;
      for (let i = 1; i <= 600; i++) {
        const client = await lab.connect({ tls: { ...only(version), session } });
        if (!client.isResumed) full++;
        assert.equal((await client.request('/')).status, 200, `hop ${i}`);
        session = client.sessions.at(-1) ?? session; // at hop 256 of TLS 1.3 a client may keep what it has
        client.destroy();
      }
      // Each ticket of TLS 1.3 counts its hops in one byte; where it is full one full handshake is legal.
      assert.ok(full <= 2, `${version}: ${full} of 600 were not resumed`);
    }
  });

  test('a broken ticket costs a full handshake and nothing else', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: web() } });
    for (const version of VERSIONS) {
      const { session } = await visit(lab, { version });
      // The session is ASN.1 of OpenSSL's; what changes the ticket within it must keep its length.
      for (const at of [0.35, 0.5, 0.65, 0.8]) {
        const broken = Buffer.from(session);
        broken[Math.floor(broken.length * at)] ^= 1;
        await visit(lab, { version, session: broken }).catch((err) => assert.match(String(err.code), /^ERR_SSL/));
      }
      assert.equal((await visit(lab, { version, session })).isResumed, true);
    }
  });

  test('`openssl s_client` resumes as well', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: web() } });
    const { port } = lab.where();
    const file = `${pki.folder(t)}/session`;
    const run = (...args) => new Promise((resolve) => {
      const child = execFile('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'site.example.com', '-CAfile', pki.ca.cert, '-ign_eof', ...args], (err, out, said) => resolve(out + said));
      child.stdin.end('GET / HTTP/1.1\r\nHost: site.example.com\r\nConnection: close\r\n\r\n');
    });
    for (const version of ['-tls1_2', '-tls1_3']) {
      assert.match(await run(version, '-sess_out', file), /^New, TLSv/m);
      for (let i = 0; i < 3; i++) assert.match(await run(version, '-sess_in', file, '-sess_out', file), /^Reused, TLSv/m, version);
    }
  });
});
