'use strict';
// Addresses to listen on: limpet's own sockets are never in its way, those of strangers always are,
// and a reload that is refused was not there.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { execFileSync, spawnSync } = require('node:child_process');
const { Lab, assert, eventually } = require('./lab');
const { runLimpet } = require('./limpet');
const { toYaml } = require('./yaml');

const as = (kind, port) => [kind].flat().map((one) => one.replace('P', port));

/** The answer of a client of its own, "refused" where nobody listens. */
function visit(where) {
  return new Promise((resolve) => {
    const client = net.connect(where);
    let bytes = '';
    client.on('connect', () => client.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'));
    client.on('data', (piece) => { bytes += piece; });
    client.on('error', (err) => resolve(err.code === 'ECONNREFUSED' ? 'refused' : err.code));
    client.on('close', () => resolve(bytes.startsWith('HTTP/1.1 200') ? 'served' : 'lost'));
  });
}

function listening(options) {
  return new Promise((resolve, reject) => {
    const server = net.createServer().on('error', reject).listen(options, () => resolve(server));
  });
}

/** A connection from this machine: the kernel has given its own end a port. */
async function outgoing(t) {
  const server = await listening({ host: '127.0.0.1', port: 0 });
  server.on('connection', (socket) => socket.on('error', () => {})); // the reset
  const client = net.connect(server.address());
  t.after(() => { client.destroy(); server.close(); });
  await once(client, 'connect');
  return { port: client.localPort, end: () => client.resetAndDestroy() };
}

describe('addresses', { concurrency: 4 }, () => {
  const pairs = [
    ['127.0.0.1:P', '0.0.0.0:P', ['127.0.0.1']],
    ['127.0.0.1:P', '*:P', ['127.0.0.1']],
    [['[::1]:P', '127.0.0.1:P'], '*:P', ['127.0.0.1', '::1']],
    ['0.0.0.0:P', '*:P', ['127.0.0.1', '127.0.0.9']],
    ['[::]:P', '*:P', ['::1']],
    [['[::]:P', '0.0.0.0:P'], '*:P', ['127.0.0.1', '::1']],
    [['[::]:P', '127.0.0.1:P'], ['[::1]:P', '0.0.0.0:P'], ['127.0.0.1', '::1']],
  ];
  for (const [narrow, wide, hosts] of pairs) {
    test(`one reload makes ${wide} of ${narrow}, and back, and nobody is lost`, async (t) => {
      const port = await new Lab().newPort();
      const lab = await Lab.start(t, { listeners: { web: { bind: as(narrow, port) } } });
      const kept = await lab.websocket();
      for (const next of [wide, narrow, wide, narrow]) {
        const state = { isOver: false, answers: [] };
        const visitors = hosts.map(async (host) => {
          while (!state.isOver) state.answers.push(await visit({ host, port }));
        });
        await eventually(() => state.answers.length > 5, 'visitors');
        const answer = await lab.reload((config) => { config.listeners.web.bind = as(next, port); });
        const before = state.answers.length;
        await eventually(() => state.answers.length > before + 20, 'more visitors');
        state.isOver = true;
        await Promise.all(visitors);
        assert.ok(answer.isDone, answer.line);
        assert.deepEqual(state.answers.filter((one) => one !== 'served'), []);
      }
      await kept.echoes('untouched');
    });
  }

  test('several that overlap stand in one file, and the narrowest takes the client', async (t) => {
    const port = await new Lab().newPort();
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, pools: { one: ['s1'], all: ['s2'] }, listeners: {
      one: { bind: `127.0.0.1:${port}`, pool: 'one' }, all: { bind: `0.0.0.0:${port}`, pool: 'all' } } });
    assert.equal((await lab.request('/', { listener: 'one' })).server, 's1');
    assert.equal((await lab.request('/', { listener: 'all', host: '127.0.0.9' })).server, 's2');
    await lab.restart();
    const answer = await lab.reload((config) => { delete config.listeners.one; });
    assert.ok(answer.isDone, answer.line);
    assert.equal((await lab.request('/', { listener: 'all', host: '127.0.0.1' })).server, 's2');
  });

  test('a stranger that overlaps is an error, at a start and at a reload', async (t) => {
    const lab = await Lab.start(t);
    const { port } = lab.where();
    const stranger = await listening({ host: '127.0.0.9', port, exclusive: true });
    t.after(() => stranger.close());
    for (const bind of [`0.0.0.0:${port}`, `*:${port}`, [`127.0.0.1:${port}`, `127.0.0.9:${port}`]]) {
      const answer = await lab.reload((config) => { config.listeners.web.bind = bind; });
      assert.match(answer.line, /refused.* is in use: another program, or another limpet/);
      assert.equal(await visit({ host: '127.0.0.1', port }), 'served');
      assert.equal(await visit({ host: '127.0.0.8', port }), 'refused');
    }
    stranger.close();
    assert.ok((await lab.reload((config) => { config.listeners.web.bind = `0.0.0.0:${port}`; })).isDone);
    assert.equal(await visit({ host: '127.0.0.8', port }), 'served');
  });

  test('another limpet that overlaps is a stranger, too', async (t) => {
    const lab = await Lab.start(t);
    const { port } = lab.where();
    const other = await Lab.start(t, { listeners: { web: { bind: `127.0.0.9:${port}` } } });
    for (const bind of [`0.0.0.0:${port}`, `*:${port}`]) {
      const answer = await lab.reload((config) => { config.listeners.web.bind = bind; });
      assert.match(answer.line, /refused.* is in use: another program, or another limpet/);
    }
    const third = await other.reload((config) => { config.listeners.web.bind = `127.0.0.1:${port}`; });
    assert.match(third.line, /refused.*in use/);
    const text = fs.readFileSync(lab.file, 'utf8').replace(/"?\*:\d+"?/, `"0.0.0.0:${port}"`);
    const file = path.join(lab.folder, 'second.yaml');
    fs.writeFileSync(file, text);
    const second = await runLimpet(['-c', file]);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /in use/);
  });

  test('a port that a connection has in passing is tried again; clients and signals go on meanwhile', async (t) => {
    /** False when the port has other users: a connection elsewhere on this machine, or its TIME_WAIT. */
    async function passes(host) {
      const lab = await Lab.start(t);
      const { port, end } = await outgoing(t);
      const from = lab.limpet.stderr.length;
      lab.config.listeners.more = { bind: `${host}:${port}`, pool: 'app' };
      lab.write();
      lab.limpet.signal('SIGHUP');
      lab.limpet.signal('SIGUSR2');
      await lab.says(/SIGUSR2/, from);
      assert.equal((await lab.request('/')).status, 200);
      assert.doesNotMatch(lab.limpet.stderr.slice(from).join('\n'), /reload 1 -> 2/, 'it waits');
      end();
      if (/refused/.test(await lab.says(/reload 1 -> 2: |reload refused/, from))) return false;
      assert.equal(await visit({ host: '127.0.0.1', port }), 'served');
      return true;
    }
    for (const host of ['127.0.0.1', '0.0.0.0', '*']) {
      let tries = 0;
      while (!await passes(host)) assert.ok(++tries < 10, 'a port without other users');
    }
  });

  test('a port that a connection keeps is refused with the way out, unless another SIGHUP comes first', async (t) => {
    const lab = await Lab.start(t);
    const { port } = await outgoing(t);
    const answer = await lab.reload((config) => { config.listeners.more = { bind: `127.0.0.1:${port}`, pool: 'app' }; });
    assert.match(answer.line, /refused.*nobody listens there.*ip_local_port_range.*ip_local_reserved_ports/);
    const from = lab.limpet.stderr.length;
    lab.limpet.signal('SIGHUP'); // it waits, as the one before
    delete lab.config.listeners.more;
    fs.writeFileSync(`${lab.file}.new`, toYaml(lab.config));
    fs.renameSync(`${lab.file}.new`, lab.file); // whole, whoever reads it
    lab.limpet.signal('SIGHUP');
    await lab.says(/reload 1 -> 2: /, from);
    assert.doesNotMatch(lab.limpet.stderr.slice(from).join('\n'), /refused/);
  });

  test('a removed Unix socket refuses whoever has found its file already', async (t) => {
    const lab = await Lab.start(t, { listeners: { web: {}, local: { bind: 'unix:FOLDER/local.sock' } } });
    const file = lab.where('local').path;
    fs.linkSync(file, `${file}.found`);
    assert.equal(await visit({ path: `${file}.found` }), 'served');
    await lab.reload((config) => { delete config.listeners.local; });
    assert.equal(fs.existsSync(file), false);
    assert.equal(await visit({ path: `${file}.found` }), 'refused');
  });
});

