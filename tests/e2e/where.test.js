'use strict';
// `limpet where`: options count wherever they stand, and what is not understood is said.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { assert } = require('./lab');
const { runLimpet } = require('./limpet');

const KEY = '198.51.100.7';

function file(t) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-e2e-'));
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  const name = path.join(folder, 'limpet.yaml');
  fs.writeFileSync(name, 'listeners: {web: {bind: "127.0.0.1:1", pool: app}}\n'
    + 'pools: {app: {servers: {a: "10.0.0.1:1", b: "10.0.0.2:1", c: "10.0.0.3:1"}}}\n');
  return name;
}

const where = (...args) => runLimpet(['where', ...args]);

describe('where', { concurrency: 4 }, () => {
  test('options stand before and behind what is no option', async (t) => {
    const at = ['-c', file(t)];
    for (const option of [['--kind', 'ip'], ['--kind', 'text'], ['--rank', '2'], ['--down', 'a,b']]) {
      const first = await where(...at, ...option, 'app', KEY);
      assert.equal(first.code, 0, first.stderr);
      assert.equal(first.stdout.trim().split('\n').length, 1, `one key, one line: ${first.stdout}`);
      for (const args of [
        ['app', KEY, ...at, ...option], ['app', ...option, KEY, ...at], [...option, 'app', ...at, KEY],
        ['app', ...at, KEY, ...option], [...at, ...option, '--', 'app', KEY], [...at, 'app', ...option, '--', KEY],
        ['app', KEY, ...at, ...option, '--'],
      ]) {
        const result = await where(...args);
        assert.equal(result.code, 0, `${args}: ${result.stderr}`);
        assert.equal(result.stdout, first.stdout, args.join(' '));
      }
    }
  });

  test('behind -- everything is a key', async (t) => {
    const keys = ['--kind', 'ip', '-', '-c', '--'];
    const result = await where('-c', file(t), 'app', '--', ...keys);
    assert.equal(result.code, 0, result.stderr);
    assert.deepEqual(result.stdout.trim().split('\n').map((line) => line.split('\t')[0]), keys);
  });

  test('an option that is not known or not complete is wrong usage, wherever it stands', async (t) => {
    const at = ['-c', file(t)];
    for (const [wrong, word] of [
      [['--frobnicate'], '--frobnicate'], [['--frobnicate', 'x'], '--frobnicate'], [['-x'], '-x'],
      [['--kind=ip'], '--kind=ip'], [['--kind', 'v4'], 'v4'], [['--rank', '0'], '0'], [['--rank', '2x'], '2x'],
      [['--rank', '-1'], '-1'], [['--rank', ''], 'rank'],
    ]) {
      for (const place of [0, 1, 2]) {
        const args = [...at, 'app', KEY];
        args.splice(2 + place, 0, ...wrong);
        const result = await where(...args);
        assert.equal(result.code, 2, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
        assert.ok(result.stderr.includes(word), `${args.join(' ')}: ${result.stderr}`);
        assert.equal(result.stdout, '');
      }
    }
    for (const option of ['-c', '--kind', '--rank', '--down']) {
      const result = await where('app', KEY, option);
      assert.equal(result.code, 2, option);
      assert.ok(result.stderr.includes(`${option} needs a value`), result.stderr);
    }
    for (const args of [at, [...at, '--'], [...at, '--rank', '1']]) {
      const result = await where(...args);
      assert.equal(result.code, 2);
      assert.match(result.stderr, /which pool/);
    }
  });

  test('a server that is down must be one', async (t) => {
    const result = await where('-c', file(t), 'app', KEY, '--down', 'a,nobody');
    assert.equal(result.code, 1);
    assert.match(result.stderr, /pool "app" has no server "nobody"/);
  });
});
