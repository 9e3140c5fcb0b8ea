'use strict';
// Socket.IO through two servers: long-polling sends every request on its own, so a session works
// only if each of them returns to the same server.

const { describe, test } = require('node:test');
const { io } = require('socket.io-client');
const { Lab, assert, Watched } = require('./lab');

const twoServers = {
  servers: { s1: { kind: 'socketio' }, s2: { kind: 'socketio' } },
  pools: { chat: { balance: 'hash', hash: { key: ['client_ip'] } } },
};

/** A socket.io client that says who it is by its address. */
function connect(t, lab, from, options = {}) {
  const client = new Watched();
  const localAddress = from;
  const http = require('node:http');
  client.socket = io(lab.url('/'), {
    transports: ['polling', 'websocket'], reconnection: false, forceNew: true,
    agent: new http.Agent({ keepAlive: true, localAddress }), localAddress, ...options,
  });
  for (const event of ['connect', 'connect_error', 'disconnect']) {
    client.socket.on(event, (what) => { client[event] = what ?? true; client.changed(); });
  }
  client.socket.on('name', (name) => { client.name = name; client.changed(); });
  client.isConnected = () => client.until(() => {
    if (client.connect_error) throw client.connect_error;
    return client.name;
  }, 'a socket.io connection');
  client.isUpgraded = () => client.until(() => client.transport === 'websocket', 'the upgrade');
  client.socket.io.on('open', () => {
    client.transport = client.socket.io.engine.transport.name;
    client.socket.io.engine.on('upgrade', (transport) => { client.transport = transport.name; client.changed(); });
  });
  client.asks = (text) => new Promise((resolve) => { client.socket.emit('say', text, resolve); });
  t.after(() => client.socket.disconnect());
  lab.clients.add({ destroy: () => client.socket.disconnect() });
  return client;
}

describe('socket.io', { concurrency: 4 }, () => {
  test('polling clients of many addresses keep their server and upgrade on it', async (t) => {
    const lab = await Lab.start(t, twoServers);
    const addresses = Array.from({ length: 12 }, (_, i) => `127.0.1.${i + 1}`);
    const ranks = await lab.ranks('chat', addresses, { kind: 'ip' });
    const clients = addresses.map((from) => connect(t, lab, from));
    for (const [i, client] of clients.entries()) {
      assert.equal(await client.isConnected(), ranks.get(addresses[i])[0]);
      await client.isUpgraded();
      assert.equal(await client.asks('hello'), `${client.name}: hello`);
    }
    assert.equal(new Set(clients.map((client) => client.name)).size, 2);
  });

  test('clients that only poll stay with their server for many messages', async (t) => {
    const lab = await Lab.start(t, twoServers);
    const clients = Array.from({ length: 4 }, (_, i) => connect(t, lab, `127.0.2.${i + 1}`, { transports: ['polling'] }));
    for (const client of clients) {
      const name = await client.isConnected();
      for (let n = 0; n < 10; n++) assert.equal(await client.asks(`message ${n}`), `${name}: message ${n}`);
    }
  });

  test('clients that only speak WebSocket work on any server', async (t) => {
    const lab = await Lab.start(t, { ...twoServers, pools: { chat: { balance: 'round_robin' } } });
    const clients = Array.from({ length: 4 }, (_, i) => connect(t, lab, `127.0.3.${i + 1}`, { transports: ['websocket'] }));
    for (const client of clients) {
      const name = await client.isConnected();
      assert.equal(await client.asks('x'), `${name}: x`);
    }
    assert.equal(new Set(clients.map((client) => client.name)).size, 2);
  });

  test('a server that closes is noticed and its client can come back', async (t) => {
    const lab = await Lab.start(t, twoServers);
    const client = connect(t, lab, '127.0.4.1');
    await client.isConnected();
    await client.isUpgraded();
    const other = client.name === 's1' ? 's2' : 's1';
    await lab.server(client.name).kill();
    await client.until(() => client.disconnect, 'the disconnect');
    const again = connect(t, lab, '127.0.4.1');
    assert.equal(await again.isConnected(), other);
  });
});
