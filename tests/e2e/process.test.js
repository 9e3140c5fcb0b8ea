'use strict';
// The process among others: signals at any time, files that nobody finishes, children of strangers.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { constants } = require('node:os');
const { execFileSync, spawnSync } = require('node:child_process');
const { Lab, assert, eventually } = require('./lab');
const { Limpet, runLimpet } = require('./limpet');
const { toYaml } = require('./yaml');
const pki = require('./pki');

const STOPS = ['SIGTERM', 'SIGINT', 'SIGQUIT'];
const HARMLESS = ['SIGUSR2', 'SIGALRM', 'SIGWINCH', 'SIGVTALRM', 'SIGPROF', 'SIGIO', 'SIGSTKFLT', 'SIGPWR', 'SIGXCPU'];
const SILENT = ['SIGPIPE', 'SIGXFSZ', 'SIGTTOU', 'SIGTTIN', 'SIGCHLD', 'SIGURG', 'SIGCONT'];
const RTMIN = 34;

function scratch(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-e2e-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function fifo(file) {
  fs.rmSync(file, { force: true });
  execFileSync('mkfifo', [file]);
}

/** The writer of a pipe; resolves when somebody is there to read it. */
function writer(file) {
  return new Promise((resolve, reject) => {
    fs.open(file, 'w', (err, fd) => (err ? reject(err) : resolve({
      write: (text) => fs.writeSync(fd, text),
      close: () => fs.closeSync(fd),
    })));
  });
}

/** A lab that is not started: its file, and a limpet that reads from a pipe in its place. */
async function reading(t) {
  const lab = await Lab.start(t);
  const text = fs.readFileSync(lab.file, 'utf8');
  lab.terminate();
  await lab.exitsWith(0);
  fifo(lab.file);
  lab.spawn();
  return { lab, text };
}

const blocked = (pid, task = pid) => BigInt(`0x${/SigBlk:\s+([0-9a-f]+)/.exec(fs.readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'))[1]}`);
const holds = (pid, name) => ((blocked(pid) >> BigInt(constants.signals[name] - 1)) & 1n) === 1n;

describe('signals', { concurrency: 4 }, () => {
  test('those that come while a file is read are done when the start is over', async (t) => {
    const { lab, text } = await reading(t);
    const pipe = await writer(lab.file);
    for (let i = 0; i < 3; i++) for (const name of ['SIGUSR1', 'SIGHUP', 'SIGUSR2', 'SIGWINCH']) lab.limpet.signal(name);
    fs.renameSync(lab.file, `${lab.file}.pipe`);
    lab.write(text);
    pipe.write(text);
    pipe.close();
    await lab.isReady();
    // On a busy machine it may have begun anew instead: the pipe is one that hangs then.
    if (!lab.limpet.stderr.some((line) => /hangs in reading/.test(line))) await lab.says(/reload 1 -> 2: /);
    await lab.says(/SIGUSR2 does nothing here: use SIGHUP to reload/);
    assert.equal((await lab.request('/')).status, 200);
  });

  test('a reload during the first checks waits until clients are accepted', async (t) => {
    const lab = await Lab.start(t);
    const port = await lab.newPort();
    lab.terminate();
    await lab.exitsWith(0);
    lab.limpet.assertClean();
    const net = require('node:net');
    const silent = net.createServer().listen({ port, host: '127.0.0.1' }); // accepts, and says nothing
    t.after(() => silent.close());
    const sockets = [];
    silent.on('connection', (socket) => sockets.push(socket));
    lab.config.pools.app.check = { type: 'http', timeout: '2s', interval: '3s' };
    lab.config.pools.app.servers.silent = `127.0.0.1:${port}`;
    lab.write();
    lab.spawn();
    await eventually(() => sockets.length > 0, 'the check of the silent server');
    lab.limpet.signal('SIGHUP');
    await lab.says(/reload 1 -> 2: /);
    const said = lab.limpet.stderr;
    assert.ok(said.findIndex((line) => /ready: /.test(line)) >= 0, said.join('\n'));
    assert.ok(said.findIndex((line) => /ready: /.test(line)) < said.findIndex((line) => /reload 1 -> 2/.test(line)), said.join('\n'));
    sockets.forEach((socket) => socket.destroy());
  });

  for (const name of STOPS) {
    test(`${name} ends a start that waits for a file, with status 0`, async (t) => {
      const { lab } = await reading(t);
      const alone = lab.limpet; // nobody will ever write
      await eventually(() => holds(alone.pid, name), `${name} to be held`);
      alone.signal(name);
      assert.deepEqual(await alone.exits(), { code: 0, signal: null });
      lab.spawn();
      const pipe = await writer(lab.file);
      pipe.write('listeners:\n');
      lab.limpet.signal(name);
      assert.deepEqual(await lab.limpet.exits(), { code: 0, signal: null });
      pipe.close();
      lab.limpet = undefined;
    });

    test(`${name} drains`, async (t) => {
      const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '2s' } });
      const client = await lab.websocket();
      lab.limpet.signal(name);
      await client.isClosedWith(1001);
      await lab.exitsWith(0);
    });
  }

  test('an unused one is one line and harms nobody', async (t) => {
    const lab = await Lab.start(t);
    const client = await lab.websocket();
    for (const name of HARMLESS) {
      const from = lab.limpet.stderr.length;
      process.kill(lab.limpet.pid, constants.signals[name]);
      await lab.says(new RegExp(`${name === 'SIGIO' ? 'SIG(IO|POLL)' : name} does nothing here: use SIGHUP to reload`), from);
      assert.equal(lab.limpet.stderr.length, from + 1);
    }
    for (const number of [RTMIN, RTMIN + 3, 64]) {
      process.kill(lab.limpet.pid, number);
      await lab.says(new RegExp(`SIGRTMIN\\+${number - RTMIN} does nothing here`));
    }
    const from = lab.limpet.stderr.length;
    for (const name of SILENT) process.kill(lab.limpet.pid, constants.signals[name]);
    await client.echoes('still here');
    process.kill(lab.limpet.pid, constants.signals.SIGUSR2);
    await lab.says(/SIGUSR2/, from);
    assert.equal(lab.limpet.stderr.length, from + 1, lab.limpet.complaint());
  });

  test('no thread but the first takes one', async (t) => {
    const lab = await Lab.start(t);
    const own = blocked(lab.limpet.pid);
    const tasks = fs.readdirSync(`/proc/${lab.limpet.pid}/task`);
    assert.ok(tasks.length >= 3, 'the control thread and two workers');
    for (const name of [...STOPS, ...HARMLESS, 'SIGHUP', 'SIGUSR1']) assert.ok(holds(lab.limpet.pid, name), name);
    for (const task of tasks) assert.equal(blocked(lab.limpet.pid, task) & own, own, `thread ${task}`);
  });

  test('Ctrl-C ends check and where at once, whatever they wait for', async (t) => {
    const file = path.join(scratch(t), 'pipe.yaml');
    fifo(file);
    for (const args of [['check', '-c', file], ['where', '-c', file, 'app', 'key']]) {
      const limpet = new Limpet(args);
      const pipe = await writer(file);
      limpet.signal('SIGINT');
      assert.deepEqual(await limpet.exits(), { code: null, signal: 'SIGINT' });
      pipe.close();
    }
  });
});

