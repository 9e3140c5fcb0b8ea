'use strict';
// Origin servers that live in the test's own process. Each names itself in its answers (X-Server)
// and remembers every byte that reached it. Kinds:
//   app       HTTP/1.1, WebSocket echo and event streams; `handle` answers differently
//   raw       a script that reads and writes bytes (`script(connection, origin)`, a RawClient)
//   tcp       echoes bytes
//   silent    accepts and says nothing
//   socketio  a socket.io server
// With `tls` (options of node's tls.createServer()) app, raw and tcp speak TLS; what an arrival's
// handshake agreed on is its .tls. With `proxied` every connection must begin with a PROXY header,
// before its TLS if any; they gather in .proxied.

const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const tls = require('node:tls');
const { WebSocketServer } = require('ws');
const { Watched } = require('./wait');
const { RawClient, Head } = require('./client');
const { takePort } = require('./ports');
const { readProxyHeader } = require('./proxy-header');

const RECORDED_MAX = 4 << 20; // per connection; what lies beyond is only counted

/** One accepted connection: what arrived on it. */
class Arrival {
  constructor(origin, socket) {
    this.origin = origin;
    this.socket = socket;
    this.pieces = [];
    this.size = 0;
    this.recorded = 0;
    this.requests = [];
    this.isGone = new Promise((resolve) => { socket.once('close', resolve); });
    if (socket.encrypted) {
      this.tls = {
        version: socket.getProtocol(), name: socket.servername, isResumed: socket.isSessionReused(),
        client: socket.getPeerCertificate()?.fingerprint256?.replaceAll(':', '').toLowerCase(),
      };
    }
  }

  note(data) {
    this.size += data.length;
    if (this.recorded < RECORDED_MAX) {
      this.pieces.push(data);
      this.recorded += data.length;
    }
  }

  get bytes() {
    if (this.pieces.length > 1) this.pieces = [Buffer.concat(this.pieces)];
    return this.pieces[0] ?? Buffer.alloc(0);
  }

  get text() { return this.bytes.toString('latin1'); }
}

/** A request as the app origin saw it. */
class Request extends Head {
  constructor(text, arrival) {
    super(text);
    this.raw = text;
    this.arrival = arrival;
    [this.method, this.target, this.version] = this.first.split(' ');
    this.path = this.target.split('?')[0];
    this.bodySize = 0;
    this.body = new Promise((resolve, reject) => { this.bodyIs = resolve; this.bodyFails = reject; });
    this.body.catch(() => {}); // a handler that does not ask for the body has no interest in its end
  }

  describe(server, body) {
    const { method, target, version, fields } = this;
    return { server, method, target, version, fields, body: body.toString('latin1') };
  }
}

/** What a handler answers with. */
class Answer {
  constructor(arrival, name, request) {
    this.socket = arrival.socket;
    this.name = name;
    this.request = request;
    this.isGone = arrival.isGone;
  }

