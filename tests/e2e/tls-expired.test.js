'use strict';
// What time alone has made bad stops no start and no reload: a machine that restarts overnight
// serves what it served yesterday, and says what has expired. For `limpet check` it is an error.

const { describe, test } = require('node:test');
const path = require('node:path');
const { Lab, assert } = require('./lab');
const { runLimpet } = require('./limpet');
const pki = require('./pki');

const PAST = { from: -9, to: -1 };
const FUTURE = { from: 1, to: 9 };
const { site } = pki;
const over = (tls, more) => ({ workers: 1, listeners: { web: { tls: { certificates: [site.config], ...tls } }, plain: {} }, ...more });
const listing = (...pairs) => over({ certificates: pairs.map((pair) => pair.config) });
/** The certificate that a client meets, whatever it thinks of it. */
const met = (lab, servername = 'site.example.com') => lab.connect({ tls: { servername, rejectUnauthorized: false } }).then((client) => client.socket.getPeerX509Certificate().fingerprint256.replaceAll(':', '').toLowerCase());

/** The place in the file is named, and `limpet check` calls it an error. */
async function isTold(lab, where, words) {
  const escaped = where.replace(/[.[\]]/g, '\\$&');
  assert.match(await lab.says(new RegExp(`limpet\\.yaml:\\d+:\\d+: warning: ${escaped}: .*`)), words);
  const { code, stderr } = await runLimpet(['check', '-c', lab.file]);
  assert.equal(code, 1);
  assert.match(stderr, new RegExp(`limpet\\.yaml:\\d+:\\d+: error: ${escaped}: .*`));
  assert.match(stderr, words);
}

describe('certificates of listeners', { concurrency: 4 }, () => {
  test('an expired one beside a good one: both are served, one is named', async (t) => {
    const old = pki.ca.issue('old.example.com', PAST);
    const lab = await Lab.start(t, listing(old, site));
    await isTold(lab, 'listeners.web.tls.certificates[0].cert', /old.*expired on \d{4}-\d\d-\d\d/);
    assert.equal((await lab.request('/')).status, 200); // verified, by name
    assert.equal(await met(lab, 'old.example.com'), old.fingerprint);
  });

  test('an expired one alone, or one that is not valid yet, is served', async (t) => {
    for (const [pair, words] of [[pki.ca.issue('site.example.com', PAST), /expired on/], [pki.ca.issue('site.example.com', FUTURE), /is not valid before/]]) {
      const lab = await Lab.start(t, listing(pair));
      await isTold(lab, 'listeners.web.tls.certificates[0].cert', words);
      assert.equal(await met(lab), pair.fingerprint);
      assert.equal((await lab.request('/', { listener: 'plain' })).status, 200);
    }
  });

  test('of two for one name the one of today is served, wherever it stands', async (t) => {
    for (const old of [pki.ca.issue('site.example.com', PAST), pki.ca.issue('site.example.com', FUTURE)]) {
      for (const pairs of [[old, site], [site, old]]) {
        const lab = await Lab.start(t, listing(...pairs));
        assert.equal(await met(lab), site.fingerprint);
      }
    }
  });

  test('a reload takes an expired one, too, with a warning', async (t) => {
    const lab = await Lab.start(t, listing(site));
    const old = pki.ca.issue('site.example.com', PAST);
    const { isDone } = await lab.reload((config) => { config.listeners.web.tls.certificates = [old.config]; });
    assert.ok(isDone);
    await isTold(lab, 'listeners.web.tls.certificates[0].cert', /expired on/);
    assert.equal(await met(lab), old.fingerprint);
  });
});

describe('authorities and certificates for servers', { concurrency: 4 }, () => {
  const gone = () => pki.ca.issue('an old authority', { isAuthority: true, ...PAST });
  /** A client or server whose own certificate is good, of an authority that has expired. */
  const issuedBy = (t, authority, subject) => {
    const [key, csr, cert] = ['key', 'csr', 'pem'].map((end) => path.join(pki.folder(t), `late.${end}`));
    pki.openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out', csr, '-subj', subject);
    pki.openssl('x509', '-req', '-in', csr, '-CA', authority.cert, '-CAkey', authority.key, '-set_serial', '7', '-days', '9', '-out', cert);
    return new pki.Pair(cert, key);
  };

  test('with every client authority expired nobody is let in, and other listeners serve', async (t) => {
    const lab = await Lab.start(t, over({ client_ca: gone().cert }));
    await isTold(lab, 'listeners.web.tls.client_ca', /has expired.*nobody is trusted/);
    for (const pair of [issuedBy(t, gone(), '/CN=late'), pki.client('alice')]) {
      for (const version of ['TLSv1.2', 'TLSv1.3']) {
        const asked = lab.request('/', { tls: { ...pair.node, minVersion: version, maxVersion: version } });
        await assert.rejects(asked, /alert|ECONNRESET|closed|ended/i);
      }
    }
    assert.equal(lab.server('s1').requests.length, 0);
    assert.equal((await lab.request('/', { listener: 'plain' })).status, 200);
  });

  test('with the authority of a pool expired its servers are not believed, and other pools serve', async (t) => {
    const late = issuedBy(t, gone(), '/CN=127.0.0.1');
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { tls: late.node }, s2: {} }, pools: { app: { servers: ['s1'], tls: { ca: gone().cert } }, other: ['s2'] }, listeners: { web: {}, plain: { pool: 'other' } } });
    await isTold(lab, 'pools.app.tls.ca', /has expired.*nobody is trusted/);
    assert.equal((await lab.request('/')).status, 503);
    assert.equal(lab.server('s1').requests.length, 0);
    assert.equal((await lab.request('/', { listener: 'plain' })).status, 200);
  });

  test('an expired certificate is shown to servers all the same', async (t) => {
    const old = pki.client('limpet', PAST);
    const lab = await Lab.start(t, { workers: 1, servers: { s1: { tls: pki.server.node } }, pools: { app: { tls: { ca: pki.ca.cert, cert: old.cert, key: old.key } } } });
    await isTold(lab, 'pools.app.tls.cert', /expired on/);
    assert.equal((await lab.request('/')).status, 200); // this one asks for none
  });
});
