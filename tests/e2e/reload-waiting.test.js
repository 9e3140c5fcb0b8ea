'use strict';
// What the configuration page calls "at once" holds for those who wait already: a reload that makes
// them wait less ends their wait, one that makes them wait longer prolongs it.

const { describe, test } = require('node:test');
const { Lab, END, assert, eventually } = require('./lab');
const { fillBacklog } = require('./blackhole');
const pki = require('./pki');

const LONG = '1h';
const SHORT = '150ms';
const SITE = { certificates: [{ cert: pki.site.cert, key: pki.site.key }] };

/** Sets a timeout at a level of the file. */
const AT = {
  top: (config, timeouts) => { config.timeouts = timeouts; },
  listener: (config, timeouts) => { config.listeners.web.timeouts = timeouts; },
  pool: (config, timeouts) => { config.pools.app.timeouts = timeouts; },
  route: (config, timeouts) => {
    delete config.listeners.web.pool;
    config.listeners.web.routes = [{ pool: 'app', timeouts }];
  },
};

/** Waits for the server of a lab to have been asked. */
const isAsked = (lab, name = 's1') => lab.server(name).until(() => lab.server(name).arrivals.some((one) => one.size > 0), 'the server to be asked');

/** Who waits, by the timeout that is waited by: begin() gives what to look at, ends() that it is over. */
const waiting = {
  head: {
    levels: ['top', 'listener'],
    begin: (lab) => lab.raw('GET /half HTTP/1.1\r\nHost: a\r\nX-'),
    ends: async (lab, client) => assert.equal((await client.response()).status, 408),
    goesOn: async (lab, client) => {
      await client.write('Y: z\r\n\r\n');
      assert.equal((await client.response()).status, 200);
    },
  },
  keep_alive: {
    levels: ['top', 'listener'],
    begin: async (lab) => {
      const client = await lab.connect();
      await client.request('/first');
      return client;
    },
    ends: (lab, client) => client.isClosed(),
    goesOn: async (lab, client) => assert.equal((await client.request('/second')).status, 200),
  },
  handshake: {
    levels: ['top', 'listener'],
    options: { listeners: { web: { tls: SITE } } },
    begin: async (lab) => {
      const client = await lab.connect({ tls: false });
      await client.write(Buffer.from([22, 3, 1, 1, 0, 1, 0])); // the begin of a ClientHello
      return client;
    },
    ends: (lab, client) => client.isClosed(),
  },
  body: {
    levels: ['top', 'listener', 'pool', 'route'],
    begin: async (lab) => {
      const client = await lab.raw('POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab');
      await isAsked(lab);
      return client;
    },
    ends: async (lab, client) => assert.equal((await client.response()).status, 408),
    goesOn: async (lab, client) => {
      await client.write('cd');
      assert.equal((await client.response()).text, 'abcd');
    },
  },
  response: {
    levels: ['top', 'listener', 'pool', 'route'],
    options: { servers: { s1: { handle: async (request, answer, origin) => {
      await origin.until(() => origin.mayAnswer || answer.socket.destroyed, 'leave to answer', 60000);
      await answer.respond(200, {}, 'late');
    } } } },
    begin: async (lab) => {
      const client = await lab.raw('GET /waits HTTP/1.1\r\nHost: a\r\n\r\n');
      await isAsked(lab);
      return client;
    },
    ends: async (lab, client) => {
      assert.equal((await client.response()).status, 504);
      lab.server('s1').mayAnswer = true;
      lab.server('s1').changed();
    },
    goesOn: async (lab, client) => {
      lab.server('s1').mayAnswer = true;
      lab.server('s1').changed();
      assert.equal((await client.response()).text, 'late');
    },
  },
  stream_idle: {
    levels: ['top', 'listener', 'pool', 'route'],
    begin: (lab) => lab.websocket('/ws'),
    ends: async (lab, ws) => {
      await ws.until(() => ws.closed, 'the tunnel to end');
      await lab.logs({ event: 'end', end: END.streamIdle });
    },
    goesOn: (lab, ws) => ws.echoes('still here'),
  },
  half_closed: {
    levels: ['top', 'listener', 'pool', 'route'],
    options: { listeners: { web: { protocol: 'tcp' } }, servers: { s1: { kind: 'tcp', mute: true } } },
    begin: async (lab) => {
      const client = await lab.raw('bye');
      await isAsked(lab);
      client.end();
      await eventually(() => lab.server('s1').arrivals[0].isEnded, 'the FIN to arrive');
      return client;
    },
    ends: async (lab, client) => {
      await client.isClosed();
      await lab.logs({ event: 'end', end: END.halfClosed });
    },
  },
};