  write(bytes) {
    return new Promise((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** Status line and fields; X-Server says who speaks. */
  head(status, headers = {}) {
    const lines = [`HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? 'Status'}`, `X-Server: ${this.name}`];
    for (const [key, value] of Object.entries(headers)) lines.push(`${key}: ${value}`);
    return this.write(lines.join('\r\n') + '\r\n\r\n');
  }

  async respond(status, headers = {}, body = '') {
    await this.head(status, { 'Content-Length': Buffer.byteLength(body), ...headers });
    if (this.request.method !== 'HEAD' && body.length > 0) await this.write(body);
  }

  chunk(data) {
    return this.write(Buffer.concat([Buffer.from(`${Buffer.byteLength(data).toString(16)}\r\n`), Buffer.from(data), Buffer.from('\r\n')]));
  }

  lastChunk(trailers = {}) {
    const lines = Object.entries(trailers).map(([key, value]) => `${key}: ${value}\r\n`);
    return this.write(`0\r\n${lines.join('')}\r\n`);
  }

  event(data) { return this.chunk(`data: ${data}\n\n`); }
  close() { this.socket.end(); }
  reset() { resetOf(this.socket); }
}

/** Node resets plain connections only; one with TLS ends without its close_notify, which is as rude. */
function resetOf(socket) {
  if (socket.encrypted) socket.destroy();
  else socket.resetAndDestroy();
}

/** Reads requests off a connection, strictly one after the other. */
class HttpReader {
  constructor(origin, arrival) {
    this.origin = origin;
    this.arrival = arrival;
    this.buffer = Buffer.alloc(0);
    this.request = null;
    this.isBusy = false;
    this.onData = (data) => {
      arrival.note(data);
      this.buffer = this.buffer.length === 0 ? data : Buffer.concat([this.buffer, data]);
      this.step();
      origin.changed();
    };
    arrival.socket.on('data', this.onData);
  }

  step() {
    for (;;) {
      if (this.request) {
        if (!this.#body()) return;
      } else {
        if (this.isBusy || this.isStopped || !this.#head()) return;
      }
    }
  }

  #head() {
    const end = this.buffer.indexOf('\r\n\r\n');
    if (end < 0) return false;
    let request;
    try {
      request = new Request(this.buffer.toString('latin1', 0, end), this.arrival);
    } catch (err) {
      this.origin.faults.push(err);
      this.arrival.socket.destroy();
      return false;
    }
    this.buffer = this.buffer.subarray(end + 4);
    this.#frame(request);
    this.request = request;
    this.arrival.requests.push(request);
    this.origin.requests.push(request);
    this.isBusy = true;
    this.#answer(request);
    return !this.isStopped;
  }

  #frame(request) {
    const lengths = request.all('content-length');
    const codings = request.all('transfer-encoding');
    if (lengths.length + codings.length > 1 || request.all('host').length > 1) {
      this.origin.faults.push(new Error(`ambiguous request: ${request.raw}`));
    }
    request.isChunked = codings.length > 0;
    request.left = lengths.length > 0 ? Number(lengths[0]) : 0;
    request.parts = [];
    request.trailers = [];
    request.chunkState = 'size';
  }

  #body() {
    const { request } = this;
    const isWhole = request.isChunked ? this.#chunks(request) : this.#counted(request);
    if (!isWhole) return false;
    this.request = null;
    request.isWhole = true;
    request.bodyIs(Buffer.concat(request.parts));
    return true;
  }

  #counted(request) {
    const part = this.buffer.subarray(0, request.left);
    request.left -= part.length;
    this.#keep(request, part);
    return request.left === 0;
  }

  #keep(request, part) {
    this.buffer = this.buffer.subarray(part.length);
    request.bodySize += part.length;
    if (part.length > 0) request.parts.push(part);
  }

  #chunks(request) {
    for (;;) {
      if (request.chunkState === 'data') {
        if (!this.#counted(request)) return false;
        request.chunkState = 'crlf';
      }
      const end = this.buffer.indexOf('\r\n');
      if (end < 0) return false;
      const line = this.buffer.toString('latin1', 0, end);
      this.buffer = this.buffer.subarray(end + 2);
      if (request.chunkState === 'size') {
        request.left = parseInt(line, 16);
        request.chunkState = request.left === 0 ? 'trailer' : 'data';
      } else if (request.chunkState === 'crlf') {
        request.chunkState = 'size';
      } else if (line === '') {
        return true;
      } else {
        request.trailers.push(line);
      }
    }
  }

  async #answer(request) {
    const answer = new Answer(this.arrival, this.origin.name, request);
    try {
      if (/websocket/i.test(request.get('upgrade') ?? '') && !this.origin.refusesUpgrades) {
        const handled = this.origin.options.handleUpgrade
          && await this.origin.options.handleUpgrade(request, answer, this) !== false;
        if (!handled) {
          this.#upgrade(request);
          return;
        }
      } else if (!(this.origin.options.handle && await this.origin.options.handle(request, answer, this.origin) !== false)) {
        await this.origin.answer(request, answer);
      }
    } catch (err) {
      if (!this.arrival.socket.destroyed) this.origin.faults.push(err);
    }
    this.isBusy = false;
    this.step();
  }

  /** From here on the connection is not HTTP any more. Gives what came behind the head. */
  detach() {
    this.isStopped = true;
    this.arrival.socket.off('data', this.onData);
    return this.buffer;
  }

  #upgrade(request) {
    const early = this.detach();
    const headers = Object.fromEntries(request.fields.map(([key, value]) => [key.toLowerCase(), value]));
    const fake = { method: request.method, url: request.target, headers, socket: this.arrival.socket };
    this.origin.webSockets.handleUpgrade(fake, this.arrival.socket, early, (socket) => this.origin.opened(socket, request));
  }
}