describe('a file that nobody finishes', { concurrency: 4 }, () => {
  test('holds up neither clients nor the next reload, and what it says later is thrown away', async (t) => {
    const lab = await Lab.start(t);
    const text = fs.readFileSync(lab.file, 'utf8');
    const pipe = `${lab.file}.pipe`;
    fifo(lab.file);
    lab.limpet.signal('SIGHUP');
    const late = await writer(lab.file);
    late.write(text.slice(0, 20));
    await lab.says(/hangs in reading .*limpet\.yaml or a file that it names; the next SIGHUP begins anew/);
    assert.equal((await lab.request('/')).status, 200);
    fs.renameSync(lab.file, pipe);
    const answer = await lab.reload((config) => { config.pools.app.retries = 1; });
    assert.equal(answer.generation, 2, answer.said());
    assert.match(answer.said(), /left behind, where it hangs \(1 of at most 8\)/);
    const from = lab.limpet.stderr.length;
    late.write(text.slice(20));
    late.close();
    assert.equal((await lab.reload((config) => { config.pools.app.retries = 2; })).generation, 3);
    assert.equal(lab.limpet.stderr.length, from + 1, lab.limpet.complaint());
  });

  test('holds up a start only until SIGHUP, which begins anew, or ends it', async (t) => {
    const { lab, text } = await reading(t);
    const late = await writer(lab.file);
    await lab.says(/hangs in reading .*limpet\.yaml or a file that it names; SIGHUP begins anew/);
    fs.renameSync(lab.file, `${lab.file}.pipe`);
    lab.write(text);
    lab.limpet.signal('SIGHUP');
    await lab.isReady();
    late.write('nonsense: 1\n');
    late.close();
    assert.equal((await lab.reload()).generation, 2);
    assert.doesNotMatch(lab.limpet.stderr.join('\n'), /nonsense/);
  });

  test('holds up no drain and no end', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '2s' } });
    const client = await lab.websocket();
    fifo(lab.file);
    lab.limpet.signal('SIGHUP');
    const pipe = await writer(lab.file);
    pipe.write('listeners:\n');
    await lab.says(/hangs in reading/);
    lab.terminate();
    await client.isClosedWith(1001);
    await lab.exitsWith(0);
    assert.doesNotMatch(lab.limpet.stderr.join('\n'), /Sanitizer/);
    pipe.close();
    lab.limpet = undefined; // it still had the pipe
  });

  test('hangs at most so often, then a reload is refused until one of them ends', async (t) => {
    const lab = await Lab.start(t);
    const text = fs.readFileSync(lab.file, 'utf8');
    const pipes = [];
    for (let i = 0; i <= 8; i++) {
      fifo(lab.file);
      lab.limpet.signal('SIGHUP');
      if (i > 0) await lab.says(new RegExp(`left behind, where it hangs \\(${i} of`));
      pipes.push(await writer(lab.file));
      await lab.limpet.until(() => lab.limpet.stderr.filter((line) => /hangs in reading/.test(line)).length > i, 'it to hang');
    }
    const from = lab.limpet.stderr.length;
    lab.limpet.signal('SIGHUP');
    await lab.says(/reload refused.*9 earlier ones hang in reading/, from);
    assert.equal((await lab.request('/')).status, 200);
    fs.renameSync(lab.file, `${lab.file}.pipe`);
    lab.write(text);
    pipes.forEach((pipe) => pipe.close());
    await eventually(async () => (await lab.reload()).isDone, 'a reload');
  });

  test('is said at once when it is one that the configuration names', async (t) => {
    const folder = scratch(t);
    const pipe = path.join(folder, 'pipe');
    fifo(pipe);
    const { site } = pki;
    const pool = (more) => ({ check: { type: 'off' }, servers: { a: '127.0.0.1:9' }, ...more });
    const config = (tls, more) => ({ listeners: { web: { bind: '127.0.0.1:1', pool: 'app', ...(tls && { tls }) } }, pools: { app: pool(more) } });
    const certificates = [{ cert: site.cert, key: site.key }];
    for (const bad of [
      config({ certificates: [{ cert: pipe, key: site.key }] }),
      config({ certificates: [{ cert: site.cert, key: pipe }] }),
      config({ certificates: [{ cert: site.cert, key: site.key, ocsp: pipe }] }),
      config({ certificates, client_ca: pipe }),
      config({ certificates, tickets: { secret_file: pipe } }),
      config(null, { tls: { ca: pipe } }),
      config(null, { hash: { secret_file: pipe } }),
    ]) {
      const file = path.join(folder, 'limpet.yaml');
      fs.writeFileSync(file, toYaml(bad));
      const { code, stderr } = await runLimpet(['check', '-c', file]);
      assert.equal(code, 1, stderr);
      assert.match(stderr, /pipe|not a regular file|no regular file/, stderr);
    }
  });

  test('is an error when it is the access log and nobody reads it', async (t) => {
    const lab = await Lab.start(t);
    const pipe = path.join(lab.folder, 'log');
    fifo(pipe);
    const answer = await lab.reload((config) => { config.log = { access: { to: pipe } }; });
    assert.match(answer.line, /refused.*the access log .*log cannot be opened: it is a pipe or socket that nobody reads/);
    assert.equal((await lab.request('/')).status, 200);
  });
});

