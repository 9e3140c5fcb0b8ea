'use strict';
// Logs that nobody reads, that are full, or that are not there: nobody who is served ever waits for
// them, no line is cut, and what is dropped is counted and told.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Lab, assert, eventually } = require('./lab');

/** Both logs in one pipe, that of standard error; as a service manager or `2>&1 | reader` has it. */
const TOGETHER = { wrapper: ['sh', '-c', 'exec "$@" >&2', 'sh'] };
const LONG = 'x'.repeat(1000);
/** Answers /bad with what is no response: 502, and a line in the error log. */
const RUDE = { s1: { handle: async (request, answer) => {
  if (!request.path.startsWith('/bad')) return false;
  await answer.write('nonsense\r\n\r\n');
  return true;
} } };

/** How many lines the notices of a log have counted. */
const counted = (lines, pattern) => lines.map((line) => Number(pattern.exec(line)?.[1] ?? 0)).reduce((a, b) => a + b, 0);
const accessDropped = (lines) => counted(lines, /warning: (\d+) access log lines were dropped/);
const isWhole = (line) => (line.startsWith('{') ? Boolean(JSON.parse(line)) : /^(limpet|debug): /.test(line));

/** A small file system of its own, which can be full and can grow. */
function smallDisk(t, size) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-disk-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  t.after(() => {
    execFileSync('umount', ['-l', folder]); // limpet may still have its log open
    fs.rmdirSync(folder);
  });
  return { folder, grow: (to) => execFileSync('mount', ['-o', `remount,size=${to}`, folder]) };
}

const linesOf = (file) => fs.readFileSync(file, 'utf8').split('\n').slice(0, -1);

describe('logs that nobody reads', { concurrency: 2 }, () => {
  test('both in one pipe: everybody is served, every line is whole or counted', async (t) => {
    const lab = await Lab.start(t, { ...TOGETHER, workers: 1, servers: RUDE });
    const lines = lab.limpet.stderr;
    const total = 1500;
    lab.limpet.child.stderr.pause();
    for (let i = 0; i < total; i++) assert.equal((await lab.request(`/bad/${LONG}`)).status, 502);
    assert.equal((await lab.request('/good')).status, 200);
    lab.limpet.child.stderr.resume();
    const has = () => ({
      access: lines.filter((line) => line.startsWith('{')).length + accessDropped(lines),
      error: lines.filter((line) => /bad response/.test(line)).length + counted(lines, /warning: (\d+) lines? (?:was|were) dropped here/),
    });
    await lab.limpet.until(() => has().access === total + 1 && has().error >= total, () => `all ${total} lines: ${JSON.stringify(has())}`);
    assert.ok(accessDropped(lines) > 0, 'some lines were dropped');
    assert.ok(lines.every(isWhole), lines.find((line) => !isWhole(line)));
  });

  test('the end does not wait for readers that sleep', async (t) => {
    const lab = await Lab.start(t, { workers: 1, servers: RUDE });
    for (const stream of [lab.limpet.child.stdout, lab.limpet.child.stderr]) stream.pause();
    for (let i = 0; i < 1500; i++) await lab.request(`/bad/${LONG}`);
    lab.terminate();
    await eventually(() => !fs.existsSync(`/proc/${lab.limpet.pid}/task/${lab.limpet.pid}/fd/0`), 'limpet to end unread');
    for (const stream of [lab.limpet.child.stdout, lab.limpet.child.stderr]) stream.resume();
    await lab.limpet.exits();
    assert.ok(lab.limpet.stdout.every(isWhole) && lab.limpet.stderr.every(isWhole));
    lab.limpet = undefined; // its last line, which says that nothing was left, found no reader either
  });

  test('a reload takes the log to a place where it is read', async (t) => {
    const lab = await Lab.start(t, { workers: 1 });
    lab.limpet.child.stdout.pause();
    for (let i = 0; i < 1500; i++) await lab.request(`/unread/${LONG}`);
    const file = path.join(lab.folder, 'access.log');
    assert.ok((await lab.reload((config) => { config.log = { access: { to: file } }; })).isDone);
    await lab.request('/read');
    await eventually(() => linesOf(file).some((line) => JSON.parse(line).path === '/read'), 'the line in the file');
    lab.limpet.child.stdout.resume();
  });
});

