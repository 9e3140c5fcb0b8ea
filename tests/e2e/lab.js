'use strict';
// A lab: one limpet between origin servers and clients, all on this machine. A test reads like a
// conversation; when it ends the lab stops limpet and demands that nothing was left behind.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const os = require('node:os');
const path = require('node:path');
const { Readable } = require('node:stream');
const { Limpet, runLimpet } = require('./limpet');
const { Origin } = require('./origin');
const { RawClient, RawWebSocket, WsClient } = require('./client');
const { Watched, eventually, atLeastOnce } = require('./wait');
const { takePort, releasePort } = require('./ports');
const { toYaml } = require('./yaml');
const pki = require('./pki');

/** End reasons as the access log writes them: the one place where tests name them. */
const END = {
  done: 'done', clientClosed: 'client-closed', clientReset: 'client-reset', badRequest: 'bad-request',
  headTooLarge: 'head-too-large', headTimeout: 'head-timeout', bodyTimeout: 'body-timeout',
  bodyTooLarge: 'body-too-large', methodRefused: 'method-refused', noRoute: 'no-route',
  noServerUp: 'no-server-up', connectFailed: 'connect-failed', connectTimeout: 'connect-timeout',
  responseTimeout: 'response-timeout', badResponse: 'bad-response', serverClosed: 'server-closed',
  serverReset: 'server-reset', slowPeer: 'slow-peer', streamIdle: 'stream-idle',
  halfClosed: 'half-closed-timeout', connectionLimit: 'connection-limit', drain: 'drain',
  drainDeadline: 'drain-deadline', serverRemoved: 'server-removed', badUpgrade: 'bad-upgrade',
};

/** Timeouts that a test is not about: none that a busy machine could miss, nor one that hides a wait. */
const PATIENT = '10m';

const RELOADED = /reload (\d+) -> (\d+): /;
const REFUSED = /reload refused|refused.*reload/;

/** What EventSource needs of fetch(). Node's own (18, 20) forgets the signal when memory is collected,
 * and then close() closes nothing. */
function fetchThatAborts(url, { headers, signal }) {
  const isSecure = String(url).startsWith('https:');
  return new Promise((resolve, reject) => {
    (isSecure ? https : http).get(url, { headers, signal, agent: false, ...(isSecure && secured()) }, (answer) => {
      resolve({ status: answer.statusCode, url: String(url), redirected: false, headers: new Headers(answer.headers), body: Readable.toWeb(answer) });
    }).on('error', reject);
  });
}

/** What a TLS client of the tests asks for unless it says otherwise. */
const secured = (more) => ({ ca: pki.ca.pem, servername: 'site.example.com', ...more });

class Lab extends Watched {
  /**
   * servers   name -> options of an Origin (or a running Origin); default one app, s1
   * pools     name -> list of server names, or an object whose `servers` may be such a list
   * listeners name -> object; `bind` is filled in when absent (PORT and FOLDER in it, too);
   *           default: web to the first pool
   * anything else goes into the file as it is. wrapper, env, args: how limpet is started.
   */
  static async start(t, options = {}) {
    const lab = new Lab();
    t.after(() => lab.stop(t));
    await lab.#origins(options.servers ?? { s1: {} });
    await lab.#configure(options);
    lab.spawn(options);
    await lab.isReady();
    return lab;
  }

  constructor() {
    super();
    this.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-e2e-'));
    this.file = path.join(this.folder, 'limpet.yaml');
    this.servers = {};
    this.ports = [];
    this.clients = new Set();
    this.past = []; // limpets that were replaced by restart()
  }

