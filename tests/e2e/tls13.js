'use strict';
// A small TLS 1.3 client (RFC 8446) for what no library would send: ClientHellos of any shape,
// records of any size, padding, empty records, key updates, broken tags. X25519 and
// TLS_AES_128_GCM_SHA256 only; certificates are not looked at.

const crypto = require('node:crypto');

const RECORD = { CHANGE: 20, ALERT: 21, HANDSHAKE: 22, DATA: 23 };
const ALERT = {
  closeNotify: 0, unexpectedMessage: 10, badRecordMac: 20, recordOverflow: 22, handshakeFailure: 40,
  badCertificate: 42, unknownCa: 48, illegalParameter: 47, decodeError: 50, decryptError: 51, protocolVersion: 70,
  internalError: 80, inappropriateFallback: 86, missingExtension: 109, unrecognizedName: 112, certificateRequired: 116,
  noApplicationProtocol: 120,
};

const u8 = (n) => Buffer.from([n]);
const u16 = (n) => Buffer.from([n >> 8, n & 255]);
const u24 = (n) => Buffer.from([n >> 16, (n >> 8) & 255, n & 255]);
const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
/** A vector: its length in so many bytes, then itself. */
const vector = (lengthBytes, ...parts) => {
  const body = bytes(...parts);
  return bytes([u8, u16, u24][lengthBytes - 1](body.length), body);
};
const extension = (type, ...body) => bytes(u16(type), vector(2, ...body));
const message = (type, ...body) => bytes(u8(type), vector(3, ...body));
const record = (type, body, version = 0x0303) => bytes(u8(type), u16(version), vector(2, body));

const newShare = () => crypto.generateKeyPairSync('x25519');
const rawPublic = (key) => Buffer.from(key.export({ format: 'jwk' }).x, 'base64url');
const publicOf = (raw) => crypto.createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: raw.toString('base64url') }, format: 'jwk' });

const EXTENSIONS = {
  serverName: (name) => extension(0, vector(2, u8(0), vector(2, name))),
  groups: (groups) => extension(10, vector(2, ...groups.map(u16))),
  signatures: (list) => extension(13, vector(2, ...list.map(u16))),
  alpn: (names) => extension(16, vector(2, ...names.map((name) => vector(1, name)))),
  padding: (size) => extension(21, Buffer.alloc(size)),
  versions: (list) => extension(43, vector(1, ...list.map(u16))),
  keyShare: (raw) => extension(51, vector(2, u16(0x1d), vector(2, raw))),
  noShare: () => extension(51, vector(2)),
  earlyData: () => extension(42),
  /** Tickets with binders that nobody can check, and before them how they would be used. */
  tickets: (...tickets) => bytes(extension(45, vector(1, [1])),
    extension(41, vector(2, ...tickets.map((ticket) => bytes(vector(2, ticket), Buffer.alloc(4)))), vector(2, ...tickets.map(() => vector(1, crypto.randomBytes(32)))))),
};

/**
 * A ClientHello message; name and versions may be null. `extensions` replaces the usual ones (a function of them); `share` is a key
 * pair whose public half goes along.
 */
function clientHello({ name = 'site.example.com', alpn, share = newShare(), groups = [0x1d], suites = [0x1301], versions = [0x0304], legacyVersion = 0x0303,
  session = crypto.randomBytes(32), compression = [0], extensions = (usual) => usual } = {}) {
  const usual = [
    ...(name === null ? [] : [EXTENSIONS.serverName(name)]),
    EXTENSIONS.groups(groups), EXTENSIONS.signatures([0x0403, 0x0503, 0x0804, 0x0805, 0x0401]),
    ...(alpn ? [EXTENSIONS.alpn(alpn)] : []),
    ...(versions ? [EXTENSIONS.versions(versions), EXTENSIONS.keyShare(rawPublic(share.publicKey))] : []),
  ];
  return message(1, u16(legacyVersion), crypto.randomBytes(32), vector(1, session), vector(2, ...suites.map(u16)), vector(1, compression), vector(2, ...extensions(usual)));
}

const hmac = (key, data) => crypto.createHmac('sha256', key).update(data).digest();
const hash = (data) => crypto.createHash('sha256').update(data).digest();
const expand = (secret, label, context, size) => hmac(secret, bytes(u16(size), vector(1, `tls13 ${label}`), vector(1, context), u8(1))).subarray(0, size);
const derive = (secret, label, transcript) => expand(secret, label, hash(transcript), 32);

/** One direction's key, nonce and count. */
class Keys {
  constructor(secret) {
    this.secret = secret;
    this.key = expand(secret, 'key', '', 16);
    this.iv = expand(secret, 'iv', '', 12);
    this.count = 0n;
  }

