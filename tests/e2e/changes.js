'use strict';
// What a reload may change, one thing at a time, there and back. Written for a lab with the listeners
// web (plain http), line (tcp) and secure (TLS with SITE), the pools app and line, and the server s1.

const pki = require('./pki');

const SITE = { certificates: [{ cert: pki.site.cert, key: pki.site.key }] };

const TIMEOUTS = ['handshake', 'head', 'keep_alive', 'body', 'connect', 'response', 'stream_idle', 'half_closed', 'stalled', 'linger'];

/** What a reload changes: to() sets it, back() takes it back; `also` are outcomes besides 200 that are right. */
const changes = {
  'limits.head': { to: (c) => { c.limits = { head: '1KiB' }; }, back: (c) => { delete c.limits; } },
  'limits.headers': { to: (c) => { c.limits = { headers: 3 }; }, back: (c) => { delete c.limits; }, also: [431, 502] },
  'limits.body': { to: (c) => { c.limits = { body: '0KiB' }; }, back: (c) => { delete c.limits; }, also: [413] },
  'limits.stalled': { to: (c) => { c.limits = { stalled: '1KiB' }; }, back: (c) => { delete c.limits; } },
  'limits.memory': { to: (c) => { c.limits = { memory: '1MiB' }; }, back: (c) => { delete c.limits; } },
  'limits.connections': { to: (c) => { c.limits = { connections: 9000 }; }, back: (c) => { delete c.limits; } },
  ...Object.fromEntries(TIMEOUTS.map((name) => [
    `timeouts.${name}`, { to: (c) => { c.timeouts = { [name]: '2h' }; }, back: (c) => { c.timeouts = {}; } },
  ])),
  'timeouts of a listener': { to: (c) => { c.listeners.web.timeouts = { head: '2h', response: '2h' }; }, back: (c) => { delete c.listeners.web.timeouts; } },
  'protocol: http and tcp': { to: (c) => { c.listeners.web.protocol = 'tcp'; }, back: (c) => { delete c.listeners.web.protocol; } },
  'tls and plain': { to: (c) => { delete c.listeners.secure.tls; }, back: (c) => { c.listeners.secure.tls = SITE; }, without: ['tls'] },
  'other certificates': { to: (c) => { c.listeners.secure.tls = { ...SITE, versions: ['1.3'], hsts: '1d' }; }, back: (c) => { c.listeners.secure.tls = SITE; } },
  'client certificates': { to: (c) => { c.listeners.secure.tls = { ...SITE, client_ca: pki.ca.cert }; }, back: (c) => { c.listeners.secure.tls = SITE; }, without: ['tls'] },
  'trusted proxies': { to: (c) => { c.listeners.web.trusted_proxies = ['127.0.0.0/8']; }, back: (c) => { delete c.listeners.web.trusted_proxies; } },
  'a redirect': {
    to: (c) => { c.listeners.web = { bind: c.listeners.web.bind, redirect: 'https' }; },
    back: (c) => { c.listeners.web = { bind: c.listeners.web.bind, pool: 'app' }; }, also: [301, 308],
  },
  'routes for a pool': {
    to: (c) => { c.listeners.web = { bind: c.listeners.web.bind, routes: [{ match: { path: '/cut' }, pool: 'app' }, { pool: 'line', match: { host: 'nowhere' } }, { pool: 'app' }] }; },
    back: (c) => { c.listeners.web = { bind: c.listeners.web.bind, pool: 'app' }; },
  },
  'the name of a listener': {
    to: (c) => { c.listeners.other = c.listeners.web; delete c.listeners.web; },
    back: (c) => { c.listeners.web = c.listeners.other; delete c.listeners.other; },
  },
  'the pool of a listener': { to: (c) => { c.pools.next = c.pools.app; c.listeners.web.pool = 'next'; }, back: (c) => { c.listeners.web.pool = 'app'; delete c.pools.next; } },
  'balance, hash, retries, keep_alive': {
    to: (c) => Object.assign(c.pools.app, { balance: 'hash', hash: { key: ['header:User-Agent'] }, retries: 0, keep_alive: { idle: 0, timeout: '1s' } }),
    back: (c) => { for (const key of ['balance', 'hash', 'retries', 'keep_alive']) delete c.pools.app[key]; },
  },
  'more servers': { to: (c) => { c.pools.app.servers.again = { address: c.pools.app.servers.s1, weight: 1, id: 'again' }; }, back: (c) => { delete c.pools.app.servers.again; } },
  'log.access': { to: (c) => { c.log = { access: { to: 'off' } }; }, back: (c) => { c.log = { access: { format: 'text', query: ['a'] } }; } },
};

/** Random settings for all that has a number, and some of the changes above; dice: see stress.test.js. */
function changeAtRandom(config, { oneOf, chance, upTo }) {
  const duration = () => `${oneOf([1, 20, 100, 1000, 60000, 3600000])}ms`;
  const some = (names, value) => Object.fromEntries(names.filter(() => chance(0.3)).map((name) => [name, value(name)]));
  config.timeouts = some(TIMEOUTS, duration);
  config.limits = some(['head', 'headers', 'body', 'stalled', 'memory', 'connections'], (name) => oneOf({
    head: ['1KiB', '2KiB', '16KiB'], headers: [1, 5, 100, 256], body: ['0KiB', '1KiB', '64KiB', 'off'],
    stalled: ['1KiB', '64KiB', '256KiB'], memory: ['64KiB', '1MiB', '64MiB'], connections: [5, 100, 9000],
  }[name]));
  Object.assign(config.pools.app, {
    timeouts: some(TIMEOUTS.filter((name) => !['handshake', 'head', 'keep_alive'].includes(name)), duration),
    keep_alive: { idle: upTo(3), timeout: duration() }, retries: upTo(4), balance: oneOf(['hash', 'round_robin', 'least_connections']),
    check: oneOf([{ type: 'off' }, { type: 'tcp', interval: '20ms' }, { type: 'http', interval: '20ms', timeout: '50ms', expect: [404] }, { type: 'websocket', ping: true, interval: '10ms' }]),
    drain: { deadline: duration(), spread: `${upTo(101)}%` },
  });
  for (const [name, { to, back }] of Object.entries(changes)) {
    if (/^(limits|timeouts)/.test(name) || /name of a listener|pool of a listener|balance|log/.test(name)) continue;
    back(config);
    if (chance(0.15)) to(config);
  }
}

module.exports = { SITE, changes, changeAtRandom };
