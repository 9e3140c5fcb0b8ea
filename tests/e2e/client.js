'use strict';
// Clients: raw bytes over TCP or TLS with a strict reader of HTTP/1.1 responses, and npm `ws` with
// promises.
// The reader is strict on purpose: whatever limpet sends must be HTTP to the letter.

const net = require('node:net');
const tls = require('node:tls');
const WebSocket = require('ws');
const { Watched } = require('./wait');
const { Wire } = require('./wire');
const { OP, frame, closeFrame, readFrame, makeKey, acceptOf } = require('./frames');

/** The text of a request. Adds Host and the Content-Length of a body unless the caller gives them. */
function requestText(target, { method = 'GET', version = '1.1', headers = {}, body } = {}) {
  const given = Array.isArray(headers) ? headers : Object.entries(headers);
  const has = (name) => given.some(([key]) => key.toLowerCase() === name);
  const lines = [`${method} ${target} HTTP/${version}`];
  if (!has('host')) lines.push('Host: test.example');
  for (const [key, value] of given) lines.push(`${key}: ${value}`);
  if (body !== undefined && !has('content-length') && !has('transfer-encoding')) {
    lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
  }
  const head = Buffer.from(lines.join('\r\n') + '\r\n\r\n', 'latin1');
  return body === undefined ? head : Buffer.concat([head, Buffer.from(body)]);
}

const STATUS_LINE = /^HTTP\/1\.1 ([1-9]\d\d) ([\t\x20-\x7e\x80-\xff]*)$/;
const FIELD_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*$/;

class Head {
  constructor(text) {
    const [first, ...lines] = text.split('\r\n');
    this.first = first;
    this.fields = lines.map((line) => {
      const match = FIELD_LINE.exec(line);
      if (!match) throw new Error(`not a field line: ${JSON.stringify(line)}`);
      return [match[1], match[2]];
    });
  }

  all(name) {
    return this.fields.filter(([key]) => key.toLowerCase() === name.toLowerCase()).map(([, value]) => value);
  }

  get(name) {
    const values = this.all(name);
    return values.length === 0 ? undefined : values.join(', ');
  }
}

class Response extends Head {
  constructor(text) {
    super(text);
    const match = STATUS_LINE.exec(this.first);
    if (!match) throw new Error(`not a status line: ${JSON.stringify(this.first)}`);
    this.status = Number(match[1]);
    this.reason = match[2];
    this.informational = [];
    this.chunks = [];
    this.trailers = [];
  }

  get server() { return this.get('x-server'); }
  get text() { return this.body.toString(); }
  json() { return JSON.parse(this.text); }
}

/** A connected socket that may be closed on one side. */
function openSocket(options) {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ ...options, allowHalfOpen: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(socket);
    });
  });
}

/** A TCP (or Unix) connection that reads into one buffer and hands it out on demand. */
class RawClient extends Watched {
  constructor(socket) {
    super();
    this.socket = socket;
    this.pieces = [];
    this.piecesSize = 0;
    this.received = 0;
    this.ended = undefined; // 'fin' or 'reset', once the other side is done
    this.keepsOpen = false; // true: answers a FIN only when the test says end()
    socket.setNoDelay?.(true);
    socket.on('data', (data) => {
      this.pieces.push(data);
      this.piecesSize += data.length;
      this.received += data.length;
      this.changed();
    });
    socket.on('end', () => {
      this.ended ??= 'fin';
      if (!this.keepsOpen) socket.end();
      this.changed();
    });
    socket.on('error', (err) => {
      this.error = err;
      this.ended ??= 'reset';
      this.changed();
    });
    socket.on('close', () => {
      this.isGone = true;
      this.ended ??= 'reset';
      this.changed();
    });
  }

  static async connect(options) {
    return new RawClient(await openSocket(options));
  }

  /**
   * The same over TLS, once the handshake is done; says what was agreed on. `tls` are options of node's tls.connect(); with
   * `wire` (options of a Wire) the records pass the test's hands. Tickets gather in .sessions.
   */
  static async connectTls({ wire, tls: options, ...where }) {
    const under = await openSocket(where);
    const link = wire ? new Wire(under, wire) : under;
    const sessions = [];
    const socket = tls.connect({ socket: link, ...options });
    socket.on('session', (session) => sessions.push(session));
    await new Promise((resolve, reject) => {
      const broken = (err) => {
        under.destroy();
        reject(err instanceof Error ? err : new Error('closed during the handshake'));
      };
      socket.once('error', broken).once('close', broken);
      socket.once('secureConnect', () => {
        socket.off('error', broken).off('close', broken);
        resolve();
      });
    });
    const client = new RawClient(socket);
    Object.assign(client, {
      under, wire: wire && link, sessions,
      version: socket.getProtocol(), suite: socket.getCipher().name, isResumed: socket.isSessionReused(),
      peer: socket.getPeerCertificate().fingerprint256?.replaceAll(':', '').toLowerCase(), // of the server, as hex
    });
    socket.on('session', () => client.changed());
    return client;
  }

