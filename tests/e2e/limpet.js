'use strict';
// The program under test as a process: what it says, what it logs, how it ends.

const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Watched } = require('./wait');

const root = path.join(__dirname, '..', '..');
const binary = path.resolve(process.env.LIMPET_BIN || path.join(root, 'build', 'debug', 'limpet'));
const CLEAN = /^(limpet: )?debug: buffers_out 0, ops_inflight 0, connections 0, descriptors 0, stale 0$/;
const SANITIZER = /Sanitizer|runtime error:|LP_ASSERT|assertion failed/i;

const environment = {
  ...process.env,
  ASAN_OPTIONS: process.env.ASAN_OPTIONS || 'exitcode=99:detect_leaks=1:detect_stack_use_after_return=0',
  UBSAN_OPTIONS: process.env.UBSAN_OPTIONS || 'print_stacktrace=1',
  TSAN_OPTIONS: process.env.TSAN_OPTIONS || 'exitcode=66:halt_on_error=0',
};

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

class Limpet extends Watched {
  /** wrapper: a command that executes limpet, for what it must be started under. */
  constructor(args, { wrapper = [], cwd, env = {} } = {}) {
    super();
    this.stderr = [];
    this.stdout = [];
    this.log = []; // access-log lines that are JSON
    const [command, ...rest] = [...wrapper, binary, ...args];
    this.child = spawn(command, rest, { cwd, env: { ...environment, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    running.add(this.child);
    this.#lines(this.child.stderr, (line) => this.stderr.push(line));
    this.#lines(this.child.stdout, (line) => this.#logged(line));
    this.child.on('error', (err) => {
      this.failure = err;
      this.ended ??= { code: null, signal: String(err) };
      this.changed();
    });
    this.child.on('close', (code, signal) => {
      running.delete(this.child);
      this.ended = { code, signal };
      this.changed();
    });
  }

  get pid() { return this.child.pid; }

  #lines(stream, take) {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      lines.forEach(take);
      this.changed();
    });
    stream.on('end', () => { if (rest) take(rest); });
  }

  #logged(line) {
    this.stdout.push(line);
    if (line.startsWith('{')) this.log.push(JSON.parse(line));
  }

  /** The first line on stderr that matches, past or future; from: lines before that do not count. */
  says(pattern, from = 0) {
    return this.until(() => {
      const line = this.stderr.slice(from).find((one) => pattern.test(one));
      if (line === undefined && this.failure) throw this.failure;
      if (line === undefined && this.ended) throw new Error(`limpet ended (${JSON.stringify(this.ended)}) and never said ${pattern}:\n${this.complaint()}`);
      return line;
    }, () => `stderr to match ${pattern}:\n${this.complaint()}`);
  }

  complaint() {
    return this.stderr.slice(-40).join('\n');
  }

  /** A line of the access log with all of these fields (RegExp, value or function). */
  logs(match) {
    const fits = (line) => Object.entries(match).every(([key, wanted]) => {
      if (wanted instanceof RegExp) return wanted.test(String(line[key]));
      return typeof wanted === 'function' ? wanted(line[key]) : line[key] === wanted;
    });
    return this.until(() => this.log.find(fits), () => `a log line with ${JSON.stringify(match)}; the last are:\n${this.stdout.slice(-12).join('\n')}`);
  }

  signal(name) { this.child.kill(name); }

  /** The kernel's letter for what the process does: R, S, T (stopped), Z, ... */
  state() { return /\) (\w)/.exec(fs.readFileSync(`/proc/${this.pid}/stat`, 'latin1'))[1]; }

  async exits() {
    return this.until(() => this.ended, () => `limpet to exit:\n${this.complaint()}`);
  }

  /** Kernel worker threads of io_uring: the data path must have none. */
  kernelWorkers() {
    try {
      return fs.readdirSync(`/proc/${this.pid}/task`)
        .map((task) => fs.readFileSync(`/proc/${this.pid}/task/${task}/comm`, 'utf8').trim())
        .filter((name) => name.startsWith('iou-wrk'));
    } catch {
      return []; // gone already
    }
  }

  descriptors() { return fs.readdirSync(`/proc/${this.pid}/fd`).length; }

  /** Resident memory in bytes. */
  memory() {
    const match = /VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${this.pid}/status`, 'utf8'));
    return Number(match[1]) * 1024;
  }

  /** Fails unless the process ended by itself, with everything given back and no sanitizer report. */
  assertClean() {
    const report = this.stderr.findIndex((line) => SANITIZER.test(line));
    if (report >= 0) throw new Error(`a sanitizer report:\n${this.stderr.slice(report, report + 60).join('\n')}`);
    const { code, signal } = this.ended;
    if (signal || (code !== 0 && code !== 1)) throw new Error(`limpet ended with ${signal ?? code}:\n${this.complaint()}`);
    if (process.env.LIMPET_E2E_RELEASE) return; // a release build does not count
    const last = this.stderr.filter((line) => line !== '').at(-1) ?? '';
    if (!CLEAN.test(last)) throw new Error(`not everything was given back: ${JSON.stringify(last)}\n${this.complaint()}`);
  }
}

/** Runs limpet with arguments until it exits. */
async function runLimpet(args, options) {
  const limpet = new Limpet(args, options);
  const { code, signal } = await limpet.exits();
  return { code, signal, stdout: limpet.stdout.join('\n'), stderr: limpet.stderr.join('\n') };
}

module.exports = { Limpet, runLimpet, binary, environment };
