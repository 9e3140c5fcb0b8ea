'use strict';
// For the tests of the benchmark: its programs, and servers that they measure.

const assert = require('node:assert/strict');
const net = require('node:net');
const path = require('node:path');
const tls = require('node:tls');
const { spawn } = require('node:child_process');
const { binary, environment } = require('./limpet');
const { Watched } = require('./wait');
const { OP, frame, readFrame, acceptOf } = require('./frames');
const pki = require('./pki');

const BODY = 'x'.repeat(128); // what mode http expects of "/"
const ERRORS = ['connect', 'refused', 'timeout', 'reset', 'closed', 'status', 'protocol', 'tls'];

// ---- Programs ----------------------------------------------------------------------------------

class Program extends Watched {
  constructor(t, file, args, stdio = ['ignore', 'pipe', 'pipe']) {
    super();
    this.stdout = '';
    this.stderr = '';
    this.child = spawn(file, args.map(String), { env: environment, stdio });
    this.child.stdout.on('data', (data) => { this.stdout += data; this.changed(); });
    this.child.stderr.on('data', (data) => { this.stderr += data; this.changed(); });
    this.child.on('error', (err) => { this.ended = { failure: err }; this.changed(); });
    this.child.on('close', (code, signal) => { this.ended = { code, signal }; this.changed(); });
    t.after(() => this.child.kill('SIGKILL'));
  }

  says(words) {
    return this.until(() => this.stderr.includes(words) || (this.ended && assert.fail(`ended: ${this.stderr}`)), () => `"${words}" on stderr; has ${this.stderr}`);
  }

  exits() { return this.until(() => this.ended, () => `the exit of ${this.child.spawnfile}`); }
}

const neighbour = (name) => path.join(path.dirname(binary), `bench-${name}`);

/** bench-load in mode against port; options as { seconds: 1 }. */
function startLoad(t, mode, port, options = {}, flags = []) {
  const given = { seconds: 0.4, warmup: 0, connections: 4, ...options };
  const args = Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]);
  return new Program(t, neighbour('load'), [mode, '--to', `127.0.0.1:${port}`, '--json', ...flags, ...args]);
}

async function resultOf(load) {
  const { code } = await load.exits();
  assert.equal(code, 0, load.stderr);
  return JSON.parse(load.stdout);
}

const measureOnce = async (...args) => resultOf(startLoad(...args));

/** Again in a longer window where a busy machine left no time for enough: at least one unit. */
async function measure(t, mode, port, options = {}, flags = [], enough = (result) => result.units > 0) {
  for (let seconds = options.seconds ?? 0.4; ; seconds *= 5) {
    const result = await measureOnce(t, mode, port, { ...options, seconds }, flags);
    if (enough(result) || seconds > 30) return result;
    Server.at.get(port)?.forget();
  }
}

/** Exactly these errors: { reset: 3 }, or { reset: true } for at least one. */
function assertErrors(result, wanted = {}) {
  for (const kind of ERRORS) {
    if (wanted[kind] === true) assert.ok(result.errors[kind] > 0, `${result.mode}: no ${kind}: ${JSON.stringify(result.errors)}`);
    else assert.equal(result.errors[kind], wanted[kind] ?? 0, `${result.mode}: ${kind}: ${JSON.stringify(result.errors)}`);
  }
}

// ---- Servers -----------------------------------------------------------------------------------

/** A server that calls serve(connection) for each connection and counts. */
class Server extends Watched {
  static at = new Map(); // by port

  static async start(t, serve, secure) {
    const server = new Server();
    server.forget();
    const create = secure ? (serveOne) => tls.createServer({ ...pki.site.node, ...secure }, serveOne) : net.createServer;
    server.listener = create((socket) => {
      server.connections.push(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {});
      socket.on('close', () => { socket.isGone = true; server.changed(); });
      socket.on('data', (data) => { server.bytes += data.length; server.changed(); });
      serve(socket, server);
      server.changed();
    });
    await new Promise((resolve) => { server.listener.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, resolve); });
    server.port = server.listener.address().port;
    Server.at.set(server.port, server);
    t.after(() => server.stop());
    return server;
  }

  forget() {
    this.connections = [];
    this.units = 0;
    this.bytes = 0;
  }

  unit() {
    this.units++;
    this.changed();
    return this.units;
  }

  stop() {
    this.listener.close();
    this.connections.forEach((socket) => socket.destroy());
  }

  /** Everything that was sent has arrived. */
  settled() {
    return this.until(() => this.connections.every((socket) => socket.isGone), 'all connections to end');
  }
}

const response = (body = BODY, head = '') => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${head}\r\n${body}`;

/** Calls answer(socket, number, head) for each request (without a body). */
const http = (answer) => (socket, server) => {
  let text = '';
  socket.on('data', (data) => {
    text += data.toString('latin1');
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const head = text.slice(0, end);
      text = text.slice(end + 4);
      answer(socket, server.unit(), head);
    }
  });
};

/** WebSockets: onFrame(socket, frame, number) for each frame; answers the upgrade itself. */
const webSocket = (onFrame, { upgrade, onOpen } = {}) => (socket, server) => {
  let bytes = Buffer.alloc(0);
  let isOpen = false;
  socket.on('data', (data) => {
    bytes = Buffer.concat([bytes, data]);
    if (!isOpen) {
      const end = bytes.indexOf('\r\n\r\n');
      if (end < 0) return;
      const key = /^sec-websocket-key: (.*)$/im.exec(bytes.toString('latin1', 0, end))[1].trim();
      bytes = bytes.subarray(end + 4);
      isOpen = true;
      socket.write(upgrade ? upgrade(key) : `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptOf(key)}\r\n\r\n`);
      onOpen?.(socket, server);
    }
    for (let one = readFrame(bytes); one; one = readFrame(bytes)) {
      bytes = bytes.subarray(one.size);
      onFrame(socket, one, one.opcode < OP.CLOSE ? server.unit() : server.units, server);
    }
  });
};

/** What an honest WebSocket server does. */
function echoFrame(socket, one) {
  if (one.opcode === OP.CLOSE) socket.end(frame(OP.CLOSE, one.payload, { masked: false }));
  else if (one.opcode < OP.CLOSE) socket.write(frame(one.opcode, one.payload, { masked: false }));
}

const withByteChanged = (data, at) => {
  const copy = Buffer.from(data);
  copy[at] ^= 1;
  return copy;
};

module.exports = {
  BODY, ERRORS, Program, neighbour, startLoad, resultOf, measureOnce, measure, assertErrors,
  Server, response, http, webSocket, echoFrame, withByteChanged,
};
