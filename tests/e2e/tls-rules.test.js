'use strict';
// The rules of RFC 8446 (and 5246, 6066, 7301) one by one: what breaks one gets the alert of that rule.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const { Lab, assert } = require('./lab');
const { Tls13, RECORD, ALERT, EXTENSIONS, clientHello, record, message, extension, vector, u8, u16, bytes } = require('./tls13');
const pki = require('./pki');

const line = () => ({ servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp', tls: { certificates: [pki.site.config] } } } });
const { unexpectedMessage, handshakeFailure, illegalParameter, decodeError, protocolVersion, missingExtension, badRecordMac, recordOverflow } = ALERT;
const MALFORMED = [decodeError, illegalParameter];
const SERVED = 'ServerHello';
const RETRY = 'HelloRetryRequest';
const RETRY_RANDOM = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c'; // RFC 8446, 4.1.3

/** In words: what a test wants to see. */
const named = (wanted) => [wanted].flat().map((one) => Object.keys(ALERT).find((name) => ALERT[name] === one) ?? one).join(' or ');

const typeOf = (one) => one.readUInt16BE(0);
const hello = (options) => record(RECORD.HANDSHAKE, clientHello(options), 0x0301);
const adding = (...more) => hello({ extensions: (usual) => [...usual, ...more] });
const without = (type) => hello({ extensions: (usual) => usual.filter((one) => typeOf(one) !== type) });
const swapping = (other, options = {}) => hello({ ...options, extensions: (usual) => usual.map((one) => (typeOf(one) === typeOf(other) ? other : one)) });
const shares = (...list) => extension(51, vector(2, ...list.map(([group, key]) => bytes(u16(group), vector(2, key)))));
const psk = extension(41, vector(2, bytes(vector(2, Buffer.alloc(32, 1)), Buffer.alloc(4))), vector(2, vector(1, Buffer.alloc(32))));
const pskModes = extension(45, vector(1, [1]));
const old = { versions: null, suites: [0xc02b], groups: [0x17] }; // TLS 1.2

/** The first that a hello is answered with: an alert's number, SERVED, RETRY, or 'closed'. */
async function answerTo(lab, sent) {
  const client = await lab.raw(sent, { tls: false });
  try {
    const head = Buffer.from(await client.read(5));
    const body = await client.read(head.readUInt16BE(3));
    if (head[0] === RECORD.ALERT) return body[1];
    return body.subarray(6, 38).toString('hex') === RETRY_RANDOM ? RETRY : SERVED;
  } catch {
    return 'closed';
  } finally {
    client.destroy();
  }
}

const hellos = () => {
  const whole = clientHello();
  const lying = Buffer.from(whole);
  const extensionsAt = 4 + 2 + 32 + 1 + 32 + 2 + 2 + 2;
  lying.writeUInt16BE(lying.readUInt16BE(extensionsAt) + 3, extensionsAt);
  return {
    'nothing wrong': [SERVED, hello()],
    'a record version of SSL 3.0': [SERVED, record(RECORD.HANDSHAKE, clientHello(), 0x0300)],
    'thousands of unknown extensions': [SERVED, adding(...Array.from({ length: 3000 }, (_, i) => extension(0x4000 + i)))],
    'an unknown ticket': [SERVED, adding(pskModes, psk)],
    'a share of an unknown group alone': [RETRY, swapping(shares([0x1e, Buffer.alloc(56, 7)]), { groups: [0x1e, 0x17] })],
    'no share yet': [RETRY, swapping(extension(51, vector(2)))],
    'two shares of one group': [illegalParameter, swapping(shares([0x1d, Buffer.alloc(32, 9)], [0x1d, Buffer.alloc(32, 9)]))],
    'no share extension': [missingExtension, without(51)],
    'no groups': [missingExtension, without(10)],
    'no signature algorithms': [missingExtension, without(13)],
    'bytes behind its end': [MALFORMED, record(RECORD.HANDSHAKE, message(1, whole.subarray(4), Buffer.alloc(5)), 0x0301)],
    'extensions that reach beyond it': [MALFORMED, record(RECORD.HANDSHAKE, lying, 0x0301)],
    'a session id of 33 bytes': [MALFORMED, hello({ session: Buffer.alloc(33) })],
    'no suites': [[...MALFORMED, handshakeFailure], hello({ suites: [] })],
    'no compression': [MALFORMED, hello({ compression: [] })],
    'compression': [illegalParameter, hello({ compression: [0, 1] })],
    'no names in its SNI': [MALFORMED, swapping(extension(0, vector(2)))],
    'an empty name in its SNI': [decodeError, swapping(extension(0, vector(2, bytes(u8(0), vector(2)))))],
    'a ticket but no modes': [missingExtension, adding(psk)],
    'the proof of a renegotiation': [handshakeFailure, adding(extension(0xff01, vector(1, Buffer.alloc(12, 1))))],
    'a record of 16385 bytes': [recordOverflow, record(RECORD.HANDSHAKE, Buffer.concat([clientHello(), Buffer.alloc(16385 - clientHello().length)]), 0x0301)],
    'no protocols in its ALPN': [MALFORMED, adding(extension(16, vector(2)))],
    'an empty protocol in its ALPN': [MALFORMED, adding(extension(16, vector(2, vector(1))))],
    'an ALPN that lies about its length': [MALFORMED, adding(extension(16, [0, 9, 8]))],
    'no versions': [[...MALFORMED, protocolVersion], swapping(extension(43, vector(1)))],
    'a later version only': [protocolVersion, hello({ versions: [0x0305] })],
    'a draft only': [protocolVersion, hello({ versions: [0x7f1c] })],
    'a ticket that is not the last extension': [illegalParameter, hello({ extensions: (usual) => [psk, pskModes, ...usual] })],
    'more binders than tickets': [MALFORMED, adding(pskModes, extension(41, vector(2, bytes(vector(2, Buffer.alloc(32, 1)), Buffer.alloc(4))), vector(2, vector(1, Buffer.alloc(32)), vector(1, Buffer.alloc(32)))))],
    'RSA signatures only, over 1.2': [handshakeFailure, hello({ ...old, extensions: (usual) => usual.map((one) => (typeOf(one) === 13 ? EXTENSIONS.signatures([0x0401]) : one)) })],
    'no group in common, over 1.2': [handshakeFailure, hello({ ...old, groups: [0x1e] })],
    'compressed points only, over 1.2': [[illegalParameter, handshakeFailure, SERVED], hello({ ...old, extensions: (usual) => [...usual, extension(11, vector(1, [1]))] })],
  };
};

/** What is sent in an open session, and the alert that answers it. */
const misdeeds = {
  'a record of nothing but zeros': [unexpectedMessage, (tls) => tls.client.write(tls.out.seal(Buffer.alloc(20)))],
  'a second Finished': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(20, Buffer.alloc(32))))],
  'a session ticket': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(4, Buffer.alloc(20))))],
  'an unknown message': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(99, 'x')))],
  'ChangeCipherSpec': [unexpectedMessage, (tls) => tls.client.write(record(RECORD.CHANGE, [1]))],
  'a plain alert': [unexpectedMessage, (tls) => tls.client.write(record(RECORD.ALERT, [1, 0]))],
  'a plain message': [unexpectedMessage, (tls) => tls.client.write(record(RECORD.HANDSHAKE, message(24, u8(0))))],
  'data within a message': [unexpectedMessage, async (tls) => {
    await tls.client.write(tls.seal(RECORD.HANDSHAKE, message(24, u8(0)).subarray(0, 3)));
    await tls.write('x');
  }],
  'a key update that asks for a third thing': [illegalParameter, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(24, u8(2))))],
  'an empty key update': [MALFORMED, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(24)))],
  'an alert of one byte': [[decodeError, unexpectedMessage], (tls) => tls.client.write(tls.seal(RECORD.ALERT, [2]))],
  'an empty alert': [[decodeError, unexpectedMessage], (tls) => tls.client.write(tls.seal(RECORD.ALERT, []))],
  'a record too short for its tag': [badRecordMac, (tls) => tls.client.write(record(RECORD.DATA, Buffer.alloc(10)))],
  'a record without any bytes': [[badRecordMac, unexpectedMessage], (tls) => tls.client.write(record(RECORD.DATA, []))],
  'a record that was sent before': [badRecordMac, async (tls) => {
    const one = tls.seal(RECORD.DATA, crypto.randomBytes(10));
    await tls.client.write(Buffer.concat([one, one]));
  }],
  'padding beyond the largest record': [recordOverflow, (tls) => tls.write('x', { padding: 16384 })],
};

