'use strict';
// What is wrong with certificates and keys is said before anything is served: by `limpet check`, at
// the start, with the place in the file.

const { describe, test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync, spawnSync } = require('node:child_process');
const { assert } = require('./lab');
const { runLimpet, binary } = require('./limpet');
const { toYaml } = require('./yaml');
const { takePort, releasePort } = require('./ports');
const pki = require('./pki');

/** A folder with limpet.yaml in it; `listener` and `pool` are their `tls`. Files may be named relative to it. */
async function written(t, { listener, pool, ...more }) {
  const folder = pki.folder(t);
  const port = await takePort();
  t.after(() => releasePort(port));
  const file = path.join(folder, 'limpet.yaml');
  const config = {
    listeners: { web: { bind: `127.0.0.1:${port}`, pool: 'app', ...(listener && { tls: listener }) } },
    pools: { app: { check: { type: 'off' }, servers: { a: '127.0.0.1:9' }, ...(pool && { tls: pool }) } }, ...more,
  };
  fs.writeFileSync(file, toYaml(config));
  return { folder, file };
}

async function check(file, ...args) {
  const { code, stdout, stderr } = await runLimpet(['check', '-c', file, ...args]);
  return { code, text: stdout + stderr };
}

/** The report has one line with that place, severity and words, and names a line of the file. */
function says(text, severity, where, words) {
  const escaped = where.replace(/[.[\]]/g, '\\$&');
  const line = text.split('\n').find((one) => new RegExp(`limpet\\.yaml:\\d+:\\d+: ${severity}: ${escaped}(?![\\w.[])`).test(one) && words.test(one));
  assert.ok(line, `${severity} at ${where} with ${words} in:\n${text}`);
  const [, row, column] = /limpet\.yaml:(\d+):(\d+):/.exec(line).map(Number);
  assert.ok(row > 0 && column > 0);
}

async function isWrong(t, options, where, words) {
  const { file } = await written(t, options);
  const { code, text } = await check(file);
  says(text, 'error', where, words);
  assert.equal(code, 1);
}

const CERT = 'listeners.web.tls.certificates[0].cert';
const KEY = 'listeners.web.tls.certificates[0].key';
const showing = (cert, key, more) => ({ listener: { certificates: [{ cert, key }], ...more } });
const { site } = pki;
const scratch = (t, name, content) => {
  const file = path.join(pki.folder(t), name);
  fs.writeFileSync(file, content);
  return file;
};

