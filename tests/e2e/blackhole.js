'use strict';
// A listening socket whose queue is full: connects to it get no answer at all, as from a host that
// is gone. A stopped process holds it, so that nobody ever accepts.

const net = require('node:net');
const { spawn } = require('node:child_process');
const { takePort, releasePort } = require('./ports');

const HOLDER = "require('net').createServer().listen({port:+process.argv[1],host:'127.0.0.1',backlog:1},()=>process.stdout.write('up'))";

function connects(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => resolve({ socket, isOpen: false }));
    socket.on('connect', () => resolve({ socket, isOpen: true }));
    setTimeout(() => resolve({ socket, isOpen: false }), 1000); // no answer is what we wait for
  });
}

async function fillBacklog(t) {
  const port = await takePort();
  const holder = spawn(process.execPath, ['-e', HOLDER, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const fillers = [];
  t.after(() => {
    for (const { socket } of fillers) socket.destroy();
    holder.kill('SIGKILL');
    releasePort(port);
  });
  await new Promise((resolve) => { holder.stdout.once('data', resolve); });
  holder.kill('SIGSTOP');
  for (let i = 0; i < 20; i++) {
    fillers.push(await connects(port));
    if (!fillers.at(-1).isOpen) return { port, address: `127.0.0.1:${port}` };
  }
  throw new Error('the queue of the stopped process never filled');
}

module.exports = { fillBacklog };
