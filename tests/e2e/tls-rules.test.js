'use strict';
// The rules of RFC 8446 (and 5246, 6066, 7301) one by one: what breaks one gets the alert of that rule.

const { describe, test } = require('node:test');
const crypto = require('node:crypto');
const { Lab, assert } = require('./lab');
const { Tls13, RECORD, ALERT, EXTENSIONS, clientHello, record, message, extension, vector, u8, u16, bytes } = require('./tls13');
const pki = require('./pki');

const line = () => ({ servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp', tls: { certificates: [pki.site.config] } } } });
const {
  unexpectedMessage, handshakeFailure, illegalParameter, decodeError, protocolVersion, missingExtension, badRecordMac, recordOverflow,
  inappropriateFallback,
} = ALERT;
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
    'a share of an unknown group before 29 others': [SERVED, swapping(
      shares(...Array.from({ length: 30 }, (_, i) => [0x3000 + i, [i]]), [0x1d, Buffer.alloc(32, 9)]),
      { groups: [...Array.from({ length: 30 }, (_, i) => 0x3000 + i), 0x1d] })],
    'a share that is all zeros': [illegalParameter, swapping(shares([0x1d, Buffer.alloc(32)]))],
    'a share of low order': [illegalParameter, swapping(shares([0x1d, Buffer.from(
      'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800', 'hex')]))],
    'a share that is no point': [illegalParameter, swapping(shares([0x17, Buffer.alloc(65, 4)]), { groups: [0x17] })],
    'a share that is too short': [illegalParameter, swapping(shares([0x1d, Buffer.alloc(31, 9)]))],
    'no group in common': [handshakeFailure, swapping(shares([0x1e, Buffer.alloc(56, 7)]), { groups: [0x1e] })],
    'a list of groups of odd length': [decodeError, swapping(extension(10, vector(2, [0, 0x1d, 0])))],
    'an empty list of signatures': [decodeError, swapping(extension(13, vector(2)))],
    'signatures that nobody has': [handshakeFailure, swapping(EXTENSIONS.signatures([0xfefe]))],
    'a hundred signatures before one of ours': [SERVED, swapping(EXTENSIONS.signatures([...Array(100).fill(0xfefe), 0x0403]))],
    'thousands of suites': [SERVED, hello({ suites: [...Array.from({ length: 5000 }, (_, i) => 0x6000 + i), 0x1301] })],
    'thousands of suites, over 1.2': [SERVED, hello({ ...old, suites: [...Array.from({ length: 5000 }, (_, i) => 0x6000 + i), 0xc02b] })],
    'TLS 1.0 as its legacy version': [SERVED, hello({ legacyVersion: 0x0301 })],
    'TLS 1.4 as its legacy version': [SERVED, hello({ legacyVersion: 0x0305 })],
    'TLS 1.4 as its version, and no list': [SERVED, hello({ ...old, legacyVersion: 0x0305 })],
    'a fallback from what both have': [inappropriateFallback, hello({ ...old, suites: [0xc02b, 0x5600] })],
    'a fallback mark in 1.3': [SERVED, hello({ suites: [0x1301, 0x5600] })],
    'both forms of renegotiation info, over 1.2': [SERVED, hello({ ...old, suites: [0xc02b, 0x00ff],
      extensions: (usual) => [...usual, extension(0xff01, [0])] })],
    'early data that is not empty': [decodeError, adding(extension(42, [1]))],
    'no mode of its tickets': [decodeError, adding(extension(45, vector(1)), psk)],
    'an empty record in it': [unexpectedMessage, bytes(record(RECORD.HANDSHAKE, whole.subarray(0, 50)), record(RECORD.HANDSHAKE, []),
      record(RECORD.HANDSHAKE, whole.subarray(50)))],
    'an alert in it': [unexpectedMessage, bytes(record(RECORD.HANDSHAKE, whole.subarray(0, 50)), record(RECORD.ALERT, [1, 90]),
      record(RECORD.HANDSHAKE, whole.subarray(50)))],
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
  'data within a message': [unexpectedMessage, (tls) => tls.client.write(
    bytes(tls.seal(RECORD.HANDSHAKE, message(24, u8(0)).subarray(0, 3)), tls.seal(RECORD.DATA, Buffer.from('x'))))],
  'a key update that asks for a third thing': [illegalParameter, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(24, u8(2))))],
  'an empty key update': [MALFORMED, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(24)))],
  'a key update of two bytes': [MALFORMED, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(24, [0, 0])))],
  'two key updates in a record': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, bytes(message(24, u8(0)), message(24, u8(0)))))],
  'a key update before half a message': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, bytes(message(24, u8(1)), [24])))],
  'a certificate': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.HANDSHAKE, message(11, [0], [0, 0, 0])))],
  'an alert of three bytes': [unexpectedMessage, (tls) => tls.client.write(tls.seal(RECORD.ALERT, [1, 0, 0]))],
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

  const finishes = {
    'a wrong Finished': [ALERT.decryptError, (tls, one) => {
      const wrong = Buffer.from(one);
      wrong[wrong.length - 1] ^= 1;
      return tls.seal(RECORD.HANDSHAKE, wrong);
    }],
    'a Finished of 31 bytes': [decodeError, (tls, one) => tls.seal(RECORD.HANDSHAKE, message(20, one.subarray(5)))],
    'a key update behind Finished': [unexpectedMessage, (tls, one) => tls.seal(RECORD.HANDSHAKE, bytes(one, message(24, u8(0))))],
    'a key update before Finished': [unexpectedMessage, (tls) => tls.seal(RECORD.HANDSHAKE, message(24, u8(0)))],
    'data before Finished': [unexpectedMessage, (tls) => tls.seal(RECORD.DATA, 'x')],
    'data within Finished': [unexpectedMessage, (tls, one) => bytes(tls.seal(RECORD.HANDSHAKE, one.subarray(0, 9)), tls.seal(RECORD.DATA, 'x'),
      tls.seal(RECORD.HANDSHAKE, one.subarray(9)))],
    'a certificate that was not asked for': [unexpectedMessage, (tls, one) => tls.seal(RECORD.HANDSHAKE, bytes(message(11, [0], [0, 0, 0]), one))],
    'an empty record before Finished': [unexpectedMessage, (tls, one) => bytes(tls.seal(RECORD.HANDSHAKE, ''), tls.seal(RECORD.HANDSHAKE, one))],
    'a ChangeCipherSpec of another value': [unexpectedMessage, (tls, one) => bytes(record(RECORD.CHANGE, [2]), tls.seal(RECORD.HANDSHAKE, one))],
    'a ChangeCipherSpec of two bytes': [unexpectedMessage, (tls, one) => bytes(record(RECORD.CHANGE, [1, 1]), tls.seal(RECORD.HANDSHAKE, one))],
    'a record that does not open': [badRecordMac, (tls, one) => bytes(record(RECORD.DATA, Buffer.alloc(60)), tls.seal(RECORD.HANDSHAKE, one))],
    'Finished in pieces': [SERVED, (tls, one) => bytes(...[...one].map((byte) => tls.seal(RECORD.HANDSHAKE, [byte])))],
    'Finished with its head cut': [SERVED, (tls, one) => bytes(tls.seal(RECORD.HANDSHAKE, one.subarray(0, 3)), tls.seal(RECORD.HANDSHAKE, one.subarray(3)))],
    'Finished behind many ChangeCipherSpec': [SERVED, (tls, one) => bytes(...Array(50).fill(record(RECORD.CHANGE, [1])), tls.seal(RECORD.HANDSHAKE, one))],
    'a warning before Finished': [SERVED, (tls, one) => bytes(tls.seal(RECORD.ALERT, [1, 90]), tls.seal(RECORD.HANDSHAKE, one))],
  };
  for (const [what, [wanted, finish]] of Object.entries(finishes)) {
    test(`${what} at the end of a handshake is answered with ${wanted === SERVED ? 'an open session' : named(wanted)}`, async (t) => {
      const lab = await Lab.start(t, line());
      const tls = new Tls13(await lab.connect({ tls: false }));
      await tls.handshake({ finish: (one) => finish(tls, one) });
      if (wanted === SERVED) {
        await tls.write('hello');
        assert.equal(await tls.readUntil('hello'), 'hello');
      } else {
        // The server reads it with the keys of the handshake and answers with those of the session.
        assert.equal((await tls.answer()).alert, wanted);
      }
    });
  }

  test('a warning that a user has cancelled something ends nothing', async (t) => {
    const lab = await Lab.start(t, line());
    const tls = await Tls13.connect(await lab.connect({ tls: false }));
    await tls.client.write(tls.seal(RECORD.ALERT, [1, 90]));
    await tls.write('hello');
    assert.equal(await tls.readUntil('hello'), 'hello');
  });
});
