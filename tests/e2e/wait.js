'use strict';
// Waiting for things that happen, never for a number of milliseconds: whoever changes something
// says so with changed(), whoever waits gives a question that is asked again after each change.
// The only clock is the bound after which a test fails instead of hanging. It is far beyond what the
// busiest machine needs: a test asserts what limpet does, never that the machine was idle. So what must
// not happen in its time waits for longer than the bound, and what must happen has no time at all.

const BOUND_MS = Number(process.env.LIMPET_E2E_BOUND_MS || 90000);

class Watched {
  #waiters = new Set();

  changed() {
    for (const ask of [...this.#waiters]) ask();
  }

  /** Resolves with the first truthy answer of question(); fails after the bound, saying what. */
  until(question, what, boundMs = BOUND_MS) {
    const failure = new Error(); // made here, so that its stack names the waiting test
    return new Promise((resolve, reject) => {
      let timer;
      const end = (settle, value) => {
        clearTimeout(timer);
        this.#waiters.delete(ask);
        settle(value);
      };
      const ask = () => {
        try {
          const answer = question();
          if (answer) end(resolve, answer);
        } catch (err) {
          end(reject, err);
        }
      };
      this.#waiters.add(ask);
      timer = setTimeout(() => {
        const text = typeof what === 'function' ? what() : what;
        failure.message = `waited ${boundMs} ms in vain: ${text}`;
        end(reject, failure);
      }, boundMs);
      ask();
    });
  }
}

/** For what cannot tell us that it changed (the kernel, another process): asks until it is true. */
async function eventually(question, what, boundMs = BOUND_MS) {
  const deadline = Date.now() + boundMs;
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`waited ${boundMs} ms in vain: ${typeof what === 'function' ? what() : what}`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}

/** For what is about time itself: one good try of some is enough, since a defect shows in each and a busy
 * machine does not. attempt() gives what is wrong, or nothing. */
async function atLeastOnce(attempt, tries = 10) {
  let wrong;
  for (let i = 0; i < tries; i++) {
    wrong = await attempt();
    if (!wrong) return;
  }
  throw new Error(`${tries} times in a row: ${wrong}`);
}

module.exports = { Watched, eventually, atLeastOnce, BOUND_MS };