describe('errors of certificates', { concurrency: 4 }, () => {
  test('good files pass, also relative to the configuration', async (t) => {
    const { folder, file } = await written(t, { ...showing('site.pem', 'site.key', { tickets: { secret_file: 'ticket.key' }, client_ca: 'ca.pem' }), pool: { ca: 'ca.pem', cert: 'site.pem', key: 'site.key' } });
    pki.install(site, folder);
    pki.secret(folder);
    fs.copyFileSync(pki.ca.cert, path.join(folder, 'ca.pem'));
    const { code, text } = await check(file, '--strict');
    assert.equal(code, 0, text);
  });

  test('a missing file is named', async (t) => {
    await isWrong(t, showing('/nowhere/site.pem', site.key), CERT, /\/nowhere\/site\.pem.*[Nn]o such file/);
    await isWrong(t, showing(site.cert, '/nowhere/site.key'), KEY, /\/nowhere\/site\.key.*[Nn]o such file/);
    await isWrong(t, { listener: { certificates: [{ ...site.config, ocsp: '/nowhere/x' }] } }, 'listeners.web.tls.certificates[0].ocsp', /\/nowhere\/x/);
    await isWrong(t, showing(site.cert, site.key, { client_ca: '/nowhere/ca' }), 'listeners.web.tls.client_ca', /\/nowhere\/ca/);
    await isWrong(t, showing(site.cert, site.key, { tickets: { secret_file: '/nowhere/t' } }), 'listeners.web.tls.tickets.secret_file', /\/nowhere\/t/);
    await isWrong(t, { pool: { ca: '/nowhere/ca' } }, 'pools.app.tls.ca', /\/nowhere\/ca/);
    await isWrong(t, { pool: { cert: '/nowhere/c', key: site.key } }, 'pools.app.tls.cert', /\/nowhere\/c/);
  });

  test('an unreadable file is named', async (t) => {
    const { folder, file } = await written(t, showing('site.pem', 'site.key'));
    pki.install(site, folder);
    fs.chmodSync(path.join(folder, 'site.key'), 0);
    // Root reads everything, so limpet must be somebody else.
    const wrapper = process.getuid() === 0 ? ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] : [];
    const own = path.join(folder, 'limpet');
    fs.copyFileSync(binary, own); // where that somebody can reach it
    fs.chmodSync(own, 0o755);
    const [command, ...args] = [...wrapper, own, 'check', '-c', file];
    const result = spawnSync(command, args, { encoding: 'utf8', cwd: folder });
    says(result.stdout + result.stderr, 'error', KEY, /site\.key.*[Pp]ermission denied/);
    assert.equal(result.status, 1);
    await isWrong(t, showing(folder, site.key), CERT, /directory|regular file/);
  });

  test('a key that does not fit is said to be of another certificate', async (t) => {
    await isWrong(t, showing(site.cert, pki.ca.issue('another').key), KEY, /fit|match|belong/);
    await isWrong(t, showing(site.cert, pki.rsaSite.key), KEY, /fit|match|belong/);
    await isWrong(t, { pool: { cert: site.cert, key: pki.ca.issue('another').key } }, 'pools.app.tls.key', /fit|match|belong/);
  });

  test('an authority that has expired is none, alone or among others', async (t) => {
    const old = pki.ca.issue('an old authority', { isAuthority: true, from: -9, to: -1 });
    await isWrong(t, showing(site.cert, site.key, { client_ca: old.cert }), 'listeners.web.tls.client_ca', /expired/);
    const both = scratch(t, 'both.pem', old.pem + pki.ca.pem);
    const { file } = await written(t, showing(site.cert, site.key, { client_ca: both }));
    assert.equal((await check(file)).code, 0);
  });

  test('a file of authorities is taken whole or not at all', async (t) => {
    const [one, two, three] = [1, 2, 3].map((n) => pki.ca.issue(`authority ${n}`, { isAuthority: true }).pem);
    const lines = two.split('\n');
    const damages = {
      'odd characters': [two.replace('MII', '*?!'), /certificate 2 is damaged/],
      'no END line': [two.replace(/-----END.*\n/, ''), /has no line that ends it/],
      'no BEGIN line': [two.replace(/-----BEGIN.*\n/, ''), /belongs to no block/],
      'a dash less': [two.replace('-----BEGIN', '----BEGIN').replace('-----END', '----END'), /belongs to no block/],
      'lines missing': [[...lines.slice(0, 2), ...lines.slice(4)].join('\n'), /certificate 2 is damaged/],
      'another block': [two.replaceAll(' CERTIFICATE', ' TRUSTED CERTIFICATE'), /TRUSTED CERTIFICATE is not read/],
      'a revocation list': ['-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n', /X509 CRL is not read/],
    };
    for (const [name, [second, words]] of Object.entries(damages)) {
      const file = scratch(t, `${name}.pem`, one + second + three);
      await isWrong(t, showing(site.cert, site.key, { client_ca: file }), 'listeners.web.tls.client_ca', words);
      await isWrong(t, { pool: { ca: file } }, 'pools.app.tls.ca', words);
      const started = await written(t, showing(site.cert, site.key, { client_ca: file }));
      const { code, stderr } = await runLimpet(['run', '-c', started.file]);
      says(stderr, 'error', 'listeners.web.tls.client_ca', words);
      assert.equal(code, 1);
    }
    const marked = scratch(t, 'marked.pem', [one, two, three].map((pem) => `\ufeff${pem.replaceAll('\n', '\r\n')}`).join('a title\n======\n\t'));
    const { file } = await written(t, { ...showing(site.cert, site.key, { client_ca: marked }), pool: { ca: marked } });
    const { code, text } = await check(file);
    assert.equal(code, 0, text);
  });

  test('an expired certificate is an error, one that ends within 7 days a warning', async (t) => {
    await isWrong(t, showing(pki.ca.issue('old', { from: -9, to: -1 }).cert, pki.ca.issue('old', { from: -9, to: -1 }).key), CERT, /expired/);
    const soon = pki.ca.issue('soon', { to: 6 });
    const { folder, file } = await written(t, showing(soon.cert, soon.key, { tickets: { secret_file: 'ticket.key' } }));
    pki.secret(folder);
    const plain = await check(file);
    says(plain.text, 'warning', CERT, /expire|end/);
    assert.equal(plain.code, 0);
    assert.equal((await check(file, '--strict')).code, 1);
    const later = pki.ca.issue('later', { to: 8 });
    const quiet = await written(t, showing(later.cert, later.key, { tickets: { secret_file: 'ticket.key' } }));
    pki.secret(quiet.folder);
    const none = await check(quiet.file, '--strict');
    assert.equal(none.code, 0, none.text);
  });

  test('a file without what should be in it is named', async (t) => {
    await isWrong(t, showing(site.key, site.key), CERT, /no certificate/i);
    await isWrong(t, showing(site.cert, site.cert), KEY, /no (private )?key/i);
    await isWrong(t, showing(scratch(t, 'empty.pem', ''), site.key), CERT, /no certificate/i);
    await isWrong(t, showing(scratch(t, 'words.pem', 'hello\n'), site.key), CERT, /no certificate/i);
    await isWrong(t, showing(scratch(t, 'half.pem', site.pem.slice(0, 300)), site.key), CERT, /half\.pem/);
    await isWrong(t, showing(scratch(t, 'bad.pem', site.pem.replace(/[A-Za-z0-9+/]{40}\n/, '!!!!\n')), site.key), CERT, /bad\.pem/);
    await isWrong(t, showing(site.cert, scratch(t, 'bad.key', site.keyPem.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA'))), KEY, /bad\.key/);
    await isWrong(t, showing(site.cert, site.key, { client_ca: site.key }), 'listeners.web.tls.client_ca', /no certificate/i);
    await isWrong(t, { listener: { certificates: [{ ...site.config, ocsp: site.cert }] } }, 'listeners.web.tls.certificates[0].ocsp', /OCSP/);
    await isWrong(t, { pool: { ca: scratch(t, 'ca.pem', 'nothing') } }, 'pools.app.tls.ca', /no certificate/i);
  });

  test('a key with a passphrase is said to have one', async (t) => {
    const key = path.join(pki.folder(t), 'locked.key');
    execFileSync('openssl', ['pkey', '-in', site.key, '-aes256', '-passout', 'pass:secret', '-out', key], { stdio: 'pipe' });
    await isWrong(t, showing(site.cert, key), KEY, /encrypted|passphrase|password/i);
  });

  test('an OCSP response of another certificate, or one that is over, is named', async (t) => {
    const other = pki.ca.ocsp(pki.ca.issue('other.example.com'));
    await isWrong(t, { listener: { certificates: [{ ...site.config, ocsp: other }] } }, 'listeners.web.tls.certificates[0].ocsp', /other|another|not of|belong|fit|match/i);
  });

  test('all that is wrong is said in one run', async (t) => {
    const { file } = await written(t, { listener: { certificates: [{ cert: '/nowhere/1', key: '/nowhere/2' }, { cert: site.cert, key: '/nowhere/3' }], client_ca: '/nowhere/4' }, pool: { ca: '/nowhere/5' } });
    const { code, text } = await check(file);
    assert.equal(code, 1);
    for (const name of ['/nowhere/1', '/nowhere/2', '/nowhere/3', '/nowhere/4', '/nowhere/5']) assert.ok(text.includes(name), `${name} in:\n${text}`);
  });

  test('words that make no sense are refused where they stand', async (t) => {
    await isWrong(t, { listener: { certificates: [] } }, 'listeners.web.tls.certificates', /./);
    await isWrong(t, { listener: { client_ca: pki.ca.cert } }, 'listeners.web.tls.certificates', /missing/);
    await isWrong(t, showing(site.cert, site.key, { versions: ['1.1'] }), 'listeners.web.tls.versions[0]', /1\.2/);
    await isWrong(t, showing(site.cert, site.key, { versions: [] }), 'listeners.web.tls.versions', /./);
    await isWrong(t, { listener: { certificates: [{ cert: site.cert }] } }, KEY, /missing/);
    await isWrong(t, { pool: { cert: site.cert } }, 'pools.app.tls.key', /missing/);
  });

  test('a random ticket secret is a warning', async (t) => {
    const { file } = await written(t, showing(site.cert, site.key));
    const { code, text } = await check(file);
    assert.equal(code, 0);
    says(text, 'warning', 'listeners.web.tls', /ticket|secret/);
    assert.equal((await check(file, '--strict')).code, 1);
  });

  test('the start refuses what the check refuses, but for what is too old', async (t) => {
    for (const [options, words] of [[showing('/nowhere/site.pem', site.key), /\/nowhere\/site\.pem/], [showing(site.cert, pki.ca.issue('another').key), /fit|match|belong/],
      [{ pool: { ca: '/nowhere/ca' } }, /\/nowhere\/ca/]]) {
      const { file } = await written(t, options);
      const { code, stderr } = await runLimpet(['-c', file]);
      assert.equal(code, 1);
      assert.match(stderr, words);
      assert.match(stderr, /limpet\.yaml:\d+:\d+: error: /);
    }
  });
});
