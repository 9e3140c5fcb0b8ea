'use strict';
// Listeners over TLS: versions and suites, the certificate that a name gets, ALPN, client
// certificates, stapled OCSP, and what HTTP has to say about it (redirect, hsts, plain HTTP).

const { describe, test } = require('node:test');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { Lab, assert, atLeastOnce, eventually } = require('./lab');
const { BOUND_MS } = require('./wait');
const { fragmented } = require('./wire');
const { RECORD, clientHello, record } = require('./tls13');
const pki = require('./pki');

const over = (tls = {}, more = {}) => ({ listeners: { web: { tls: { certificates: [pki.site.config], ...tls } } }, ...more });
const only = (version) => ({ minVersion: version, maxVersion: version });

/** A field of the request that an app origin describes in its answer. */
const seen = (response, name) => response.json().fields.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value).join('|');

/** Why a client is refused: the code of its error, at once or when it wants to talk. */
async function refusal(lab, tls, more) {
  let client;
  try {
    client = await lab.connect({ tls, ...more });
  } catch (err) {
    return err.code ?? err.message;
  }
  await client.send('/');
  await client.isClosed();
  assert.equal(client.received, 0, 'it was served');
  return client.error?.code ?? `closed (${client.ended})`;
}

/** What `openssl s_client` prints; it ends when limpet closes or its input does. */
function sClient(lab, args, input = '') {
  const { host, port } = lab.where();
  const { spawn } = require('node:child_process');
  return new Promise((resolve, reject) => {
    const child = spawn('openssl', ['s_client', '-connect', `${host}:${port}`, '-servername', 'site.example.com', '-CAfile', pki.ca.cert, ...args]);
    let text = '';
    const bound = setTimeout(() => { child.kill(); reject(new Error(`s_client did not end:\n${text}`)); }, BOUND_MS);
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { text += data; });
    child.on('close', () => { clearTimeout(bound); resolve(text); });
    child.stdin.on('error', () => {}); // it may be gone already
    child.stdin.end(input);
  });
}

