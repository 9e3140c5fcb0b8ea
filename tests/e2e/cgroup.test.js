'use strict';
// limpet in a control group that is smaller than the machine. Where groups cannot be made, the
// made-up ones of tests/unit/test_cgroup.c must do.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { Lab, END, assert, eventually } = require('./lab');

const MiB = 1 << 20;
const isVersion1 = fs.existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes');
let made = 0;

/** A group with another one in it, both gone after the test; undefined where none can be made. */
function makeGroups(t, controller, files) {
  const top = path.join('/sys/fs/cgroup', isVersion1 ? controller : '');
  const outer = path.join(top, `limpet-test-${process.pid}-${made++}`);
  const inner = path.join(outer, 'inner');
  const remove = () => [inner, outer].filter((one) => fs.existsSync(one)).forEach((one) => fs.rmdirSync(one));
  try {
    fs.mkdirSync(outer);
    for (const [name, value] of Object.entries(files)) fs.writeFileSync(path.join(outer, name), value);
    fs.mkdirSync(inner);
  } catch (err) {
    remove();
    t.skip(`no control group can be made here: ${err.message}`);
    return undefined;
  }
  // After the lab's end: its limpet must be gone.
  const isEmpty = () => !fs.existsSync(inner) || fs.readFileSync(path.join(inner, 'cgroup.procs'), 'utf8') === '';
  return { outer, remove: () => eventually(isEmpty, 'the group to be empty').then(remove), wrapper: ['sh', '-c', `echo $$ >${inner}/cgroup.procs && exec "$@"`, 'sh'] };
}

describe('control groups', () => {
  test("a parent's quota of time counts for the number of workers", async (t) => {
    const groups = makeGroups(t, 'cpu', isVersion1 ? { 'cpu.cfs_quota_us': '50000' } : { 'cpu.max': '50000 100000' });
    if (!groups) return;
    const lab = await Lab.start(t, { workers: 'auto', wrapper: groups.wrapper });
    t.after(groups.remove);
    assert.match(await lab.says(/ready/), /1 worker on/);
  });

  test("a parent's limit of memory counts for clients that do not read", async (t) => {
    const files = isVersion1 ? ['memory.limit_in_bytes', 'memory.usage_in_bytes'] : ['memory.max', 'memory.current'];
    const groups = makeGroups(t, 'memory', isVersion1 ? {} : { [files[0]]: 'max' });
    if (!groups) return;
    const large = Buffer.alloc(16 * MiB, 'x');
    const lab = await Lab.start(t, { wrapper: groups.wrapper, listeners: { web: { bind: 'unix:FOLDER/web.sock' } }, servers: { s1: { handle: async (request, answer) => { answer.respond(200, {}, large); await answer.isGone; } } } });
    t.after(groups.remove);
    const used = Number(fs.readFileSync(path.join(groups.outer, files[1]), 'utf8'));
    fs.writeFileSync(path.join(groups.outer, files[0]), String(used + 64 * MiB));
    assert.ok((await lab.reload()).isDone); // the limit is looked up again
    const wasEnded = () => lab.limpet.ended || lab.limpet.log.some((line) => line.end === END.slowPeer);
    for (let i = 0; i < 600 && !wasEnded(); i++) {
      const client = await lab.connect();
      client.pause();
      await client.send('/large');
    }
    await lab.logs({ end: END.slowPeer });
    assert.equal((await lab.request('/', { method: 'HEAD' })).status, 200);
  });
});