describe('a reload that is refused', { concurrency: 4 }, () => {
  test('has not listened for a moment, nor left a file, nor changed a limit or the log', async (t) => {
    const lab = await Lab.start(t, { log: { level: 'info', access: { to: 'stdout', format: 'json' } } });
    const port = await lab.newPort();
    const stale = path.join(lab.folder, 'stale.sock');
    const fresh = path.join(lab.folder, 'fresh.sock');
    spawnSync(process.execPath, ['-e', 'require("net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))', stale]);
    const { ino } = fs.statSync(stale);
    const seen = [];
    const watcher = fs.watch(lab.folder, (_, name) => { if (/sock$/.test(name)) seen.push(name); });
    t.after(() => watcher.close());
    const state = { isOver: false, answers: [] };
    const visitors = [1, 2].map(async () => {
      while (!state.isOver) state.answers.push(await visit({ host: '127.0.0.1', port }));
    });
    const refusals = [
      (config) => { config.log.access = { to: `${lab.folder}/no/such/folder` }; },
      (config) => { config.limits = { connections: 100000000 }; },
      (config) => { config.workers = 3; },
      (config) => { config.listeners.far = { bind: '198.51.100.77:80', pool: 'app' }; },
      (config) => { config.listeners.far = { bind: `unix:${lab.folder}/no/such.sock`, pool: 'app' }; },
      (config) => { config.listeners.far = { bind: `unix:${lab.file}`, pool: 'app' }; },
      (config) => { config.listeners.far = { bind: lab.server('s1').address, pool: 'app' }; },
    ];
    const good = JSON.stringify(lab.config);
    for (let round = 0; round < 3; round++)
      for (const refusal of refusals) {
        const answer = await lab.reload((config) => {
          config.log.level = 'error';
          config.listeners.more = { bind: [`127.0.0.1:${port}`, `unix:${stale}`, `unix:${fresh}`], pool: 'app' };
          refusal(config);
        });
        assert.equal(answer.isDone, false, answer.line);
        lab.config = JSON.parse(good);
      }
    state.isOver = true;
    await Promise.all(visitors);
    assert.deepEqual(state.answers.filter((one) => one !== 'refused'), []);
    assert.ok(state.answers.length > refusals.length);
    assert.equal(fs.statSync(stale).ino, ino, 'the stale file is the same');
    assert.deepEqual(seen, []);
    assert.ok(fs.statSync(lab.file).isFile());
    assert.equal((await lab.request('/')).status, 200);
    await lab.logs({ event: 'request', status: 200 });
    const answer = await lab.reload((config) => { config.listeners.more = { bind: [`127.0.0.1:${port}`, `unix:${stale}`, `unix:${fresh}`], pool: 'app' }; });
    assert.equal(answer.generation, 2, 'the level is still info');
    for (const where of [{ host: '127.0.0.1', port }, { path: stale }, { path: fresh }]) assert.equal(await visit(where), 'served');
  });

  test('leaves a start without a trace, too', async (t) => {
    const lab = await Lab.start(t);
    const file = path.join(lab.folder, 'second.yaml');
    const local = path.join(lab.folder, 'second.sock');
    fs.writeFileSync(file, `log: {access: {to: "${lab.folder}/no/such/log"}}\nlisteners: {web: {bind: "unix:${local}", pool: app}}\npools: {app: {check: {type: off}, servers: {a: "127.0.0.1:9"}}}\n`);
    const second = await runLimpet(['-c', file]);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /no\/such\/log/);
    assert.equal(fs.existsSync(local), false);
  });
});