describe('TLS versions and suites', { concurrency: 4 }, () => {
  test('requests are answered over 1.2 and 1.3 and the server hears that they came over https', async (t) => {
    const lab = await Lab.start(t, over());
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const client = await lab.connect({ tls: only(version) });
      assert.equal(client.version, version);
      assert.equal(client.peer, pki.site.fingerprint);
      for (let i = 0; i < 3; i++) {
        const response = await client.request('/echo', { method: 'POST', body: 'b'.repeat(i * 40000) });
        assert.equal(response.body.length, i * 40000);
      }
      client.destroy();
    }
    const request = await lab.server('s1').request('/echo');
    assert.equal(request.get('x-forwarded-proto'), 'https');
    await lab.logs({ path: '/echo', status: 200, end: 'done' });
  });

  test('every suite that is offered carries a request, with ECDSA and with RSA', async (t) => {
    const lab = await Lab.start(t, over({ certificates: [pki.site.config, pki.ca.issue('rsa.example.com', { kind: 'rsa' }).config] }));
    const kinds = { ECDSA: 'site.example.com', RSA: 'rsa.example.com' };
    for (const [kind, servername] of Object.entries(kinds)) {
      for (const cipher of ['AES128-GCM-SHA256', 'AES256-GCM-SHA384', 'CHACHA20-POLY1305']) {
        const ciphers = `ECDHE-${kind}-${cipher}`;
        const response = await lab.request('/', { tls: { ...only('TLSv1.2'), ciphers, servername } });
        assert.equal(response.client.suite, ciphers);
        assert.equal(response.status, 200);
      }
      for (const ciphers of ['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256']) {
        const response = await lab.request('/', { tls: { ...only('TLSv1.3'), ciphers, servername } });
        assert.equal(response.client.suite, ciphers);
        assert.equal(response.status, 200);
      }
    }
  });

  test('suites without AEAD or forward secrecy are refused with handshake_failure', async (t) => {
    const lab = await Lab.start(t, over({ certificates: [pki.site.config, pki.ca.issue('rsa.example.com', { kind: 'rsa' }).config] }));
    const refused = { 'site.example.com': ['ECDHE-ECDSA-AES128-SHA', 'ECDHE-ECDSA-AES256-SHA384', 'ECDHE-ECDSA-AES128-CCM8'],
      'rsa.example.com': ['ECDHE-RSA-AES128-SHA256', 'AES128-GCM-SHA256', 'AES256-SHA', 'DHE-RSA-AES128-GCM-SHA256'] };
    for (const [servername, suites] of Object.entries(refused)) {
      for (const ciphers of suites) assert.equal(await refusal(lab, { ...only('TLSv1.2'), ciphers, servername }), 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE', ciphers);
    }
  });

  test('TLS 1.0 and 1.1 are refused with protocol_version', async (t) => {
    const lab = await Lab.start(t, over());
    for (const version of ['TLSv1', 'TLSv1.1']) {
      assert.equal(await refusal(lab, { ...only(version), ciphers: 'ALL:@SECLEVEL=0' }), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION', version);
    }
  });

  test('`versions` says which are spoken; others are refused with protocol_version', async (t) => {
    const lab = await Lab.start(t, { listeners: { new: over({ versions: ['1.3'] }).listeners.web, old: over({ versions: ['1.2'] }).listeners.web } });
    const version = async (listener, tls) => (await lab.request('/', { listener, tls })).client.version;
    assert.equal(await version('new', {}), 'TLSv1.3');
    assert.equal(await version('old', {}), 'TLSv1.2');
    assert.equal(await refusal(lab, only('TLSv1.2'), { listener: 'new' }), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    assert.equal(await refusal(lab, only('TLSv1.3'), { listener: 'old' }), 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
  });

  test('X25519, P-256 and P-384 agree on keys, and a first share of another group costs one more round only', async (t) => {
    const lab = await Lab.start(t, over());
    const groups = { 'TLSv1.3': ['X25519', 'P-256', 'P-384'], 'TLSv1.2': ['X25519:P-256', 'P-256', 'P-384:P-256'] }; // 1.2 names the curve of the certificate there, too
    for (const version of Object.keys(groups)) {
      for (const ecdhCurve of groups[version]) assert.equal((await lab.request('/', { tls: { ...only(version), ecdhCurve } })).status, 200, `${version} ${ecdhCurve}`);
    }
    assert.equal((await lab.request('/', { tls: { ...only('TLSv1.3'), ecdhCurve: 'X448:P-256' } })).status, 200);
    assert.equal((await lab.request('/', { tls: { ...only('TLSv1.3'), ecdhCurve: 'X448:X25519' } })).status, 200);
  });

  test('P-384 certificates work', async (t) => {
    const pair = pki.ca.issue('wide.example.com', { kind: 'p384' });
    const lab = await Lab.start(t, over({ certificates: [pair.config] }));
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const response = await lab.request('/', { tls: { ...only(version), servername: 'wide.example.com' } });
      assert.equal(response.status, 200);
    }
  });

  test('a client that cannot verify our kind of key is refused with handshake_failure', async (t) => {
    const lab = await Lab.start(t, over());
    assert.match(await refusal(lab, { ...only('TLSv1.3'), sigalgs: 'RSA-PSS+SHA256' }), /ALERT_HANDSHAKE_FAILURE|ALERT_ILLEGAL_PARAMETER/);
    assert.match(await refusal(lab, { ...only('TLSv1.2'), ciphers: 'ECDHE-RSA-AES128-GCM-SHA256' }), /ALERT_HANDSHAKE_FAILURE/);
  });

  test('the chain above a certificate is sent along', async (t) => {
    const leaf = pki.intermediate.issue('leaf.example.com');
    const lab = await Lab.start(t, over({ certificates: [leaf.config] }));
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const client = await lab.connect({ tls: { ...only(version), servername: 'leaf.example.com' } });
      assert.equal(client.socket.authorized, true); // it trusts the root alone
      assert.equal(client.socket.getPeerCertificate(true).issuerCertificate.subject.CN, 'test intermediate');
    }
  });

  test('keys are read in every usual PEM form', async (t) => {
    const folder = pki.folder(t);
    const pairs = [];
    for (const [kind, command] of [['p256', 'ec'], ['p384', 'ec'], ['rsa', 'rsa']]) {
      const name = `old-${kind}.example.com`;
      const pair = pki.ca.issue(name, { kind });
      const key = path.join(folder, `${kind}.key`);
      execFileSync('openssl', [command, ...(command === 'rsa' ? ['-traditional'] : []), '-in', pair.key, '-out', key], { stdio: 'pipe' });
      assert.match(fs.readFileSync(key, 'utf8'), /BEGIN (EC|RSA) PRIVATE KEY/);
      // openssl ecparam writes its parameters before the key, and people leave words between the parts.
      if (command === 'ec') fs.writeFileSync(key, `Some words.\n${execFileSync('openssl', ['ecparam', '-name', kind === 'p256' ? 'prime256v1' : 'secp384r1'])}${fs.readFileSync(key)}`);
      pairs.push({ name, cert: pair.cert, key });
    }
    const lab = await Lab.start(t, over({ certificates: pairs.map(({ cert, key }) => ({ cert, key })) }));
    for (const { name } of pairs) assert.equal((await lab.request('/', { tls: { servername: name } })).status, 200, name);
  });

  test('a certificate and its key may lie in one file', async (t) => {
    const file = path.join(pki.folder(t), 'both.pem');
    fs.writeFileSync(file, pki.site.keyPem + pki.site.pem);
    const lab = await Lab.start(t, over({ certificates: [{ cert: file, key: file }] }));
    assert.equal((await lab.request('/')).status, 200);
  });

  test('a hundred RSA handshakes at once all succeed', async (t) => {
    const lab = await Lab.start(t, over({ certificates: [pki.rsaSite.config] }, { workers: 1 }));
    const answers = await Promise.all(Array.from({ length: 100 }, () => lab.request('/')));
    assert.ok(answers.every((response) => response.status === 200));
  });

  test('an open tunnel goes on between the handshakes of 400 clients that come at once', async (t) => {
    // All in one turn would leave room for one echo. So does a machine that is so busy that this process
    // does not run in the meantime, but not each time.
    for (const pair of [pki.rsaSite, pki.site]) await atLeastOnce(async () => {
      const lab = await Lab.start(t, over({ certificates: [pair.config] }, { workers: 1 }));
      const socket = await lab.websocket('/ws');
      const clients = await Promise.all(Array.from({ length: 400 }, () => lab.connect({ tls: false })));
      const hellos = clients.map(() => record(RECORD.HANDSHAKE, clientHello(), 0x0301));
      await socket.echoes('before');
      for (const [i, client] of clients.entries()) client.write(hellos[i]);
      let echoes = 0;
      while (clients.some((client) => client.received === 0)) {
        await socket.echoes(`number ${++echoes}`);
        assert.ok(echoes < 100000);
      }
      assert.ok(clients.every((client) => client.buffer[0] === RECORD.HANDSHAKE));
      return echoes >= 2 ? undefined : `only ${echoes} echoes until the last ServerHello`;
    });
  });
});

describe('TLS names', { concurrency: 4 }, () => {
  test('a name gets its own certificate: exact before wildcard before the first', async (t) => {
    const first = pki.ca.issue('first.example.com');
    const exact = pki.ca.issue('one.wild.example.com');
    const wild = pki.ca.issue('*.wild.example.com', { names: ['*.wild.example.com', 'other.example.com'] });
    const lab = await Lab.start(t, over({ certificates: [first.config, wild.config, exact.config] }));
    const shown = async (servername) => {
      const client = await lab.connect({ tls: { servername, checkServerIdentity: () => undefined } });
      const name = { [first.fingerprint]: 'first', [exact.fingerprint]: 'exact', [wild.fingerprint]: 'wild' }[client.peer];
      client.destroy();
      return name;
    };
    assert.equal(await shown('first.example.com'), 'first');
    assert.equal(await shown('one.wild.example.com'), 'exact');
    assert.equal(await shown('two.wild.example.com'), 'wild');
    assert.equal(await shown('other.example.com'), 'wild');
    assert.equal(await shown('One.WILD.example.COM'), 'exact');
    assert.equal(await shown('TWO.wild.example.com'), 'wild');
    assert.equal(await shown('one.wild.example.com.'), 'exact');
    assert.equal(await shown('two.wild.example.com.'), 'wild');
    assert.equal(await shown('wild.example.com'), 'first', 'a wildcard is not its own parent');
    assert.equal(await shown('a.b.wild.example.com'), 'first', 'a wildcard of a certificate stands for one label (RFC 9525, 6.3)');
    assert.equal(await shown('unknown.example.net'), 'first');
    assert.equal(await shown(''), 'first');
  });

  test('the name comes out of a ClientHello in any number of records and segments', async (t) => {
    const other = pki.ca.issue('other.example.com');
    const lab = await Lab.start(t, over({ certificates: [pki.site.config, other.config] }));
    for (const size of [1, 3, 50, 200]) {
      for (const version of ['TLSv1.2', 'TLSv1.3']) {
        const client = await lab.connect({ tls: { ...only(version), servername: 'other.example.com' }, wire: { change: fragmented(size) } });
        assert.equal(client.peer, other.fingerprint);
        assert.equal((await client.request('/')).status, 200);
      }
    }
  });

  test('http/1.1 is chosen from what a client offers, and h2 alone is refused with no_application_protocol', async (t) => {
    const lab = await Lab.start(t, over());
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      for (const [offer, chosen] of [[['h2', 'http/1.1'], 'http/1.1'], [['http/1.1'], 'http/1.1'], [undefined, false]]) {
        const client = await lab.connect({ tls: { ...only(version), ALPNProtocols: offer } });
        assert.equal(client.socket.alpnProtocol, chosen);
        assert.equal((await client.request('/')).status, 200);
        client.destroy();
      }
      // RFC 7301, 3.2, and what nginx and HAProxy do.
      assert.equal(await refusal(lab, { ...only(version), ALPNProtocols: ['h2'] }), 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL');
    }
  });

  test('a tcp listener that terminates TLS has no opinion about ALPN', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: { kind: 'tcp' } }, listeners: { line: { protocol: 'tcp', tls: { certificates: [pki.site.config] } } } });
    const client = await lab.connect({ tls: { ALPNProtocols: ['mqtt'] } });
    await client.write('hello');
    assert.equal((await client.read(5)).toString(), 'hello');
  });
});

