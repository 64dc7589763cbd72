/** Columns of numbers of all records of a split: how often each class occurs, filters, and orders. */

const MOST_BINS = 48; // of a column without classes

/** Filters and orders of the records of one split. */
export class Table {
  #descriptions;
  #load;
  #columns = new Map(); // number to a promise of a column
  #filters = new Map(); // number of a column to which of its bins pass
  #failing = new Map(); // number of a column to which records fail its filter
  #fails; // filters that each record fails
  #orders = new Map(); // of one column at a time

  /**
   * @param {object[]} descriptions Of the columns.
   * @param {number} n Records.
   * @param {Function} load Makes a promise of a column's numbers.
   */
  constructor(descriptions, n, load) {
    this.#descriptions = descriptions;
    this.#load = load;
    this.n = n;
    this.#fails = new Uint8Array(n);
  }

  /** A column: its values, its grid, and the bin of each record; the last bin has those where it does not act. */
  column(number) {
    if (!this.#columns.has(number)) {
      const made = this.#load(number).then((values) => binned(this.#descriptions[number], values));
      made.catch(() => this.#columns.delete(number)); // it is asked for again
      this.#columns.set(number, made);
    }
    return this.#columns.get(number);
  }

  /** Bins of a column that pass, 1 or 0 each; null for all. */
  filterOf = (number) => this.#filters.get(number) ?? null;

  get filtered() {
    return this.#filters.size > 0;
  }

  /** Let only some bins of a column pass; null: all. */
  async filter(number, passes) {
    const { bins } = await this.column(number);
    const before = this.#failing.get(number);
    const now = passes && Uint8Array.from(bins, (bin) => 1 - passes[bin]);
    for (let i = 0; i < this.n; i++) this.#fails[i] += (now ? now[i] : 0) - (before ? before[i] : 0);
    for (const [map, entry] of [[this.#filters, passes], [this.#failing, now]]) {
      if (entry) map.set(number, entry);
      else map.delete(number);
    }
  }

  /** Drop all filters. */
  clear() {
    this.#filters.clear();
    this.#failing.clear();
    this.#fails.fill(0);
  }

  /** Records in each bin of a column that pass the filters of all other columns, and all there are. */
  async counts(number) {
    const { bins, n } = await this.column(number);
    const own = this.#failing.get(number);
    const [passing, all] = [new Uint32Array(n + 1), new Uint32Array(n + 1)];
    for (let i = 0; i < this.n; i++) {
      all[bins[i]]++;
      if (this.#fails[i] === (own ? own[i] : 0)) passing[bins[i]]++;
    }
    return { passing, all };
  }

  /** Numbers of the records that pass, by a column (null: by number), those without a value last. */
  async order(number, falling) {
    const key = `${number} ${falling}`;
    if (!this.#orders.has(key)) {
      const values = number === null ? null : (await this.column(number)).values;
      this.#orders.clear();
      this.#orders.set(key, sorted(this.n, values, falling));
    }
    const fails = this.#fails;
    return this.filtered ? this.#orders.get(key).filter((record) => !fails[record]) : this.#orders.get(key);
  }
}

/** Numbers below `n` by their values (null: by number); equal ones rise, those without a value come last. */
function sorted(n, values, falling) {
  const numbers = Uint32Array.from({ length: n }, (_, i) => i);
  if (!values) return falling ? numbers.reverse() : numbers;
  const keys = Float64Array.from(values, (value) => (Number.isNaN(value) ? Infinity : falling ? -value : value));
  return numbers.sort((a, b) => keys[a] - keys[b] || a - b);
}

/** A column with the bin of each record: its class where it has classes, else one of equal widths. */
function binned({ grid }, values) {
  const { min, step, n } = grid ?? evenly(values);
  const bins = Uint16Array.from(values, (value) =>
    Number.isNaN(value) ? n : clamp(Math.round((value - min) / step), 0, n - 1));
  return { values, bins, min, step, n, hasInactive: bins.includes(n) };
}

function evenly(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (!(high > low)) return { min: low, step: 1, n: 2 };
  return { min: low, step: (high - low) / (MOST_BINS - 1), n: MOST_BINS };
}

/** Some bins as text, `3-7,9`, and back. */
export function writeBins(passes) {
  const runs = [];
  for (let bin = 0; bin < passes.length; bin++) {
    if (!passes[bin]) continue;
    const first = bin;
    while (passes[bin + 1]) bin++;
    runs.push(first === bin ? `${first}` : `${first}-${bin}`);
  }
  return runs.join(",");
}

export function readBins(text, n) {
  const passes = new Uint8Array(n + 1);
  for (const run of text.split(",")) {
    const [first, last = first] = run.split("-").map(Number);
    if (Number.isInteger(first) && Number.isInteger(last)) passes.fill(1, Math.max(0, first), last + 1);
  }
  return passes;
}