describe('without an address family', { concurrency: 4 }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-e2e-'));
  const helper = path.join(folder, 'no_family');
  execFileSync(process.env.CC || 'cc', ['-o', helper, path.join(__dirname, 'no_family.c')]);
  process.on('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const AF_INET6 = '10';
  const AF_NETLINK = '16';

  test('the kernel may not be asked who listens: own sockets are still none of strangers', async (t) => {
    const lab = await Lab.start(t, { wrapper: [helper, AF_NETLINK] });
    const { port } = lab.where();
    const stranger = await listening({ host: '127.0.0.9', port: await lab.newPort(), exclusive: true });
    t.after(() => stranger.close());
    const answer = await lab.reload((config) => { config.listeners.more = { bind: `0.0.0.0:${stranger.address().port}`, pool: 'app' }; });
    assert.match(answer.line, /refused.* is in use/);
    delete lab.config.listeners.more;
    assert.ok((await lab.reload((config) => { config.listeners.web.bind = `*:${port}`; })).isDone);
    assert.ok((await lab.reload((config) => { config.listeners.web.bind = `127.0.0.1:${port}`; })).isDone);
    assert.equal(await visit({ host: '127.0.0.1', port }), 'served');
  });

  test('no IPv6: "*" is served by IPv4, which is said once, and a reload keeps its socket', async (t) => {
    const lab = await Lab.start(t, { wrapper: [helper, AF_INET6], listeners: { web: { bind: '*:PORT' } } });
    const { port } = lab.where();
    await lab.says(new RegExp(`"\\*:${port}" is 0\\.0\\.0\\.0:${port}: this kernel has no IPv6`));
    await lab.says(new RegExp(`ready: .* on 0\\.0\\.0\\.0:${port}`));
    assert.equal(await visit({ host: '127.0.0.9', port }), 'served');
    const sockets = () => fs.readdirSync(`/proc/${lab.limpet.pid}/fd`).map((fd) => {
      try {
        return fs.readlinkSync(`/proc/${lab.limpet.pid}/fd/${fd}`);
      } catch {
        return ''; // closed meanwhile
      }
    }).filter((name) => name.startsWith('socket:')).sort();
    const before = sockets();
    assert.ok((await lab.reload()).isDone);
    assert.deepEqual(sockets(), before);
    assert.equal(lab.limpet.stderr.filter((line) => /no IPv6/.test(line)).length, 1);
    assert.ok((await lab.reload((config) => { config.listeners.web.bind = `127.0.0.1:${port}`; })).isDone);
    assert.ok((await lab.reload((config) => { config.listeners.web.bind = `*:${port}`; })).isDone);
    assert.equal(await visit({ host: '127.0.0.9', port }), 'served');
  });

  test('no IPv6: that is named where an IPv6 address is written', async (t) => {
    const lab = await Lab.start(t, { wrapper: [helper, AF_INET6] });
    const port = await lab.newPort();
    const answer = await lab.reload((config) => { config.listeners.more = { bind: `[::]:${port}`, pool: 'app' }; });
    assert.match(answer.line, /refused.*\[::\]:\d+ cannot be listened on: this kernel has no IPv6; bind "\*:PORT"/);
  });
});