describe('client certificates', { concurrency: 4 }, () => {
  const demanding = (more) => over({ client_ca: pki.ca.cert, ...more });

  test('a good one is let in and the server is told whose it is', async (t) => {
    const lab = await Lab.start(t, demanding());
    const alice = pki.client('alice', { subject: '/C=DE/O=Example, Inc./CN=alice' });
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      const client = await lab.connect({ tls: { ...only(version), ...alice.node } });
      for (const target of ['/one', '/two']) {
        const response = await client.request(target);
        assert.equal(seen(response, 'x-client-cert-subject'), 'CN=alice,O=Example\\, Inc.,C=DE'); // RFC 4514
        assert.equal(seen(response, 'x-client-cert-fingerprint'), alice.fingerprint);
      }
    }
    await (await lab.websocket('/ws', alice.node)).echoes('hello');
    assert.equal((await lab.server('s1').request('/ws')).get('x-client-cert-fingerprint'), alice.fingerprint);
  });

  test('none, a foreign and an expired one are refused with the alert that says which', async (t) => {
    const lab = await Lab.start(t, demanding());
    const none = { 'TLSv1.3': 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'TLSv1.2': 'ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE' };
    for (const version of ['TLSv1.3', 'TLSv1.2']) {
      assert.equal(await refusal(lab, only(version)), none[version]);
      assert.match(await refusal(lab, { ...only(version), ...pki.stranger.issue('mallory', { isClient: true }).node }), /ALERT_(UNKNOWN_CA|BAD_CERTIFICATE)/);
      assert.match(await refusal(lab, { ...only(version), ...pki.client('old', { from: -9, to: -2 }).node }), /ALERT_(CERTIFICATE_EXPIRED|BAD_CERTIFICATE)/);
      assert.match(await refusal(lab, { ...only(version), ...pki.client('young', { from: 2, to: 9 }).node }), /ALERT_(CERTIFICATE_EXPIRED|BAD_CERTIFICATE)/);
    }
    assert.equal(lab.server('s1').requests.length, 0);
    assert.equal((await lab.request('/', { tls: pki.client('alice').node })).status, 200);
  });

  test('one below an intermediate of the CA is let in', async (t) => {
    const lab = await Lab.start(t, demanding());
    const pair = pki.intermediate.issue('bob', { isClient: true });
    assert.equal(seen(await lab.request('/', { tls: pair.node }), 'x-client-cert-fingerprint'), pair.fingerprint);
  });

  test('a certificate for servers only is refused', async (t) => {
    const lab = await Lab.start(t, demanding());
    assert.match(await refusal(lab, pki.ca.issue('a server').node), /ALERT/); // RFC 5280, 4.2.1.12
  });

  test('a CA file may hold several', async (t) => {
    const file = path.join(pki.folder(t), 'both.pem');
    fs.writeFileSync(file, pki.ca.pem + pki.stranger.pem);
    const lab = await Lab.start(t, over({ client_ca: file }));
    for (const ca of [pki.ca, pki.stranger]) assert.equal((await lab.request('/', { tls: ca.issue('carol', { isClient: true }).node })).status, 200);
  });

  test('a resumed session is still the same client to the server', async (t) => {
    const lab = await Lab.start(t, demanding());
    for (const version of ['TLSv1.2', 'TLSv1.3']) {
      let session;
      for (const who of ['dave', 'dave', 'dave']) {
        const pair = pki.client(who);
        const client = await lab.connect({ tls: { ...only(version), ...pair.node, session } });
        const response = await client.request('/');
        assert.equal(seen(response, 'x-client-cert-fingerprint'), pair.fingerprint);
        assert.equal(seen(response, 'x-client-cert-subject'), 'CN=dave');
        session = client.sessions.at(-1) ?? session;
        client.destroy();
      }
    }
  });

  test('the fields cannot be forged, on any kind of listener', async (t) => {
    const lab = await Lab.start(t, { listeners: { plain: {}, web: over().listeners.web, demanding: demanding().listeners.web } });
    const forged = [['X-Client-Cert-Subject', 'CN=root'], ['x-client-cert-fingerprint', 'ab'], ['X_Client_Cert_Subject', 'CN=root'], ['X-CLIENT-CERT-SUBJECT', 'CN=root']];
    const pair = pki.client('erin');
    for (const listener of ['plain', 'web', 'demanding']) {
      const { fields } = (await lab.request('/', { listener, tls: listener === 'plain' ? false : pair.node, headers: forged })).json();
      const got = fields.filter(([name]) => /client.cert/i.test(name)).map(([, value]) => value).sort();
      assert.deepEqual(got, listener === 'demanding' ? ['CN=erin', pair.fingerprint].sort() : []);
    }
    const socket = await lab.rawWebSocket('/ws', { listener: 'web', headers: { 'X-Client-Cert-Subject': 'CN=root' } });
    assert.equal(socket.response.status, 101);
    assert.equal((await lab.server('s1').request('/ws')).get('x-client-cert-subject'), undefined);
  });

  test('a subject with line breaks, quotes and foreign letters stays one harmless field', async (t) => {
    const lab = await Lab.start(t, demanding());
    const pair = pki.client('mallory', { subject: '/O=Zoë "and"; Söhne/CN=mallory\r\nX-Evil: 1\r\n\r\nGET \\/evil HTTP\\/1.1' });
    const client = await lab.connect({ tls: pair.node });
    const response = await client.request('/fine');
    const subject = seen(response, 'x-client-cert-subject');
    assert.match(subject, /^CN=mallory\\0D\\0AX-Evil: 1/i);
    assert.match(subject, /^[\x20-\x7e]*$/);
    assert.equal(seen(response, 'x-evil'), '');
    assert.equal((await client.request('/next')).json().target, '/next');
    assert.equal(lab.server('s1').requests.length, 2);
  });
});