describe('a shorter timeout ends the wait of those who wait already', { concurrency: 4 }, () => {
  for (const [name, wait] of Object.entries(waiting)) {
    for (const level of wait.levels) {
      test(`${name}, at the ${level}`, async (t) => {
        const lab = await Lab.start(t, { ...wait.options, timeouts: {} });
        await lab.reload((config) => AT[level](config, { [name]: LONG }));
        const waiter = await wait.begin(lab);
        assert.ok((await lab.reload((config) => AT[level](config, { [name]: SHORT }))).isDone);
        await wait.ends(lab, waiter);
      });
    }
  }

  test('connect, at all levels', async (t) => {
    const hole = await fillBacklog(t);
    for (const level of Object.keys(AT)) {
      const lab = await Lab.start(t, { pools: { app: { servers: { hole: hole.address } } } });
      await lab.reload((config) => AT[level](config, { connect: LONG }));
      const client = await lab.raw('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
      await lab.reload((config) => AT[level](config, { connect: SHORT }));
      assert.equal((await client.response()).status, 504);
    }
  });

  test('stalled, for a client that does not read', async (t) => {
    const lab = await Lab.start(t, { timeouts: { stalled: LONG }, servers: { s1: { handle: async (request, answer) => {
      await answer.head(200, { 'Content-Length': 256 << 20 });
      for (let i = 0; i < 256 && !answer.socket.destroyed; i++) await Promise.race([answer.write(Buffer.alloc(1 << 20)), answer.isGone]);
    } } } });
    const client = await lab.connect();
    await client.send('/much');
    await client.responseHead();
    client.pause();
    await lab.reload((config) => { config.timeouts = { stalled: SHORT }; });
    await lab.logs({ path: '/much', end: END.slowPeer });
  });

  test('linger, for a client that says no FIN', async (t) => {
    const lab = await Lab.start(t, { timeouts: { linger: LONG } });
    const client = await lab.connect();
    client.keepsOpen = true;
    await client.send('/bad path');
    assert.equal((await client.response()).status, 400);
    await client.isClosed();
    await lab.reload((config) => { config.timeouts = { linger: SHORT }; });
    await eventually(() => client.write('x').then(() => client.error !== undefined), 'the connection to go');
  });

  test('pools.NAME.keep_alive, for connections that are idle', async (t) => {
    const lab = await Lab.start(t, { pools: { app: { keep_alive: { timeout: LONG } } } });
    await lab.request('/');
    await lab.reload((config) => { config.pools.app.keep_alive.timeout = SHORT; });
    await eventually(() => lab.server('s1').arrivals[0].isEnded, 'the idle connection to end');
    await lab.request('/');
    await lab.reload((config) => { config.pools.app.keep_alive = { timeout: LONG, idle: 0 }; });
    await eventually(() => lab.server('s1').arrivals.every((one) => one.isEnded), 'idle connections that are too many to end');
  });

  test('check.interval and check.timeout', async (t) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: { kind: 'silent' } }, pools: {
      app: { servers: ['s1'], check: { interval: LONG, fall: 2 } },
      slow: { servers: ['s2'], check: { type: 'http', interval: '50ms', timeout: '300ms', fall: 1 } },
    }, listeners: { web: { pool: 'app' }, other: { pool: 'slow' } } });
    await lab.server('s1').stop();
    await lab.reload((config) => {
      config.pools.app.check.interval = '50ms';
      config.pools.slow.check.timeout = LONG;
    });
    await lab.says(/server s1 of pool app is down/);
    const from = lab.limpet.stderr.length;
    await lab.reload((config) => {
      config.pools.slow.check.type = 'tcp'; // of the next check, if the one under way can ever end
      config.pools.slow.check.timeout = '50ms';
      config.pools.slow.check.rise = 1;
    });
    await lab.says(/server s2 of pool slow is up/, from);
  });
});

describe('a longer timeout prolongs the wait of those who wait already', { concurrency: 4 }, () => {
  for (const [name, wait] of Object.entries(waiting).filter(([, one]) => one.goesOn)) {
    test(name, async (t) => {
      const lab = await Lab.start(t, { ...wait.options, timeouts: { [name]: '3s' } });
      const began = Date.now();
      const waiter = await wait.begin(lab);
      await lab.reload((config) => { config.timeouts = { [name]: LONG }; });
      await eventually(() => Date.now() - began > 3500, 'the old time to be over');
      await wait.goesOn(lab, waiter);
    });
  }
});

describe('the drain of a removed server follows its pool', { concurrency: 2 }, () => {
  const begin = async (t, drain) => {
    const lab = await Lab.start(t, { servers: { s1: {}, s2: {} }, pools: { app: { balance: 'round_robin', servers: ['s1', 's2'], drain } } });
    const all = await Promise.all(Array.from({ length: 12 }, () => lab.websocket('/ws')));
    await lab.reload((config) => { delete config.pools.app.servers.s1; });
    const gone = all.filter((ws) => ws.server === 's1');
    assert.ok(gone.length > 0 && gone.length < all.length);
    return { lab, gone, kept: all.filter((ws) => ws.server !== 's1') };
  };

  test('a deadline that becomes shorter closes them in time, each in its language', async (t) => {
    const { lab, gone, kept } = await begin(t, { deadline: LONG });
    await lab.reload((config) => { config.pools.app.drain = { deadline: '1s' }; });
    await Promise.all(gone.map((ws) => ws.isClosedWith(1001)));
    for (const ws of kept) await ws.echoes('kept');
  });

  test('also one that is over already', async (t) => {
    const { lab, gone } = await begin(t, { deadline: LONG });
    await lab.reload((config) => { config.pools.app.drain = { deadline: '1ms' }; });
    await Promise.all(gone.map((ws) => ws.isClosedWith(1001)));
  });

  test('a deadline that becomes longer leaves them their time', async (t) => {
    const { lab, gone } = await begin(t, { deadline: '4s', spread: '100%' });
    const began = Date.now();
    await lab.reload((config) => { config.pools.app.drain = { deadline: '30d', spread: '100%' }; });
    const open = gone.filter((ws) => ws.isOpen);
    await eventually(() => Date.now() - began > 4500, 'the old deadline to be over');
    for (const ws of open) await ws.echoes('still here');
  });

  test('a server that is listed again leaves them alone, and drains anew when it goes again', async (t) => {
    const { lab, gone } = await begin(t, { deadline: LONG });
    const { address } = lab.server('s1');
    await lab.reload((config) => { config.pools.app.servers.s1 = address; });
    await lab.reload((config) => { config.pools.app.drain = { deadline: '1s' }; });
    for (const ws of gone) await ws.echoes('listed again');
    await lab.reload((config) => { delete config.pools.app.servers.s1; });
    await Promise.all(gone.map((ws) => ws.isClosedWith(1001)));
  });
});