describe('the rules of TLS', { concurrency: 4 }, () => {
  for (const [what, [wanted, sent]] of Object.entries(hellos())) {
    test(`a ClientHello with ${what} is answered with ${named(wanted)}`, async (t) => {
      const lab = await Lab.start(t, line());
      const got = await answerTo(lab, sent);
      assert.ok([wanted].flat().includes(got), `answered with ${got}, not ${wanted}`);
    });
  }

  for (const [what, [wanted, send]] of Object.entries(misdeeds)) {
    test(`${what} ends a session with ${named(wanted)}`, async (t) => {
      const lab = await Lab.start(t, line());
      const tls = await Tls13.connect(await lab.connect({ tls: false }));
      await send(tls);
      let { type, alert } = await tls.answer();
      if (type === RECORD.DATA) ({ alert } = await tls.answer()); // the echo of what was still right
      assert.ok([wanted].flat().includes(alert), `answered with ${alert}, not ${wanted}`);
      await tls.client.isClosed();
    });
  }

  test('a wrong Finished gets decrypt_error', async (t) => {
    const lab = await Lab.start(t, line());
    const client = await lab.connect({ tls: false });
    const tls = new Tls13(client);
    const seal = tls.seal.bind(tls);
    tls.seal = (type, data) => { // of the first message that is sealed, the last byte
      tls.seal = seal;
      const wrong = Buffer.from(data);
      wrong[wrong.length - 1] ^= 1;
      return seal(type, wrong);
    };
    await tls.handshake();
    // The server reads it with the keys of the handshake and answers with those of the session.
    const { alert } = await tls.answer();
    assert.equal(alert, ALERT.decryptError);
  });

  test('a warning that a user has cancelled something ends nothing', async (t) => {
    const lab = await Lab.start(t, line());
    const tls = await Tls13.connect(await lab.connect({ tls: false }));
    await tls.client.write(tls.seal(RECORD.ALERT, [1, 90]));
    await tls.write('hello');
    assert.equal(await tls.readUntil('hello'), 'hello');
  });
});