describe('stapled OCSP', { concurrency: 2 }, () => {
  test('the response in the file is stapled for clients that ask, and for no others', async (t) => {
    const response = pki.ca.ocsp(pki.site);
    const lab = await Lab.start(t, over({ certificates: [{ ...pki.site.config, ocsp: response }] }));
    for (const version of ['-tls1_2', '-tls1_3']) {
      const text = await sClient(lab, [version, '-status']);
      assert.match(text, /OCSP Response Status: successful/, version);
      assert.match(text, /Cert Status: good/);
      assert.match(text, /Verify return code: 0/);
      assert.doesNotMatch(await sClient(lab, [version]), /OCSP Response Status/);
    }
  });

  test('each certificate has its own and one without it is served without', async (t) => {
    const other = pki.ca.issue('other.example.com');
    const lab = await Lab.start(t, over({ certificates: [{ ...pki.site.config, ocsp: pki.ca.ocsp(pki.site) }, other.config] }));
    const ask = async (servername) => {
      const client = await lab.connect({ tls: { servername, requestOCSP: true } });
      client.destroy();
      return client;
    };
    assert.equal((await ask('site.example.com')).peer, pki.site.fingerprint);
    assert.equal((await ask('other.example.com')).peer, other.fingerprint);
    assert.match(await sClient(lab, ['-status', '-servername', 'other.example.com']), /OCSP response: no response sent/);
  });

  test('renegotiation is refused although it is announced as safe', async (t) => {
    const lab = await Lab.start(t, over());
    const client = await lab.connect({ tls: only('TLSv1.2') });
    assert.equal((await client.request('/')).status, 200);
    const outcome = await new Promise((resolve) => {
      client.socket.renegotiate({}, (err) => resolve(err ?? 'renegotiated'));
      client.until(() => client.ended, 'the end').then(() => resolve(client.error ?? client.ended), () => {});
    });
    assert.notEqual(outcome, 'renegotiated');
    assert.match(await sClient(lab, ['-tls1_2']), /Secure Renegotiation IS supported/); // RFC 5746
    assert.equal((await lab.request('/')).status, 200);
  });
});

