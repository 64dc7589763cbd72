/** A blind test of whether two sounds can be told apart: X is one of them, drawn anew in each trial. */

/** Probability of `right` or more right answers out of `trials` by guessing, exact. */
export function chanceOf(right, trials) {
  let [term, sum] = [2 ** -trials, 0]; // term: binomial of k = trials, then down to `right`
  for (let k = trials; k >= right; k--) {
    sum += term;
    term *= k / (trials - k + 1);
  }
  return Math.min(1, sum);
}

/** A test of some trials; it keeps what X was to itself until the last answer. */
export class BlindTest {
  #isA = false;
  #right = 0;

  constructor(trials) {
    this.trials = trials;
    this.answered = 0;
    this.#draw();
  }

  get finished() {
    return this.answered === this.trials;
  }

  /** Which of both sounds, 0 or 1, is heard under a name: A, B or X. */
  sideOf(name) {
    return name === "X" ? Number(!this.#isA) : Number(name === "B");
  }

  /** Take the answer that X is A, or that it is B, and draw the next one. */
  answer(name) {
    if (this.finished) return;
    this.#right += Number((name === "A") === this.#isA);
    this.answered += 1;
    this.#draw();
  }

  /** End the test with the trials that were answered. */
  stop() {
    this.trials = this.answered;
  }

  /** Right answers, trials, and the probability of as many by guessing; null before the end. */
  get result() {
    if (!this.finished || !this.trials) return null;
    return { right: this.#right, trials: this.trials, chance: chanceOf(this.#right, this.trials) };
  }

  #draw() {
    this.#isA = crypto.getRandomValues(new Uint8Array(1))[0] < 128;
  }
}