describe('logs that cannot be written', { concurrency: 2 }, () => {
  test('a full disk breaks no record, and what it drops is counted', async (t) => {
    const disk = smallDisk(t, '64k');
    const file = path.join(disk.folder, 'access.log');
    const lab = await Lab.start(t, { workers: 1, log: { access: { to: file } } });
    const said = (pattern) => lab.limpet.stderr.filter((line) => pattern.test(line)).length;
    const total = 1500;
    const begun = Date.now();
    for (let i = 0; i < total; i++) assert.equal((await lab.request(`/${i}/${LONG}`)).status, 200);
    await lab.says(/error: the access log cannot be written: No space left on device/);
    lab.limpet.signal('SIGUSR1'); // opening it again does not help, and does no harm
    await lab.request('/still-full');
    disk.grow('20m');
    await lab.says(/the access log can be written again/);
    await lab.request('/last');
    await eventually(() => linesOf(file).some((line) => line.includes('/last')), 'the log to go on');
    await lab.limpet.until(() => linesOf(file).length + accessDropped(lab.limpet.stderr) === total + 2, () => `${total + 2} lines: ${linesOf(file).length}, ${accessDropped(lab.limpet.stderr)} dropped`);
    assert.ok(accessDropped(lab.limpet.stderr) > 0, 'some lines were dropped');
    assert.ok(linesOf(file).every(isWhole));
    assert.equal(said(/cannot be written/), 1);
    assert.ok(said(/access log lines were dropped/) <= 2 + (Date.now() - begun) / 1000, lab.limpet.complaint());
  });

  for (const [how, again] of [['a reload', (lab) => lab.reload()], ['SIGUSR1', (lab) => lab.limpet.signal('SIGUSR1')]]) {
    test(`${how} after rotation writes what the full log had no room for`, async (t) => {
      const disk = smallDisk(t, '16k');
      const file = path.join(disk.folder, 'access.log');
      const lab = await Lab.start(t, { workers: 1, log: { access: { to: file } } });
      for (let i = 0; i < 40; i++) await lab.request(`/${i}/${LONG}`);
      await lab.says(/the access log cannot be written/);
      const kept = path.join(disk.folder, 'kept.log');
      fs.renameSync(file, kept);
      disk.grow('1m');
      await again(lab);
      await eventually(() => fs.existsSync(file) && linesOf(file).length > 0, 'the new file');
      await lab.request('/last');
      await eventually(() => linesOf(file).some((line) => line.includes('/last')), 'the log to go on');
      assert.ok(linesOf(file).every(isWhole));
      const paths = [...linesOf(kept), ...linesOf(file)].map((line) => Number(JSON.parse(line).path.split('/')[1]));
      assert.deepEqual(paths.slice(0, 40), Array.from({ length: 40 }, (_, i) => i)); // none is lost, none comes twice
    });
  }

  test('standard output and standard error may be closed', async (t) => {
    // What limpet opens first must not become its log. It says nothing then, so its port is asked.
    const lab = await Lab.start(t);
    lab.terminate();
    await lab.exitsWith(0);
    lab.spawn({ wrapper: ['sh', '-c', '"$@" >&- 2>&- & echo $! >pid; wait $!; echo $? >status', 'sh'] });
    await lab.servesNewClients();
    const read = (name) => Number(fs.readFileSync(path.join(lab.folder, name), 'utf8'));
    const pid = read('pid');
    t.after(() => { try { process.kill(pid, 'SIGKILL'); } catch { /* it has ended, as it should */ } });
    for (let i = 0; i < 20; i++) assert.equal((await lab.request('/')).status, 200);
    for (const fd of [1, 2]) assert.equal(fs.readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null');
    process.kill(pid, 'SIGTERM');
    await lab.limpet.exits();
    assert.equal(read('status'), 0);
    lab.limpet = undefined; // nobody hears its last line
  });
});