  /** The newest ticket; TLS 1.3 sends it behind the handshake. */
  async session() {
    await this.until(() => this.sessions.length > 0, 'a session ticket');
    return this.sessions.at(-1);
  }

  /** All bytes that were received and not yet taken. */
  get buffer() {
    if (this.pieces.length > 1) this.pieces = [Buffer.concat(this.pieces)];
    return this.pieces[0] ?? Buffer.alloc(0);
  }

  #take(size) {
    const whole = this.buffer;
    this.pieces = [whole.subarray(size)];
    this.piecesSize -= size;
    return whole.subarray(0, size);
  }

  write(bytes) {
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** Byte by byte, each in a segment of its own. */
  async writeSlowly(bytes) {
    for (const byte of Buffer.from(bytes)) {
      await this.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  send(target, options) { return this.write(requestText(target, options)); }
  end() { this.socket.end(); }
  reset() { (this.under ?? this.socket).resetAndDestroy(); }
  destroy() { this.socket.destroy(); }
  pause() { this.socket.pause(); }
  resume() { this.socket.resume(); }

  #orEnded(answer, what) {
    if (answer !== undefined) return { answer };
    if (this.ended) throw new Error(`the connection ended (${this.ended}) before ${what}; unread: ${JSON.stringify(this.buffer.toString('latin1').slice(0, 400))}`);
    return undefined;
  }

  async read(size) {
    await this.until(() => this.#orEnded(this.piecesSize >= size ? true : undefined, `${size} bytes`), `${size} bytes to read`);
    return this.#take(size);
  }

  /** Up to and including text. */
  async readUntil(text) {
    const { answer } = await this.until(() => {
      const at = this.buffer.indexOf(text);
      return this.#orEnded(at < 0 ? undefined : at + text.length, JSON.stringify(text));
    }, () => `${JSON.stringify(text)} to read, have ${JSON.stringify(this.buffer.toString('latin1').slice(-200))}`);
    return this.#take(answer);
  }

  /** Everything until the other side is done. */
  async readAll() {
    await this.until(() => this.ended, 'the end of the connection');
    return this.#take(this.piecesSize);
  }

  async isClosed() {
    return this.until(() => this.ended, () => `the other side to close; unread: ${JSON.stringify(this.buffer.toString('latin1').slice(0, 400))}`);
  }

  async #head() {
    const bytes = await this.readUntil('\r\n\r\n');
    return bytes.toString('latin1').slice(0, -4);
  }

  async #chunked(response) {
    const parts = [];
    for (;;) {
      const line = (await this.readUntil('\r\n')).toString('latin1').slice(0, -2);
      const match = /^([0-9a-fA-F]+)(;.*)?$/.exec(line);
      if (!match) throw new Error(`not a chunk size: ${JSON.stringify(line)}`);
      const size = parseInt(match[1], 16);
      response.chunks.push(size);
      if (size === 0) break;
      parts.push(Buffer.from(await this.read(size)));
      if ((await this.read(2)).toString() !== '\r\n') throw new Error('no CRLF behind a chunk');
    }
    for (;;) {
      const line = (await this.readUntil('\r\n')).toString('latin1').slice(0, -2);
      if (line === '') break;
      response.trailers.push(new Head(`x\r\n${line}`).fields[0]);
    }
    return Buffer.concat(parts);
  }

  /** Only the head of the next response, which may be a 1xx; its body is for the caller to read. */
  async responseHead() {
    return new Response(await this.#head());
  }

  /** The next response, whole. 1xx before it are kept in .informational. */
  async response({ method = 'GET' } = {}) {
    const informational = [];
    let response = await this.responseHead();
    while (response.status < 200 && response.status !== 101) {
      informational.push(response);
      response = await this.responseHead();
    }
    response.informational = informational;
    response.client = this;
    response.body = await this.#body(response, method);
    return response;
  }

  async #body(response, method) {
    const lengths = response.all('content-length');
    const codings = response.all('transfer-encoding');
    if (lengths.length + codings.length > 1) throw new Error(`ambiguous response: ${JSON.stringify(response.fields)}`);
    if (method === 'HEAD' || response.status === 204 || response.status === 304 || response.status === 101) return Buffer.alloc(0);
    if (codings.length === 1) return this.#chunked(response);
    if (lengths.length === 1) return Buffer.from(await this.read(Number(lengths[0])));
    response.isUntilClose = true;
    const body = await this.readAll();
    if (this.ended !== 'fin') throw new Error(`a body until close ended with a ${this.ended}`);
    return body;
  }

  /** One request and its whole response on this connection. */
  async request(target, options = {}) {
    await this.send(target, options);
    return this.response(options);
  }
}