class Origin extends Watched {
  constructor(name, options = {}) {
    super();
    this.name = name;
    this.options = options;
    this.kind = options.kind ?? 'app';
    this.arrivals = [];
    this.requests = [];
    this.messages = []; // of WebSockets
    this.sockets = new Set(); // open WebSockets
    this.tlsErrors = []; // handshakes that failed
    this.proxied = []; // PROXY headers
    this.closes = []; // codes with which WebSockets ended
    this.faults = []; // what an honest server must never be sent
    this.live = new Set();
  }

  /** Settles the address, so that it can be configured before (or without) listening. */
  async prepare() {
    this.host = this.options.host ?? '127.0.0.1';
    this.path = this.options.path;
    if (!this.path) this.port ??= this.options.port ?? await takePort();
  }

  async start() {
    await this.prepare();
    this.listener = this.kind === 'socketio' ? this.#socketio() : this.#plainOrTls();
    if (this.kind === 'socketio') this.listener.on('connection', (socket) => this.#track(socket));
    if (this.kind === 'app') this.#webSocketServer();
    await this.listen();
    return this;
  }

  #plainOrTls() {
    const accept = (socket) => this.#accept(socket);
    const { tls: options, proxied } = this.options;
    let server = options ? tls.createServer({ allowHalfOpen: true, ...options }, accept) : net.createServer({ allowHalfOpen: true }, accept);
    server.on('tlsClientError', (err) => { this.tlsErrors.push(err); this.changed(); });
    if (!proxied) return server;
    const inner = server;
    server = net.createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {}); // as long as nobody else listens
      readProxyHeader(socket).then((header) => {
        this.proxied.push(header);
        inner.emit('connection', socket);
        if (!options) socket.resume(); // TLS reads beneath the socket
      }, (err) => { this.faults.push(err); socket.destroy(); });
    });
    return server;
  }

  listen() {
    if (this.path) fs.rmSync(this.path, { force: true });
    const where = this.path ? { path: this.path } : { port: this.port, host: this.host };
    return new Promise((resolve, reject) => {
      this.listener.once('error', reject);
      this.listener.listen({ ...where, backlog: 4096 }, () => {
        this.listener.off('error', reject);
        resolve();
      });
    });
  }

  /** As limpet's configuration writes it. */
  get address() {
    if (this.path) return `unix:${this.path}`;
    return this.host.includes(':') ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
  }

  #track(socket) {
    const arrival = new Arrival(this, socket);
    this.arrivals.push(arrival);
    this.live.add(socket);
    socket.setNoDelay?.(true);
    socket.on('error', (err) => { arrival.error = err; });
    socket.on('close', () => {
      arrival.isClosed = true;
      this.live.delete(socket);
      this.changed();
    });
    return arrival;
  }

  #accept(socket) {
    const arrival = this.#track(socket);
    if (this.kind === 'app') {
      socket.on('end', () => { arrival.isEnded = true; socket.end(); this.changed(); });
      arrival.reader = new HttpReader(this, arrival);
    } else if (this.kind === 'tcp') {
      socket.on('data', (data) => { arrival.note(data); this.changed(); });
      socket.on('end', () => { arrival.isEnded = true; this.changed(); });
      if (this.options.greeting) socket.write(this.options.greeting);
      if (!this.options.mute) socket.pipe(socket);
    } else {
      const connection = new RawClient(socket);
      connection.keepsOpen = true;
      socket.on('data', (data) => { arrival.note(data); this.changed(); });
      socket.on('end', () => { arrival.isEnded = true; this.changed(); });
      arrival.connection = connection;
      this.#play(connection, arrival);
    }
    this.changed();
  }

  async #play(connection, arrival) {
    try {
      await this.options.script?.(connection, this, arrival);
    } catch (err) {
      arrival.scriptError = err; // mostly: the other side went away, which a test may want
    }
  }

  #webSocketServer() {
    const { maxPayload = 64 << 20, perMessageDeflate = true } = this.options;
    this.webSockets = new WebSocketServer({ noServer: true, maxPayload, perMessageDeflate });
    this.webSockets.on('headers', (headers) => headers.push(`X-Server: ${this.name}`));
  }

  opened(socket, request) {
    this.sockets.add(socket);
    socket.on('message', (data, isBinary) => {
      this.messages.push(isBinary ? data : data.toString());
      if (!this.options.onWebSocket) socket.send(data, { binary: isBinary, compress: this.options.compress !== false });
      this.changed();
    });
    socket.on('error', (err) => this.faults.push(err));
    socket.on('close', (code) => {
      this.sockets.delete(socket);
      this.closes.push(code);
      this.changed();
    });
    this.options.onWebSocket?.(socket, request, this);
    this.changed();
  }

  #socketio() {
    const server = http.createServer((request, response) => {
      response.setHeader('X-Server', this.name);
      response.end(this.name);
    });
    const { Server } = require('socket.io');
    this.io = new Server(server, { serveClient: false, ...this.options.io });
    this.io.engine.on('headers', (headers) => { headers['X-Server'] = this.name; });
    this.io.on('connection', (socket) => {
      socket.emit('name', this.name);
      socket.on('say', (text, reply) => {
        this.messages.push(text);
        this.changed();
        reply(`${this.name}: ${text}`);
      });
    });
    return server;
  }

  /** What an app answers unless its handler did: its name, or a description of the request. */
  async answer(request, answer) {
    if (/100-continue/i.test(request.get('expect') ?? '')) await answer.write('HTTP/1.1 100 Continue\r\n\r\n');
    const body = await request.body;
    if (request.path === '/echo') return answer.respond(200, {}, body);
    if (request.path === '/sse') return this.#events(request, answer);
    return answer.respond(200, { 'Content-Type': 'application/json' }, JSON.stringify(request.describe(this.name, body)));
  }

  async #events(request, answer) {
    await answer.head(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store', 'Transfer-Encoding': 'chunked' });
    await answer.event(`hello from ${this.name}`);
    this.streams ??= new Set();
    this.streams.add(answer);
    this.changed();
    await answer.isGone;
    this.streams.delete(answer);
    this.changed();
  }

  /** Everything that ever arrived, as text. */
  get text() { return this.arrivals.map((arrival) => arrival.text).join(''); }
  get size() { return this.arrivals.reduce((sum, arrival) => sum + arrival.size, 0); }

  /** Waits until text arrived, in a WebSocket message or as bytes. */
  receives(text) {
    return this.until(() => this.messages.some((message) => message.toString().includes(text)) || this.text.includes(text),
      () => `${this.name} to receive ${JSON.stringify(text)}; has ${JSON.stringify(this.text.slice(-400))}`);
  }

  /** The first request whose target starts with prefix. */
  request(prefix) {
    return this.until(() => this.requests.find((request) => request.target.startsWith(prefix)), `${this.name} to see a request for ${prefix}`);
  }

  /** The first arrival that is a connection with bytes, and its script's end of it. */
  arrival(question = (one) => one.size > 0) {
    return this.until(() => this.arrivals.find(question), `an arrival at ${this.name}`);
  }

  /** Refuses connects from now on; connections go on. */
  async refuse() {
    await new Promise((resolve) => {
      this.listener.close(() => {}); // calls back only when the last connection is gone
      setImmediate(resolve);
    });
  }

  /** Dies as a killed process would: no listener, every connection reset. */
  async kill() {
    await this.refuse();
    for (const socket of this.live) resetOf(socket);
  }

  /** Comes back at the same address. */
  async revive() {
    await this.start();
  }

  async stop() {
    for (const socket of this.sockets) socket.terminate();
    this.io?.close();
    this.listener?.close();
    for (const socket of this.live) socket.destroy();
  }
}

module.exports = { Origin };
