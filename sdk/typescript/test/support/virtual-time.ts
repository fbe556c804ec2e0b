// Timers and clocks that stand still until everybody waits, and then jump to the next timer: hours pass in milliseconds.

interface Timer {
  at: number;
  run: () => void;
}

const realImmediate = setImmediate;
/** When virtual time begins, as a date. */
const EPOCH = Date.UTC(2030, 0, 1);

export class VirtualTime {
  /** Milliseconds since the beginning. */
  now = 0;
  #timers = new Map<number, Timer>();
  #last = 0;
  #chance: number;

  /** `seed` makes what is random the same in every run. */
  constructor(seed: number) {
    this.#chance = seed >>> 0;
  }

  /** Runs `work` with the global timers and clocks replaced, until its promise is settled. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const real = {
      setTimeout: globalThis.setTimeout,
      clearTimeout: globalThis.clearTimeout,
      date: Date.now,
      clock: performance.now,
      random: Math.random,
    };
    const replace = { setTimeout: this.setTimeout, clearTimeout: this.clearTimeout };
    Object.assign(globalThis, replace);
    Date.now = () => EPOCH + this.now;
    performance.now = () => this.now;
    Math.random = () => {
      this.#chance = (Math.imul(this.#chance, 1664525) + 1013904223) >>> 0;
      return this.#chance / 2 ** 32;
    };
    try {
      return await this.#drive(work());
    } finally {
      Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
      Date.now = real.date;
      performance.now = real.clock;
      Math.random = real.random;
    }
  }

  readonly setTimeout = (run: () => void, ms = 0): number => {
    this.#last += 1;
    this.#timers.set(this.#last, { at: this.now + Math.max(0, ms), run });
    return this.#last;
  };

  readonly clearTimeout = (id: number | undefined): void => {
    if (id !== undefined) this.#timers.delete(id);
  };

  async #drive<T>(work: Promise<T>): Promise<T> {
    let settled = false;
    const settle = () => {
      settled = true;
    };
    work.then(settle, settle);
    for (;;) {
      // Everything that can go on without time passing goes on first.
      for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => realImmediate(resolve));
      if (settled) return await work;
      const next = [...this.#timers].sort(([a, x], [b, y]) => x.at - y.at || a - b)[0];
      if (next === undefined) throw new Error("everybody waits, and for nothing");
      this.#timers.delete(next[0]);
      this.now = Math.max(this.now, next[1].at);
      next[1].run();
    }
  }
}
