'use strict';
// Starting, and refusing to start, in words that a person can act on.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Lab, assert } = require('./lab');
const { Limpet, runLimpet } = require('./limpet');

const MINIMAL = (bind) => `listeners:\n  web: {bind: "${bind}", pool: app}\npools:\n  app:\n    servers:\n      a: 127.0.0.1:9\n    check: {type: off}\n`;

function file(t, text) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-e2e-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const name = path.join(folder, 'limpet.yaml');
  fs.writeFileSync(name, text);
  return name;
}

async function freeBind(t) {
  const { takePort, releasePort } = require('./ports');
  const port = await takePort();
  t.after(() => releasePort(port));
  return `127.0.0.1:${port}`;
}

describe('start', { concurrency: 4 }, () => {
  test('a port that another program uses is an error that names it', async (t) => {
    const lab = await Lab.start(t);
    const taken = lab.server('s1').address;
    const result = await runLimpet(['-c', file(t, MINIMAL(taken))]);
    assert.equal(result.code, 1);
    assert.ok(result.stderr.includes(taken), result.stderr);
    assert.match(result.stderr, /in use/i);
  });

  test('a port that another limpet uses is an error, not a silent half', async (t) => {
    const lab = await Lab.start(t);
    const result = await runLimpet(['-c', lab.file]);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /in use/i);
    assert.equal((await lab.request('/')).status, 200);
  });

  test('an address that is not ours is an error that names it', async (t) => {
    const result = await runLimpet(['-c', file(t, MINIMAL('198.51.100.77:8080'))]);
    assert.equal(result.code, 1);
    assert.match(result.stderr, /198\.51\.100\.77:8080/);
  });

  test('io_uring that is blocked is explained', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-e2e-'));
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    const helper = path.join(folder, 'no_io_uring');
    execFileSync(process.env.CC || 'cc', ['-o', helper, path.join(__dirname, 'no_io_uring.c')]);
    const result = await runLimpet(['-c', file(t, MINIMAL(await freeBind(t)))], { wrapper: [helper] });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /io_uring is blocked/);
    assert.match(result.stderr, /seccomp/);
    assert.match(result.stderr, /io_uring_disabled/);
  });

  test('a descriptor limit that does not carry the connection limit is explained', async (t) => {
    const text = `limits: {connections: 1000}\n${MINIMAL(await freeBind(t))}`;
    const result = await runLimpet(['-c', file(t, text)], { wrapper: ['sh', '-c', 'ulimit -n 500 && exec "$0" "$@"'] });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /descriptor|RLIMIT_NOFILE|nofile/i);
    assert.match(result.stderr, /1000/);
    assert.match(result.stderr, /500/);
  });

  test('a small descriptor limit gives a small automatic connection limit', async (t) => {
    const lab = await Lab.start(t, { wrapper: ['sh', '-c', 'ulimit -n 200 && exec "$0" "$@"'] });
    const clients = [];
    for (let i = 0; i < 150; i++) clients.push(await lab.connect());
    const statuses = await Promise.all(clients.map((client) => client.request('/').then((response) => response.status, () => 'closed')));
    const count = (wanted) => statuses.filter((status) => status === wanted).length;
    assert.ok(count(200) >= 10, `served ${count(200)}`);
    assert.equal(count(200) + count(503) + count('closed'), 150);
    assert.ok(count(503) > 0, 'the reserve answers 503');
    for (const client of clients) client.destroy();
  });

  test('the soft descriptor limit is raised to the hard one', async (t) => {
    const lab = await Lab.start(t, { wrapper: ['sh', '-c', 'ulimit -S -n 64 && exec "$0" "$@"'] });
    const limits = fs.readFileSync(`/proc/${lab.limpet.pid}/limits`, 'utf8');
    const [, soft, hard] = /Max open files +(\d+) +(\d+)/.exec(limits);
    assert.equal(soft, hard);
  });

  test('a bad configuration is refused with place, reason and what is valid', async (t) => {
    const name = file(t, 'listeners:\n  web: {bind: "127.0.0.1:1", pool: ap}\npools:\n  app:\n    chek: {type: tcp}\n    servers:\n      a: 127.0.0.1:9\n    check: {intervall: 2s, timeout: 5}\n');
    const result = await runLimpet(['-c', name]);
    assert.equal(result.code, 1);
    const lines = result.stderr.split('\n');
    assert.ok(lines.some((line) => /limpet\.yaml:5:5: error: pools\.app\.chek: unknown key; did you mean "check"\?/.test(line)), result.stderr);
    assert.ok(lines.some((line) => /limpet\.yaml:8:13: error: pools\.app\.check\.intervall: unknown key; did you mean "interval"\?/.test(line)), result.stderr);
    assert.match(result.stderr, /valid here: .*interval/);
    assert.match(result.stderr, /\^~+/);
  });

  test('check says nothing bad about a good file and everything about a bad one', async (t) => {
    const good = await runLimpet(['check', '-c', file(t, MINIMAL('127.0.0.1:1'))]);
    assert.equal(good.code, 0, good.stderr);
    const bad = await runLimpet(['check', '-c', file(t, `${MINIMAL('127.0.0.1:1')}wat: 1\nlimits: {head: 12}\n`)]);
    assert.equal(bad.code, 1);
    assert.match(bad.stderr + bad.stdout, /wat/);
    assert.match(bad.stderr + bad.stdout, /limits\.head/);
  });

  test('a file that is not there is an error that names it', async () => {
    for (const args of [['-c', '/nonexistent/limpet.yaml'], ['check', '-c', '/nonexistent/limpet.yaml'], ['where', '-c', '/nonexistent/limpet.yaml', 'app', 'x']]) {
      const result = await runLimpet(args);
      assert.equal(result.code, 1, args.join(' '));
      assert.match(result.stderr, /\/nonexistent\/limpet\.yaml/);
    }
  });

  test('wrong usage is exit status 2', async () => {
    for (const args of [['--nonsense'], ['frobnicate'], ['run', '-x'], ['check', '--wat'], ['-c'], ['where']]) {
      const result = await runLimpet(args);
      assert.equal(result.code, 2, `${args.join(' ')}: ${result.stderr}`);
      assert.notEqual(result.stderr, '');
    }
  });

  test('--help is everywhere', async () => {
    for (const args of [['--help'], ['run', '--help'], ['check', '--help'], ['where', '--help'], ['demo', '--help']]) {
      const result = await runLimpet(args);
      assert.equal(result.code, 0, args.join(' '));
      assert.match(result.stdout, /limpet/);
    }
  });

  test('where reads keys from its input and refuses an unknown pool', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} } });
    const { binary } = require('./limpet');
    const out = execFileSync('sh', ['-c', 'printf "alice\\nbob\\n" | "$0" where -c "$1" --kind text app', binary, lab.file]).toString();
    const ranks = await lab.ranks('app', ['alice', 'bob']);
    for (const key of ['alice', 'bob']) assert.ok(out.includes(`${key}\t${ranks.get(key)[0]}`), out);
    assert.equal((await runLimpet(['where', '-c', lab.file, 'nopool', 'x'])).code, 1);
  });

  test('run is the default command', async (t) => {
    const lab = await Lab.start(t, { args: ['run'] });
    assert.equal((await lab.request('/')).status, 200);
  });

  test('SIGTERM right at the start ends it properly', async (t) => {
    const lab = await Lab.start(t, { drain: { delay: '0s', deadline: '1s' } });
    lab.terminate();
    await lab.exitsWith(0);
  });
});

describe('demo', () => {
  test('the demonstration answers HTTP, WebSocket and events from its three servers', async (t) => {
    const { RawClient, WsClient } = require('./client');
    const { takePort, releasePort } = require('./ports');
    const at = { host: '127.0.0.1', port: await takePort() };
    t.after(() => releasePort(at.port));
    const demo = new Limpet(['demo', '--port', String(at.port)]);
    t.after(() => { if (!demo.ended) demo.signal('SIGKILL'); });
    await demo.says(/ready: /);
    const page = await (await RawClient.connect(at)).request('/');
    assert.equal(page.status, 200);
    const ws = await new WsClient(`ws://127.0.0.1:${at.port}/ws`).isOpened();
    await ws.send('hello');
    assert.match(String(await ws.message()), /./);
    assert.match(demo.stderr.concat(demo.stdout).join('\n'), /listeners:/);
    ws.destroy();
    demo.signal('SIGTERM');
    const { code } = await demo.exits();
    assert.ok(code === 0 || code === 1);
  });
});