  #nonce() {
    const nonce = Buffer.from(this.iv);
    nonce.writeBigUInt64BE(nonce.readBigUInt64BE(4) ^ this.count++, 4);
    return nonce;
  }

  seal(inner) {
    const head = bytes(u8(RECORD.DATA), u16(0x0303), u16(inner.length + 16));
    const cipher = crypto.createCipheriv('aes-128-gcm', this.key, this.#nonce()).setAAD(head);
    return bytes(head, cipher.update(inner), cipher.final(), cipher.getAuthTag());
  }

  open(head, body) {
    const decipher = crypto.createDecipheriv('aes-128-gcm', this.key, this.#nonce()).setAAD(head).setAuthTag(body.subarray(-16));
    return bytes(decipher.update(body.subarray(0, -16)), decipher.final());
  }

  get next() { return new Keys(expand(this.secret, 'traffic upd', '', 32)); }
}

class Tls13 {
  /** client: a RawClient over plain TCP. hello: options of clientHello(). */
  static async connect(client, options) {
    const tls = new Tls13(client);
    await tls.handshake(options);
    return tls;
  }

  constructor(client) {
    this.client = client;
    this.flight = Buffer.alloc(0); // handshake bytes not yet taken
  }

  /**
   * early: records behind the ClientHello. retry: options of a second one, the first has no share; late:
   * records behind it. finish: gives the records with that Finished message.
   */
  async handshake({ hello = {}, send = (one) => this.client.write(one), early = [], retry, late = [], finish = (one) => this.seal(RECORD.HANDSHAKE, one) } = {}) {
    const share = newShare();
    const first = clientHello({ share, ...hello });
    await send(bytes(record(RECORD.HANDSHAKE, first, 0x0301), ...early));
    let reply = await this.#message();
    if (reply[0] !== 2) throw new Error(`message ${reply[0]} instead of a ServerHello`);
    let transcript = bytes(first, reply);
    if (retry) { // RFC 8446, 4.4.1
      const second = clientHello({ share, ...retry });
      await send(bytes(record(RECORD.HANDSHAKE, second), ...late));
      transcript = bytes(message(254, hash(first)), reply, second);
      reply = await this.#message();
      transcript = bytes(transcript, reply);
    }
    const unkeyed = hmac(Buffer.alloc(32), Buffer.alloc(32));
    const shared = crypto.diffieHellman({ privateKey: share.privateKey, publicKey: publicOf(shareOf(reply)) });
    const secret = hmac(derive(unkeyed, 'derived', ''), shared);
    const mine = derive(secret, 'c hs traffic', transcript);
    this.in = new Keys(derive(secret, 's hs traffic', transcript));
    let one;
    do {
      one = await this.#message();
      transcript = bytes(transcript, one);
    } while (one[0] !== 20);
    const master = hmac(derive(secret, 'derived', ''), Buffer.alloc(32));
    const finished = message(20, hmac(expand(mine, 'finished', '', 32), hash(transcript)));
    this.out = new Keys(mine);
    await this.client.write(finish(finished));
    this.in = new Keys(derive(master, 's ap traffic', transcript));
    this.out = new Keys(derive(master, 'c ap traffic', transcript));
  }

  /** The next handshake message, whole. */
  async #message() {
    for (;;) {
      if (this.flight.length >= 4 && this.flight.length >= 4 + this.flight.readUIntBE(1, 3)) {
        const size = 4 + this.flight.readUIntBE(1, 3);
        const one = this.flight.subarray(0, size);
        this.flight = this.flight.subarray(size);
        return one;
      }
      const { type, data, alert } = await this.next();
      if (alert !== undefined) throw Object.assign(new Error(`alert ${alert}`), { alert });
      if (type !== RECORD.HANDSHAKE) throw new Error(`a record of type ${type} in the handshake`);
      this.flight = bytes(this.flight, data);
    }
  }

  /** The next record, opened: {type, data, alert}. ChangeCipherSpec is passed over. */
  async next() {
    for (;;) {
      const head = Buffer.from(await this.client.read(5));
      const body = await this.client.read(head.readUInt16BE(3));
      if (head[0] === RECORD.CHANGE) continue;
      let [type, data] = [head[0], body];
      if (type === RECORD.DATA) {
        const inner = this.in.open(head, body);
        let end = inner.length - 1;
        while (inner[end] === 0) end--;
        [type, data] = [inner[end], inner.subarray(0, end)];
      }
      return { type, data, alert: type === RECORD.ALERT ? data[1] : undefined };
    }
  }

  /** The next record that is no ticket. */
  async answer() {
    for (;;) {
      const one = await this.next();
      if (one.type !== RECORD.HANDSHAKE || one.data[0] !== 4) return one;
    }
  }

  /** Application data until `text` came. */
  async readUntil(text) {
    let got = '';
    while (!got.includes(text)) {
      const one = await this.answer();
      if (one.alert !== undefined) throw new Error(`alert ${one.alert} behind ${JSON.stringify(got)}`);
      if (one.type === RECORD.DATA) got += one.data.toString('latin1');
    }
    return got;
  }

  seal(type, data, { padding = 0 } = {}) { return this.out.seal(bytes(data, u8(type), Buffer.alloc(padding))); }
  write(data, options) { return this.client.write(this.seal(RECORD.DATA, Buffer.from(data), options)); }
  closeNotify() { return this.client.write(this.seal(RECORD.ALERT, [1, ALERT.closeNotify])); }

  /** New keys for what we send; asks for new ones of the other side, too, if `request`. */
  async updateKeys({ request = false } = {}) {
    await this.client.write(this.seal(RECORD.HANDSHAKE, message(24, u8(request ? 1 : 0))));
    this.out = this.out.next;
  }

  /** Follows a KeyUpdate of the other side. */
  keysWereUpdated() { this.in = this.in.next; }
}

/** The server's X25519 share out of its ServerHello. */
function shareOf(reply) {
  let at = 4 + 2 + 32;
  at += 1 + reply[at] + 3 + 2;
  while (at < reply.length) {
    const [type, size] = [reply.readUInt16BE(at), reply.readUInt16BE(at + 2)];
    if (type === 51) return reply.subarray(at + 8, at + 4 + size);
    at += 4 + size;
  }
  throw new Error('a ServerHello without a share');
}

module.exports = { Tls13, RECORD, ALERT, EXTENSIONS, clientHello, record, message, extension, vector, u8, u16, u24, bytes };