  async #origins(servers) {
    await Promise.all(Object.entries(servers).map(async ([name, options]) => {
      if (options instanceof Origin) {
        this.servers[name] = options;
        return;
      }
      this.servers[name] = await this.newServer(name, options);
    }));
  }

  /** One more origin; it stands in no pool until a reload lists it. */
  async newServer(name, options = {}) {
    const where = options.unix ? { path: path.join(this.folder, `${name}.sock`) } : {};
    const origin = new Origin(name, { ...where, ...options });
    await (options.isDown ? origin.prepare() : origin.start());
    this.servers[name] = origin;
    (this.ownServers ??= []).push(origin);
    return origin;
  }

  server(name) { return this.servers[name]; }

  async newPort() {
    const port = await takePort();
    this.ports.push(port);
    return port;
  }

  /** A server list of a pool: names become addresses, options stay. */
  #serverMap(list) {
    if (!Array.isArray(list)) {
      return Object.fromEntries(Object.entries(list).map(([name, value]) => {
        if (typeof value === 'string') return [name, value];
        return [name, { address: this.servers[name]?.address, ...value }];
      }));
    }
    return Object.fromEntries(list.map((name) => [name, this.servers[name].address]));
  }

  async #configure(options) {
    const { servers, pools, listeners, wrapper, env, args, ...rest } = options;
    const timeouts = { handshake: PATIENT, connect: PATIENT, ...rest.timeouts };
    const config = { workers: 2, ...rest, timeouts, listeners: {}, pools: {} };
    config.drain = { delay: '0s', deadline: '2s', ...rest.drain };
    for (const [name, pool] of Object.entries(pools ?? { app: Object.keys(this.servers) })) {
      const given = Array.isArray(pool) ? { servers: pool } : pool;
      config.pools[name] = { check: { type: 'off' }, ...given, servers: this.#serverMap(given.servers ?? Object.keys(this.servers)) };
      const { check } = config.pools[name];
      if (check === 'default') delete config.pools[name].check;
      else if (check.type !== 'off') config.pools[name].check = { timeout: PATIENT, ...check };
    }
    const first = Object.keys(config.pools)[0];
    for (const [name, listener] of Object.entries(listeners ?? { web: {} })) {
      const bind = await this.#binds(listener.bind ?? '127.0.0.1:PORT');
      const target = listener.routes || listener.redirect ? {} : { pool: first };
      config.listeners[name] = { ...target, ...listener, bind };
    }
    this.config = config;
    this.write();
  }

  /** PORT stands for a port of its own, FOLDER for the lab's folder. */
  async #binds(bind) {
    if (Array.isArray(bind)) return Promise.all(bind.map((one) => this.#binds(one)));
    const whole = bind.replace('FOLDER', this.folder);
    return whole.includes('PORT') ? whole.replace('PORT', await this.newPort()) : whole;
  }

  write(text = toYaml(this.config)) { fs.writeFileSync(this.file, text); }

  spawn({ wrapper, env, args = [] } = {}) {
    this.limpet = new Limpet([...args, '-c', this.file], { wrapper, env, cwd: this.folder });
  }

  async isReady() {
    await this.limpet.says(/ready: /);
  }

  /** Ends limpet and starts it again with the same file. */
  async restart() {
    this.limpet.signal('SIGTERM');
    await this.limpet.exits();
    this.limpet.assertClean();
    this.past.push(this.limpet);
    this.spawn();
    await this.isReady();
  }

  /** Where a client connects to. */
  where(listener = Object.keys(this.config.listeners)[0], index = 0) {
    const binds = [this.config.listeners[listener].bind].flat();
    const bind = binds[index];
    if (bind.startsWith('unix:')) return { path: bind.slice(5) };
    const [, host, port] = /^\[?([^\]]*)\]?:(\d+)$/.exec(bind);
    return { host: host === '0.0.0.0' || host === '*' ? '127.0.0.1' : host === '::' ? '::1' : host, port: Number(port) };
  }

  /** Does the listener speak TLS? */
  isSecure(listener = Object.keys(this.config.listeners)[0]) { return Boolean(this.config.listeners[listener].tls); }

  /** A raw client; over TLS when the listener is, with options of node's tls.connect() in `tls`; false: not. */
  async connect({ listener, index, from, tls = this.isSecure(listener) && {}, wire, ...more } = {}) {
    const where = { ...this.where(listener, index), localAddress: from, ...more };
    const client = await (tls ? RawClient.connectTls({ ...where, wire, tls: secured(tls) }) : RawClient.connect(where));
    this.clients.add(client);
    return client;
  }

  /** A new client is accepted and closed at once; its reset may even come before its connect is known. */
  async isTurnedAway(options) {
    const client = await this.connect(options).catch((err) => assert.equal(err.code, 'ECONNRESET'));
    await client?.isClosed();
  }

  /** One request on a connection of its own. */
  async request(target = '/', options = {}) {
    const client = await this.connect(options);
    try {
      return await client.request(target, options);
    } finally {
      client.destroy();
    }
  }

  /** The response head and what follows, as bytes, to anything that is sent. */
  async raw(bytes, options = {}) {
    const client = await this.connect(options);
    await client.write(bytes);
    return client;
  }

  async rawWebSocket(target = '/ws', options = {}) {
    return RawWebSocket.open(await this.connect(options), target, options);
  }

  /** An npm `ws` client; opened unless `wait` is false. */
  async websocket(target = '/ws', { listener, protocols = [], wait = true, from, ...options } = {}) {
    const at = this.where(listener);
    const isSecure = this.isSecure(listener);
    const url = at.path ? `ws+unix:${at.path}:${target}` : `${isSecure ? 'wss' : 'ws'}://${at.host.includes(':') ? `[${at.host}]` : at.host}:${at.port}${target}`;
    const client = new WsClient(url, protocols, { localAddress: from, maxPayload: 64 << 20, ...(isSecure ? secured(options) : options) });
    this.clients.add(client);
    return wait ? client.isOpened() : client;
  }

  url(target = '/', listener) {
    const { host, port } = this.where(listener);
    return `${this.isSecure(listener) ? 'https' : 'http'}://${host}:${port}${target}`;
  }

  /** An npm `eventsource` client with its events in .events. */
  eventSource(target = '/sse', { listener, ...init } = {}) {
    const { EventSource } = require('eventsource');
    const client = new Watched();
    client.events = [];
    client.opens = 0;
    client.errors = 0;
    client.source = new EventSource(this.url(target, listener), { fetch: fetchThatAborts, ...init });
    client.source.onmessage = (event) => { client.events.push(event.data); client.changed(); };
    client.source.onopen = () => { client.opens++; client.changed(); };
    client.source.onerror = (err) => { client.errors++; client.error = err; client.changed(); };
    client.receives = (data) => client.until(() => client.events.includes(data), () => `the event ${data}; has ${client.events}`);
    client.destroy = () => client.source.close();
    this.clients.add(client);
    return client;
  }

  logs(match) { return this.limpet.logs(match); }
  says(pattern, from) { return this.limpet.says(pattern, from); }

  /** SIGHUP with a changed configuration (a function that edits it, or a text); gives the answer. */
  async reload(change) {
    const from = this.limpet.stderr.length;
    if (typeof change === 'string') {
      this.write(change);
    } else {
      await change?.(this.config);
      this.write();
    }
    this.limpet.signal('SIGHUP');
    const line = await this.limpet.says(new RegExp(`${RELOADED.source}|${REFUSED.source}`), from);
    const match = RELOADED.exec(line);
    const snapshots = /(\d+) snapshots? live/.exec(line);
    return { isDone: Boolean(match), line, generation: match ? Number(match[2]) : undefined, snapshots: snapshots ? Number(snapshots[1]) : undefined, said: () => this.limpet.stderr.slice(from).join('\n') };
  }

  terminate() {
    this.assertNoKernelWorkers();
    this.terminated = Date.now();
    this.limpet.signal('SIGTERM');
  }

  async exitsWith(code) {
    const ended = await this.limpet.exits();
    assert.equal(ended.code, code, `exit status (${JSON.stringify(ended)}):\n${this.limpet.complaint()}`);
  }

  async refusesNewClients(listener) {
    await eventually(() => RawClient.connect(this.where(listener)).then((client) => { client.destroy(); return false; }, () => true), 'new clients to be refused');
  }

  async servesNewClients(listener) {
    await eventually(() => RawClient.connect(this.where(listener)).then((client) => { client.destroy(); return true; }, () => false), 'new clients to be accepted');
  }

  /** The servers of each key, in rank order: `limpet where`. */
  async ranks(pool, keys, { kind = 'text' } = {}) {
    const result = await runLimpet(['where', '-c', this.file, '--kind', kind, pool, ...keys]);
    assert.equal(result.code, 0, result.stderr);
    const rows = result.stdout.split('\n').map((line) => line.split('\t')).filter(([key]) => keys.includes(key));
    return new Map(rows.map(([key, ...names]) => [key, names]));
  }

  async home(pool, key, options) { return (await this.ranks(pool, [key], options)).get(key)[0]; }

  assertNoKernelWorkers() {
    assert.deepEqual(this.limpet.kernelWorkers(), [], 'io_uring used kernel workers');
  }

  /** After every test: clients gone, limpet ended by itself with nothing left, servers stopped. */
  async stop(t) {
    try {
      if (this.limpet && !this.limpet.ended) this.assertNoKernelWorkers();
      for (const client of this.clients) client.destroy();
      if (this.limpet) await this.#end();
      for (const origin of this.ownServers ?? []) {
        if (!origin.options.mayFault) assert.deepEqual(origin.faults.map(String), [], `${origin.name} was sent what no server should be`);
      }
    } finally {
      if (this.limpet && !this.limpet.ended) this.limpet.signal('SIGKILL');
      await Promise.all((this.ownServers ?? []).map((origin) => origin.stop()));
      for (const origin of this.ownServers ?? []) if (origin.port) releasePort(origin.port);
      this.ports.forEach(releasePort);
      if (process.env.LIMPET_E2E_KEEP) t.diagnostic?.(`kept ${this.folder}`);
      else fs.rmSync(this.folder, { recursive: true, force: true });
    }
  }

  async #end() {
    if (!this.limpet.ended) {
      this.limpet.signal('SIGTERM');
      // A test with a long drain is over now: a second signal, more than 1 s later, ends it.
      const hurry = setTimeout(() => this.limpet.signal('SIGTERM'), 3500);
      await this.limpet.exits().finally(() => clearTimeout(hurry));
    }
    this.limpet.assertClean();
  }
}

module.exports = { Lab, END, assert, eventually, atLeastOnce, Watched };