describe('HTTP around TLS', { concurrency: 4 }, () => {
  test('plain HTTP on a TLS port is answered 400', async (t) => {
    const lab = await Lab.start(t, over());
    for (const bytes of ['GET / HTTP/1.1\r\nHost: site.example.com\r\n\r\n', 'POST /long HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello', 'OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n']) {
      const client = await lab.raw(bytes, { tls: false });
      const response = await client.response();
      assert.equal(response.status, 400);
      assert.equal(response.get('connection'), 'close');
      await client.isClosed();
    }
    const slow = await lab.connect({ tls: false });
    await slow.writeSlowly('GET / HTTP/1.1\r\n');
    assert.equal((await slow.response()).status, 400);
    assert.equal(lab.server('s1').requests.length, 0);
  });

  test('`redirect: https` sends browsers over, with path and query and without the port', async (t) => {
    const lab = await Lab.start(t, { listeners: { plain: { redirect: 'https' }, web: over().listeners.web } });
    const ask = (method, target, host, more = {}) => lab.request(target, { listener: 'plain', method, headers: { Host: host }, ...more });
    for (const [method, target, host, status, location] of [
      ['GET', '/a/b?c=d&e=%20f', 'site.example.com', 301, 'https://site.example.com/a/b?c=d&e=%20f'],
      ['HEAD', '/', 'site.example.com:8080', 301, 'https://site.example.com/'],
      ['POST', '/form?x', 'site.example.com:80', 308, 'https://site.example.com/form?x'],
      ['PUT', '/thing', 'site.example.com', 308, 'https://site.example.com/thing'],
      ['DELETE', '/thing', 'site.example.com', 308, 'https://site.example.com/thing'],
      ['GET', '/', '[::1]:8080', 301, 'https://[::1]/'],
      ['GET', 'http://absolute.example.com:81/x?y', 'site.example.com', 301, 'https://absolute.example.com/x?y'],
    ]) {
      const response = await ask(method, target, host, method === 'POST' ? { body: 'a body' } : {});
      assert.equal(response.status, status, `${method} ${target}`);
      assert.equal(response.get('location'), location);
      assert.equal(response.get('strict-transport-security'), undefined);
    }
    assert.equal(lab.server('s1').requests.length, 0);
  });

  test('a request that names no host is answered once, and is the last', async (t) => {
    const lab = await Lab.start(t, { listeners: { plain: { redirect: 'https' }, web: over().listeners.web } });
    for (const host of ['', '.', '.:80', ':80']) {
      const client = await lab.raw(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`, { listener: 'plain' });
      const response = await client.response();
      assert.deepEqual([response.status, response.get('connection')], [400, 'close'], host);
      assert.equal((await client.readAll()).length, 0);
    }
  });

  test('a redirected connection goes on in order, bodies included', async (t) => {
    const lab = await Lab.start(t, { listeners: { plain: { redirect: 'https' }, web: over().listeners.web } });
    const client = await lab.connect({ listener: 'plain' });
    for (const body of ['x', 'y'.repeat(5000)]) {
      const response = await client.request(`/${body.length}`, { method: 'POST', body });
      assert.equal(response.get('location'), `https://test.example/${body.length}`);
      if (response.get('connection') === 'close') return;
    }
    assert.equal((await client.request('/last')).get('location'), 'https://test.example/last');
  });

  test('hsts goes with every response over TLS, once, and with none without', async (t) => {
    const handle = async (request, answer) => {
      if (request.path !== '/own') return false;
      await answer.respond(200, { 'Strict-Transport-Security': 'max-age=5' });
      return true;
    };
    const routes = [{ match: { path: '/here' }, pool: 'app' }, { match: { path: '/own' }, pool: 'app' }];
    const lab = await Lab.start(t, { servers: { s1: { handle } }, listeners: { web: { ...over({ hsts: '365d' }).listeners.web, routes }, plain: { routes } } });
    for (const [target, status] of [['/here', 200], ['/own', 200], ['/nowhere', 404]]) {
      const response = await lab.request(target, { listener: 'web' });
      assert.equal(response.status, status);
      const fields = response.all('strict-transport-security');
      assert.equal(fields.length, 1, target); // RFC 6797, 7.1
      if (target === '/own') continue;
      assert.equal(fields[0], 'max-age=31536000');
      assert.equal((await lab.request(target, { listener: 'plain' })).get('strict-transport-security'), undefined);
    }
  });

  test('openssl s_client gets its page', async (t) => {
    const lab = await Lab.start(t, over());
    for (const version of ['-tls1_2', '-tls1_3']) {
      const text = await sClient(lab, [version, '-quiet', '-ign_eof'], 'GET /page HTTP/1.1\r\nHost: site.example.com\r\nConnection: close\r\n\r\n');
      assert.match(text, /HTTP\/1\.1 200 /);
      assert.doesNotMatch(text, /unexpected eof/i);
    }
    await eventually(() => lab.server('s1').requests.filter((request) => request.target === '/page').length === 2, 'both requests');
  });
});
