'use strict';
// Ports for tests. They lie below the ephemeral range, so that no outgoing connection can take one
// while its owner is stopped for a moment, and each is claimed by a lock file, so that test files
// which run side by side never pick the same.

const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');

const FIRST = 11000;
const LAST = 31999;
const locks = path.join(os.tmpdir(), 'limpet-e2e-ports');
const mine = new Set();
let next = FIRST + Math.floor(Math.random() * (LAST - FIRST));

process.on('exit', () => mine.forEach(releasePort));

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return err.code !== 'ESRCH';
  }
}

function claim(port) {
  const file = path.join(locks, String(port));
  fs.mkdirSync(locks, { recursive: true });
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx' });
      mine.add(port);
      return true;
    } catch (err) {
      if (err.code !== 'EEXIST') throw err;
      const owner = Number(fs.readFileSync(file, { encoding: 'utf8', flag: 'a+' }));
      if (!owner || isAlive(owner)) return false;
      fs.rmSync(file, { force: true });
    }
  }
  return false;
}

function releasePort(port) {
  mine.delete(port);
  fs.rmSync(path.join(locks, String(port)), { force: true });
}

function isFree(port, host) {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once('error', (err) => resolve(err.code === 'EAFNOSUPPORT' || err.code === 'EADDRNOTAVAIL'));
    probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

async function takePort() {
  for (let tries = 0; tries < LAST - FIRST; tries++) {
    const port = next;
    next = next === LAST ? FIRST : next + 1;
    if (!claim(port)) continue;
    if ((await isFree(port, '0.0.0.0')) && (await isFree(port, '::'))) return port;
    releasePort(port);
  }
  throw new Error('no free port below the ephemeral range');
}

module.exports = { takePort, releasePort };
