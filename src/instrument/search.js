/** Refinement, step by step: the residual falls, and each step can be seen and heard; what is found can be kept. */

import { colourOf, find, say } from "../pages/dom.js";
import { formatNumber } from "../pages/formats.js";
import { surface } from "../pages/pictures.js";
import { keep } from "./keep.js";

export class Search {
  #root;
  #data;
  #hands;
  #steps = [];

  /**
   * @param {HTMLElement} root The panel.
   * @param {object} data The page's.
   * @param {object} hands `begin()`, `stop()`, `show(step)` of the step that is chosen, `take(value)`.
   */
  constructor(root, data, hands) {
    this.#root = root;
    this.#data = data;
    this.#hands = hands;
    root.hidden = false;
    this.running = false;
    const on = (id, kind, act) => find(id, root).addEventListener(kind, act);
    on("#refine", "click", () => (this.running ? this.#stop() : this.#begin()));
    on("#step", "input", ({ target }) => this.#choose(Number(target.value)));
    on("#take", "click", () => hands.take(this.chosen.value));
    on("#keep", "click", () => this.#keep());
    this.#draw();
  }

  /** The step that is shown; null: there is none. */
  get chosen() {
    return this.#steps[Number(find("#step", this.#root).value)] ?? null;
  }

  #begin() {
    this.clear();
    this.running = true;
    this.#hands.begin();
    this.#draw();
  }

  #stop() {
    this.running = false;
    this.#hands.stop();
    this.#draw();
  }

  /** Forget it: another sound is heard. */
  clear() {
    this.running = false;
    if (!this.#steps.length) return this.#draw();
    this.#steps = [];
    this.#hands.show(null);
    return this.#draw();
  }

  /** Take a step of the server's. */
  add(message) {
    this.#steps.push(message);
    this.running = message.type === "refine";
    const slider = find("#step", this.#root);
    slider.max = this.#steps.length - 1;
    this.#choose(this.#steps.length - 1);
    if (!this.running) say(`The search ended: ${message.why}`);
  }

  #choose(number) {
    find("#step", this.#root).value = number;
    this.#hands.show(this.#steps[number]);
    this.#draw();
  }

  #draw() {
    const { chosen } = this;
    const last = this.#steps.at(-1);
    find("#refine", this.#root).textContent = this.running ? "Stop" : "Refine";
    for (const id of ["#step", "#take", "#keep", "#residuals"]) find(id, this.#root).hidden = !chosen;
    const hint = "Search, from the answer on, for the sound whose picture is nearest.";
    const parts = chosen ? [`residual ${formatNumber(chosen.residual)}`] : [this.running ? "Searching …" : hint];
    if (last?.type === "refined") parts.push(last.why, `${last.n_renders} renders`);
    find("#search-about", this.#root).textContent = parts.join(", ");
    if (chosen) this.#plot();
  }

  /** The residual of every step on a log scale, down to 1, which rounding explains. */
  #plot() {
    const canvas = find("#residuals", this.#root);
    const { pen, width, height } = surface(canvas);
    const logs = this.#steps.map(({ residual }) => Math.log10(Math.max(residual, 0.1)));
    const [low, high] = [Math.min(0, ...logs), Math.max(1, ...logs)];
    const x = (i) => 6 + (i / Math.max(1, this.#steps.length - 1)) * (width - 12);
    const y = (log) => 6 + (1 - (log - low) / (high - low)) * (height - 12);
    pen.fillStyle = colourOf("--line");
    pen.fillRect(0, y(0), width, 1);
    pen.strokeStyle = colourOf("--side-3");
    pen.lineWidth = 2;
    pen.beginPath();
    logs.forEach((log, i) => pen[i ? "lineTo" : "moveTo"](x(i), y(log)));
    pen.stroke();
    pen.fillStyle = colourOf("--side-3");
    const at = this.#steps.indexOf(this.chosen);
    pen.beginPath();
    pen.arc(x(at), y(logs[at]), 4, 0, 2 * Math.PI);
    pen.fill();
    canvas.setAttribute("aria-label", `Residual of ${this.#steps.length} steps, now ${formatNumber(this.chosen.residual)}`);
  }

  #keep() {
    const { value, residual, arrays } = this.chosen;
    keep(this.#data, "found", value, arrays.waveform, { residual });
    say("Kept as found.wav and found.json");
  }
}
