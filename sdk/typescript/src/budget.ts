/** Milliseconds over which a budget counts. */
const WINDOW = 10_000;
const SLICE = 1_000;

interface Slice {
  number: number;
  requests: number;
  spent: number;
}

/**
 * What retries are paid from: within any ten seconds at most `max(ratio * requests, floor * 10)` further calls are made,
 * so that the clients of a server in need do not make it worse.
 *
 * Source: gRPC proposal A6; Finagle's RetryBudget.
 */
export class Budget {
  readonly #ratio: number;
  readonly #floor: number;
  #slices: Slice[] = [];

  /**
   * @param ratio further calls as a share of requests, in [0, 1]
   * @param floor further calls a second that are allowed however few requests there are, at least 0
   */
  constructor(ratio = 0.1, floor = 0.5) {
    this.#ratio = ratio;
    this.#floor = (floor * WINDOW) / 1000;
  }

  /** A request begins, with its first call. `now` is in milliseconds of a steady clock. */
  noteRequest(now: number): void {
    this.#slice(now).requests += 1;
  }

  /** Pays for one further call; false means: do without it. */
  spend(now: number): boolean {
    const newest = this.#slice(now);
    const requests = this.#slices.reduce((sum, slice) => sum + slice.requests, 0);
    const spent = this.#slices.reduce((sum, slice) => sum + slice.spent, 0);
    if (Math.max(this.#ratio * requests, this.#floor) - spent < 1) return false;
    newest.spent += 1;
    return true;
  }

  /** The slice of `now`; those that are older than the window, or later than a clock that stepped back, are forgotten. */
  #slice(now: number): Slice {
    const number = Math.floor(now / SLICE);
    const slices = this.#slices.filter((slice) => slice.number > number - WINDOW / SLICE && slice.number <= number);
    if (slices.at(-1)?.number !== number) slices.push({ number, requests: 0, spent: 0 });
    this.#slices = slices;
    return slices.at(-1) as Slice;
  }
}
