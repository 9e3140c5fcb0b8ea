'use strict';
// The certificates of the tests, made by the `openssl` command: a root, an intermediate, another
// root that nobody trusts, and whatever each of them is asked to issue. Every file is made once per
// test file and lies in a folder that goes when the process ends.

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');

const DAY_MS = 24 * 3600 * 1000;
const KINDS = {
  p256: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  p384: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  rsa: ['-newkey', 'rsa:2048'],
};
const CONFIG = (folder) => `[ca]
default_ca = this
[this]
new_certs_dir = ${folder}
database = ${folder}/index.txt
certificate = ${folder}/ca.pem
private_key = ${folder}/ca.key
rand_serial = yes
default_md = sha256
unique_subject = no
policy = anything
string_mask = utf8only
[anything]
countryName = optional
organizationName = optional
commonName = optional
[req]
distinguished_name = empty
string_mask = utf8only
[empty]
`;

let top;
function home() {
  if (!top) {
    top = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-pki-'));
    fs.chmodSync(top, 0o755);
    process.on('exit', () => fs.rmSync(top, { recursive: true, force: true }));
  }
  return top;
}

function openssl(...args) {
  return execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

const stamp = (ms) => `${new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)}Z`;
const isAddress = (name) => /^[\d.]+$/.test(name) || name.includes(':');

/** A certificate with its key: paths (cert, key), PEM texts, and what tests compare. */
class Pair {
  constructor(cert, key) {
    this.cert = cert;
    this.key = key;
  }

  get pem() { return fs.readFileSync(this.cert, 'utf8'); }
  get keyPem() { return fs.readFileSync(this.key, 'utf8'); }
  get x509() { return new crypto.X509Certificate(this.pem); }
  /** SHA-256 of the certificate, lower-case hex without colons. */
  get fingerprint() { return this.x509.fingerprint256.replaceAll(':', '').toLowerCase(); }
  /** For node's own TLS. */
  get node() { return { cert: this.pem, key: this.keyPem }; }
  /** For a listener's `certificates`. */
  get config() { return { cert: this.cert, key: this.key }; }
}

class Authority extends Pair {
  #made = new Map();

  /** parent: the authority above; none for a root. */
  constructor(name, parent) {
    const folder = path.join(home(), name.replaceAll(' ', '-'));
    super(path.join(folder, 'ca.pem'), path.join(folder, 'ca.key'));
    this.folder = folder;
    this.parent = parent;
    fs.mkdirSync(folder);
    fs.writeFileSync(path.join(folder, 'index.txt'), '');
    fs.writeFileSync(path.join(folder, 'ca.cnf'), CONFIG(folder));
    if (parent) {
      const pair = parent.issue(name, { isAuthority: true });
      fs.copyFileSync(pair.cert, this.cert);
      fs.copyFileSync(pair.key, this.key);
    } else {
      openssl('req', '-x509', '-config', this.file('ca.cnf'), ...KINDS.p256, '-nodes', '-keyout', this.key, '-out', this.cert, '-days', '3650', '-subj', `/O=limpet tests/CN=${name}`,
        '-addext', 'basicConstraints=critical,CA:true', '-addext', 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature', '-addext', 'subjectKeyIdentifier=hash');
    }
  }

  file(name) { return path.join(this.folder, name); }

  /**
   * A certificate and its key; the same words give the same files.
   * names    DNS names and addresses (SAN); default the name itself
   * kind     p256 | p384 | rsa
   * from, to days from now, may be negative
   * subject  as openssl's -subj has it
   * isClient for clients instead of servers
   */
  issue(name, options = {}) {
    const words = JSON.stringify([name, options]);
    if (!this.#made.has(words)) this.#made.set(words, this.#issue(`${name.replace(/[^a-z0-9.-]/gi, '_')}-${this.#made.size}`, name, options));
    return this.#made.get(words);
  }

  #issue(base, name, { names = [name], kind = 'p256', from = -1, to = 90, subject = `/CN=${name}`, isClient = false, isAuthority = false }) {
    const [key, request, cert, extensions] = ['key', 'csr', 'pem', 'ext'].map((end) => this.file(`${base}.${end}`));
    const lines = ['authorityKeyIdentifier=keyid', 'subjectKeyIdentifier=hash'];
    if (isAuthority) {
      lines.push('basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,digitalSignature');
    } else {
      lines.push('basicConstraints=critical,CA:false', 'keyUsage=critical,digitalSignature', `extendedKeyUsage=${isClient ? 'clientAuth' : 'serverAuth'}`);
      if (!isClient) lines.push(`subjectAltName=${names.map((one) => `${isAddress(one) ? 'IP' : 'DNS'}:${one}`).join(',')}`);
    }
    fs.writeFileSync(extensions, `${lines.join('\n')}\n`);
    openssl('req', '-new', '-config', this.file('ca.cnf'), '-utf8', ...KINDS[kind], '-nodes', '-keyout', key, '-out', request, '-subj', subject);
    const now = Date.now();
    openssl('ca', '-batch', '-notext', '-config', this.file('ca.cnf'), '-utf8', '-in', request, '-out', cert, '-extfile', extensions,
      '-startdate', stamp(now + from * DAY_MS), '-enddate', stamp(now + to * DAY_MS));
    if (this.parent) fs.appendFileSync(cert, this.pem); // the chain, without its root
    return new Pair(cert, key);
  }

  /** An OCSP response of this authority for one of its certificates, in DER. */
  ocsp(pair) {
    const file = pair.cert.replace(/\.pem$/, '.ocsp');
    openssl('ocsp', '-index', this.file('index.txt'), '-CA', this.cert, '-rsigner', this.cert, '-rkey', this.key, '-issuer', this.cert, '-cert', pair.cert, '-ndays', '7', '-respout', file);
    return file;
  }
}

const authorities = new Map();
function authority(name, parent) {
  if (!authorities.has(name)) authorities.set(name, new Authority(name, parent?.()));
  return authorities.get(name);
}

const pki = {
  Pair,
  openssl,
  get ca() { return authority('test root'); },
  get intermediate() { return authority('test intermediate', () => pki.ca); },
  get stranger() { return authority('strange root'); },

  /** What most listeners show. */
  get site() { return pki.ca.issue('site', { names: ['site.example.com', 'localhost', '127.0.0.1', '::1'] }); },
  get rsaSite() { return pki.ca.issue('rsa', { names: ['site.example.com', 'rsa.example.com', 'localhost', '127.0.0.1'], kind: 'rsa' }); },
  /** What most TLS servers behind limpet show; their address is in it. */
  get server() { return pki.ca.issue('server', { names: ['app.internal', '127.0.0.1'] }); },
  client(name = 'alice', options = {}) {
    return pki.ca.issue(name, { isClient: true, ...options });
  },

  /** A folder of a test's own, for files that it replaces. */
  folder(t) {
    const folder = fs.mkdtempSync(path.join(home(), 'own-'));
    fs.chmodSync(folder, 0o755);
    t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
    return folder;
  },

  /** Copies a pair to NAME.pem and NAME.key of a folder, atomically as a good operator would. */
  install(pair, folder, name = 'site') {
    const copy = new Pair(path.join(folder, `${name}.pem`), path.join(folder, `${name}.key`));
    for (const end of ['cert', 'key']) {
      fs.copyFileSync(pair[end], `${copy[end]}.new`);
      fs.renameSync(`${copy[end]}.new`, copy[end]);
    }
    return copy;
  },

  /** A ticket secret in a file. */
  secret(folder, name = 'ticket.key') {
    const file = path.join(folder, name);
    fs.writeFileSync(file, `${crypto.randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
    return file;
  },
};

module.exports = pki;