/** A WebSocket of raw frames. */
class RawWebSocket {
  constructor(client, response) {
    this.client = client;
    this.response = response;
  }

  get server() { return this.response.server; }

  /** early: bytes sent in one write behind the request. */
  static async open(client, target = '/ws', { headers = {}, early } = {}) {
    const key = makeKey();
    const request = requestText(target, { headers: {
      Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key, ...headers,
    } });
    await client.write(early ? Buffer.concat([request, early]) : request);
    const response = await client.response();
    if (response.status === 101 && response.get('sec-websocket-accept') !== acceptOf(key)) throw new Error('wrong Sec-WebSocket-Accept');
    return new RawWebSocket(client, response);
  }

  send(text, options) { return this.client.write(frame(OP.TEXT, text, options)); }
  write(bytes) { return this.client.write(bytes); }
  close(code = 1000, reason = '') { return this.client.write(closeFrame(code, reason)); }

  /** The next frame from the server's side. */
  async frame() {
    const found = await this.client.until(() => {
      const next = readFrame(this.client.buffer);
      if (!next && this.client.ended) throw new Error(`the connection ended (${this.client.ended}) instead of a frame`);
      return next;
    }, 'a frame');
    await this.client.read(found.size);
    return found;
  }

  async message() { return (await this.frame()).payload.toString(); }
  destroy() { this.client.destroy(); }
}

/** npm `ws` with promises. */
class WsClient extends Watched {
  constructor(url, protocols, options) {
    super();
    this.messages = [];
    this.pongs = [];
    this.taken = 0;
    this.socket = new WebSocket(url, protocols, options);
    this.socket.on('upgrade', (response) => { this.upgrade = response; });
    this.socket.on('unexpected-response', (request, response) => {
      this.refused = response;
      response.resume();
      this.changed();
    });
    this.socket.on('open', () => this.changed());
    this.socket.on('message', (data, isBinary) => { this.messages.push(isBinary ? data : data.toString()); this.changed(); });
    this.socket.on('pong', (data) => { this.pongs.push(data.toString()); this.changed(); });
    this.socket.on('error', (err) => { this.error = err; this.changed(); });
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString(), at: Date.now() };
      this.changed();
    });
  }

  get server() { return this.upgrade.headers['x-server']; }
  get isOpen() { return this.socket.readyState === WebSocket.OPEN && !this.closed; }

  async isOpened() {
    await this.until(() => {
      if (this.refused) throw new Error(`refused with ${this.refused.statusCode}`);
      if (this.closed && !this.upgrade) throw this.error ?? new Error('closed before it opened');
      return this.socket.readyState !== WebSocket.CONNECTING;
    }, 'the WebSocket to open');
    return this;
  }

  send(data, options) {
    return new Promise((resolve, reject) => this.socket.send(data, options ?? {}, (err) => (err ? reject(err) : resolve())));
  }

  /** The next message that nobody took yet. */
  async message() {
    await this.until(() => {
      if (this.messages.length > this.taken) return true;
      if (this.closed) throw new Error(`closed with ${this.closed.code} instead of a message`);
      return false;
    }, 'a message');
    return this.messages[this.taken++];
  }

  async echoes(data) {
    await this.send(data);
    const answer = await this.message();
    const same = Buffer.isBuffer(data) ? Buffer.compare(data, answer) === 0 : data === answer;
    if (!same) throw new Error(`sent ${String(data).slice(0, 60)}, got ${String(answer).slice(0, 60)}`);
  }

  ping(data) { this.socket.ping(data); }
  close(code, reason) { this.socket.close(code, reason); }

  async isClosedWith(code) {
    await this.until(() => this.closed, `a Close with ${code}`);
    if (this.closed.code !== code) throw new Error(`closed with ${this.closed.code}, not ${code} (${this.error ?? 'no error'})`);
    return this.closed;
  }

  destroy() { this.socket.terminate(); }
}

module.exports = { RawClient, RawWebSocket, WsClient, Head, Response, requestText };
