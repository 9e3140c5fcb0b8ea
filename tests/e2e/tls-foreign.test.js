'use strict';
// TLS clients that were another server's before, or are shaped for what stands between: tickets that
// are not ours, data sent before anybody asked, ChangeCipherSpec for middleboxes, large hellos.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { execFile, spawn } = require('node:child_process');
const { Lab, assert, eventually } = require('./lab');
const { takePort, releasePort } = require('./ports');
const { Tls13, RECORD, ALERT, EXTENSIONS, clientHello, record, extension, bytes } = require('./tls13');
const pki = require('./pki');

const web = (more = {}) => ({ listeners: { web: { tls: { certificates: [pki.site.config], ...more } } } });
const adding = (...more) => ({ extensions: (usual) => [...usual, ...more] });
const old = { versions: null, suites: [0xc02b, 0xc02f], groups: [0x1d, 0x17] }; // TLS 1.2
const RETRY_RANDOM = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c'; // RFC 8446, 4.1.3
const GET = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';

async function nextRecord(client) {
  const head = Buffer.from(await client.read(5));
  return { type: head[0], body: Buffer.from(await client.read(head.readUInt16BE(3))) };
}

/** What comes, up to the first record of that type, or an alert. */
async function recordsUntil(client, type) {
  const records = [];
  do records.push(await nextRecord(client)); while (![type, RECORD.ALERT].includes(records.at(-1).type));
  return records;
}

const isHello = ({ type, body }) => type === RECORD.HANDSHAKE && body[0] === 2;
const isRetry = ({ body }) => body.subarray(6, 38).toString('hex') === RETRY_RANDOM;

/** A whole handshake of TLS 1.3 and a request over it. */
async function isServed(lab, options) {
  const client = await lab.connect({ tls: false });
  const tls = await Tls13.connect(client, options);
  await tls.write(GET);
  assert.match(await tls.readUntil('\r\n\r\n'), /^HTTP\/1\.1 200 /);
  client.destroy();
}

/** The alert that a handshake ends with, or undefined. */
async function alertFor(lab, options) {
  const client = await lab.connect({ tls: false });
  const tls = new Tls13(client);
  try {
    await tls.handshake(options);
    return (await tls.answer()).alert;
  } catch (err) {
    assert.notEqual(err.alert, undefined, String(err));
    return err.alert;
  } finally {
    client.destroy();
  }
}

/** Lets `openssl s_client` take a ticket from a server. */
async function takeTicket(port, file, ...args) {
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'site.example.com', '-sess_out', file, ...args], { stdio: ['pipe', 'ignore', 'ignore'] });
  await eventually(() => fs.existsSync(file) && fs.statSync(file).size > 0, 'a ticket');
  child.kill();
  await new Promise((resolve) => { child.once('close', resolve); });
}

/** What `openssl s_client` shows; it says `request` when it is connected. */
const sClient = (port, request, ...args) => new Promise((resolve) => {
  const child = execFile('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', 'site.example.com', '-CAfile', pki.ca.cert, '-ign_eof', ...args],
    (err, out, said) => resolve(out + said));
  child.stdin.end(request);
});

/** Another server, that gives tickets: a port. */
async function server(t, ...args) {
  const port = await takePort();
  const child = spawn('openssl', ['s_server', '-accept', `127.0.0.1:${port}`, '-cert', pki.site.cert, '-key', pki.site.key, ...args],
    { stdio: ['pipe', 'pipe', 'ignore'] });
  t.after(async () => {
    child.kill();
    await new Promise((resolve) => { child.once('close', resolve); });
    releasePort(port);
  });
  await new Promise((resolve) => { child.stdout.on('data', (data) => String(data).includes('ACCEPT') && resolve()); });
  return port;
}

