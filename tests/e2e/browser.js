'use strict';
// Headless Chromium that trusts the root of the tests and finds every *.example.com on this machine.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { chromium } = require('playwright-core');
const { BOUND_MS } = require('./wait');
const pki = require('./pki');

function executable() {
  const found = ['chromium', 'chromium-browser', 'google-chrome'].flatMap((name) => process.env.PATH.split(':').map((folder) => path.join(folder, name))).find((file) => fs.existsSync(file));
  if (!found) throw new Error('no chromium in PATH');
  return found;
}

/** A page; browser and profile end with the test. */
async function openPage(t) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'limpet-browser-'));
  const store = path.join(home, '.pki', 'nssdb');
  fs.mkdirSync(store, { recursive: true });
  execFileSync('certutil', ['-d', `sql:${store}`, '-N', '--empty-password']);
  execFileSync('certutil', ['-d', `sql:${store}`, '-A', '-n', 'test root', '-t', 'C,,', '-i', pki.ca.cert]);
  const browser = await chromium.launch({
    executablePath: executable(), env: { ...process.env, HOME: home },
    timeout: BOUND_MS, args: ['--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP *.example.com 127.0.0.1'],
  });
  t.after(async () => {
    await browser.close();
    fs.rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(BOUND_MS);
  return page;
}

module.exports = { openPage };