describe('children', { concurrency: 4 }, () => {
  const childrenOf = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();

  test('the dead of a shell that executed limpet are reaped, and those who die later', async (t) => {
    // Waits with builtins only, so that the shell has no reason to look after its children itself.
    const shell = 'true & dead=$!; sleep 1 & while read -r line < /proc/$dead/stat; do case $line in *") Z "*) break;; esac; done; exec "$0" "$@"';
    const lab = await Lab.start(t, { wrapper: ['sh', '-c', shell] });
    const { pid } = lab.limpet;
    await eventually(() => childrenOf(pid) === '', 'no child to be left');
  });

  test('orphans are reaped when limpet is process 1', async (t) => {
    const alone = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'];
    if (spawnSync(alone[0], [...alone.slice(1), 'true']).status !== 0) {
      t.skip('no PID namespace for this user');
      return;
    }
    const lab = await Lab.start(t, { wrapper: alone });
    const [inner] = childrenOf(lab.limpet.pid).split(' ');
    for (let i = 0; i < 3; i++) execFileSync('nsenter', ['-t', inner, '-p', 'sh', '-c', 'sleep 0.1 & exit 0']);
    await eventually(() => childrenOf(inner) === '', 'no orphan to be left');
    process.kill(Number(inner), 'SIGTERM');
    await lab.exitsWith(0);
  });

  test('a server of the demonstration ends by SIGTERM and is reaped; the others end with limpet', async (t) => {
    const { takePort, releasePort } = require('./ports');
    const port = await takePort();
    t.after(() => releasePort(port));
    const demo = new Limpet(['demo', '--port', String(port)]);
    t.after(() => { if (!demo.ended) demo.signal('SIGKILL'); });
    await demo.says(/ready: /);
    const children = childrenOf(demo.pid).split(' ').map(Number);
    assert.equal(children.length, 3);
    process.kill(children[0], 'SIGTERM');
    await demo.says(/is down/);
    await eventually(() => !fs.existsSync(`/proc/${children[0]}`), 'it to be reaped');
    demo.signal('SIGQUIT');
    assert.equal((await demo.exits()).code, 0);
    for (const child of children) assert.ok(!fs.existsSync(`/proc/${child}`), `child ${child} is left`);
  });
});