describe('TLS clients of another server', { concurrency: 4 }, () => {
  test('a ticket that is not ours, of any length, means a full handshake', async (t) => {
    const lab = await Lab.start(t, web());
    for (const size of [1, 32, 200, 230, 238, 239, 240, 300, 1000, 7000]) {
      const ticket = crypto.randomBytes(size);
      await isServed(lab, { hello: adding(extension(35, ticket), EXTENSIONS.tickets(ticket)) });
      const client = await lab.raw(record(RECORD.HANDSHAKE, clientHello({ ...old, ...adding(extension(35, ticket)) })), { tls: false });
      const [reply] = await recordsUntil(client, RECORD.HANDSHAKE);
      assert.ok(isHello(reply), `1.2, ${size} bytes`);
      client.destroy();
    }
    await isServed(lab, { hello: adding(EXTENSIONS.tickets(...Array.from({ length: 40 }, () => crypto.randomBytes(240)))) });
    assert.equal(await alertFor(lab, { hello: adding(EXTENSIONS.tickets('')) }), ALERT.decodeError);
  });

  test('a TLS 1.2 client whose ticket is not good gets a new one', async (t) => {
    const lab = await Lab.start(t, web());
    const only = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' };
    const visit = async (session) => {
      const client = await lab.connect({ tls: { ...only, session } });
      assert.equal((await client.request('/')).status, 200);
      const seen = [client.isResumed, client.sessions.at(-1) ?? session];
      client.destroy();
      return seen;
    };
    let [isResumed, session] = await visit();
    await lab.restart();
    const seen = [];
    for (let i = 0; i < 3; i++) {
      [isResumed, session] = await visit(session);
      seen.push(isResumed);
    }
    assert.deepEqual(seen, [false, true, true]);
  });

  test('early data that cannot be read is skipped, up to 16 KiB', async (t) => {
    const lab = await Lab.start(t, web());
    const early = (...sizes) => sizes.map((size) => record(RECORD.DATA, crypto.randomBytes(size + 17)));
    const hello = adding(EXTENSIONS.earlyData(), EXTENSIONS.tickets(crypto.randomBytes(240)));
    for (const records of [[], early(0), early(1), early(16384), early(...Array(100).fill(100)), [record(RECORD.CHANGE, [1]), ...early(500, 600)]]) {
      await isServed(lab, { hello, early: records });
    }
    for (const records of [early(16384, 1), early(1, 16384), early(...Array(164).fill(100))]) {
      assert.equal(await alertFor(lab, { hello, early: records }), ALERT.badRecordMac);
    }
    assert.equal(await alertFor(lab, { early: early(10) }), ALERT.badRecordMac, 'from who did not announce any');
    const tls = new Tls13(await lab.connect({ tls: false }));
    await tls.handshake({ hello, finish: (one) => bytes(tls.seal(RECORD.HANDSHAKE, one.subarray(0, 9)), ...early(10)) });
    assert.equal((await tls.answer()).alert, ALERT.badRecordMac, 'behind a record that opened');
  });

  test('early data is skipped before a second ClientHello, and not behind it', async (t) => {
    const lab = await Lab.start(t, web());
    const early = (size) => record(RECORD.DATA, crypto.randomBytes(size));
    const tickets = EXTENSIONS.tickets(crypto.randomBytes(240));
    const hello = { extensions: (usual) => [...usual.slice(0, -1), EXTENSIONS.noShare(), EXTENSIONS.earlyData(), tickets] };
    await isServed(lab, { hello, early: [early(9000)], retry: adding(tickets) });
    await isServed(lab, { hello, early: [record(RECORD.CHANGE, [1]), early(16384), early(18)], retry: {} });
    assert.equal(await alertFor(lab, { hello, early: [early(16384), early(16384)], retry: {} }), ALERT.unexpectedMessage);
    assert.equal(await alertFor(lab, { hello, retry: {}, late: [early(100)] }), ALERT.badRecordMac);
    const silent = { extensions: (usual) => [...usual.slice(0, -1), EXTENSIONS.noShare()] };
    assert.equal(await alertFor(lab, { hello: silent, early: [early(100)], retry: {} }), ALERT.unexpectedMessage);
  });

  test('`openssl s_client` comes with a ticket of `openssl s_server`, and with data before the handshake', async (t) => {
    const lab = await Lab.start(t, web());
    const { port } = lab.where();
    const folder = pki.folder(t);
    const early = path.join(folder, 'early');
    fs.writeFileSync(early, GET);
    const request = 'GET / HTTP/1.1\r\nHost: site.example.com\r\nConnection: close\r\n\r\n';
    for (const version of ['-tls1_2', '-tls1_3']) {
      const session = path.join(folder, version);
      const before = await server(t, version, ...(version === '-tls1_3' ? ['-early_data'] : []));
      await takeTicket(before, session, version, '-alpn', 'h2,http/1.1');
      const said = await sClient(port, request, version, '-alpn', 'h2,http/1.1', '-sess_in', session);
      assert.match(said, /^New, TLSv/m, said);
      assert.match(said, /^HTTP\/1\.1 200 /m, said);
      if (version === '-tls1_2') continue;
      const more = await sClient(port, request, version, '-sess_in', session, '-early_data', early);
      assert.match(more, /Early data was rejected/, more);
      assert.match(more, /^HTTP\/1\.1 200 /m, more);
    }
  });

  test('a ChangeCipherSpec follows the first answer to a client with a session id, and to no other', async (t) => {
    const lab = await Lab.start(t, web());
    const types = async (options) => {
      const client = await lab.raw(record(RECORD.HANDSHAKE, clientHello(options), 0x0301), { tls: false });
      const [first, second] = [await nextRecord(client), await nextRecord(client)];
      client.destroy();
      assert.ok(isHello(first));
      return second.type;
    };
    assert.equal(await types({ session: crypto.randomBytes(32) }), RECORD.CHANGE);
    assert.equal(await types({ session: crypto.randomBytes(5) }), RECORD.CHANGE);
    assert.equal(await types({ session: [] }), RECORD.DATA);
  });

  test('it stands behind a HelloRetryRequest at once, and then not again', async (t) => {
    const lab = await Lab.start(t, web());
    const session = crypto.randomBytes(32);
    const client = await lab.raw(record(RECORD.HANDSHAKE, clientHello({ session, extensions: (usual) => [...usual.slice(0, -1), EXTENSIONS.noShare()] }), 0x0301), { tls: false });
    const [retry, change] = await recordsUntil(client, RECORD.CHANGE);
    assert.ok(isRetry(retry));
    assert.deepEqual(change, { type: RECORD.CHANGE, body: Buffer.from([1]) });
    await client.write(record(RECORD.HANDSHAKE, clientHello({ session })));
    const [reply, ...more] = await recordsUntil(client, RECORD.DATA);
    assert.ok(isHello(reply) && !isRetry(reply));
    assert.deepEqual(more.map(({ type }) => type), [RECORD.DATA]);
    client.destroy();
  });

  test('a client without a common group hears handshake_failure, and the log says so', async (t) => {
    const lab = await Lab.start(t, web());
    for (const options of [{ groups: [0x1e, 0x0100] }, { ...old, groups: [0x1e] }]) assert.equal(await alertFor(lab, { hello: options }), ALERT.handshakeFailure);
    await lab.says(/listener web: TLS handshake with 127\.0\.0\.1 failed: no common group/);
  });

  test('large hellos of today\'s clients are understood, however they are cut into segments', async (t) => {
    const lab = await Lab.start(t, web());
    for (const name of ['openssl-3.5', 'go-1.24', 'chromium', 'wolfssl-mlkem']) {
      const sent = fs.readFileSync(path.join(__dirname, '../fuzz/corpus/hello', name));
      for (const cut of [4, 1000, 1448, sent.length - 1]) {
        const client = await lab.raw(sent.subarray(0, cut), { tls: false });
        await client.write(sent.subarray(cut));
        const [reply] = await recordsUntil(client, RECORD.HANDSHAKE);
        assert.ok(isHello(reply) && !isRetry(reply), `${name}, cut at ${cut}`);
        client.destroy();
      }
    }
  });
});
