/** What the page is set to, its history, and the address that keeps it. */

import { clamp } from "../pages/formats.js";
import { placed, within } from "./space.js";

const MOST_STEPS = 200; // of the history
const DIGITS = 6; // of a value in the address
const TEST = "~test";

export class State {
  #parameters;
  #switches;
  #past = [];
  #future = [];
  #settled; // as the last whole step left it

  /** @param {object} data The page's. */
  constructor({ parameters, perturbations, n_test }) {
    this.#parameters = parameters;
    this.#switches = perturbations;
    this.nTest = n_test;
    this.value = parameters.map((parameter) => parameter.default);
    this.perturb = {}; // name of each switch that is on to its settings
    this.test = null; // number of the stored sound that is heard, as long as no knob is turned
    this.file = false; // whether a recording is heard
    this.#settled = this.#snapshot();
  }

  // ----- changes

  /** Turn one knob; what is heard then comes from the knobs. */
  turn(number, value) {
    this.value = this.value.with(number, value);
    this.test = null;
    this.file = false;
  }

  set(change) {
    Object.assign(this, { test: null, file: false }, change);
  }

  /** Values in all of the ranges, on their grids where they have nothing between. */
  randomize() {
    this.set({ value: this.#parameters.map((parameter) => placed(parameter, Math.random())) });
  }

  toDefaults() {
    this.set({ value: this.#parameters.map((parameter) => parameter.default), perturb: {} });
  }

  // ----- history

  #snapshot() {
    return { value: this.value, perturb: structuredClone(this.perturb), test: this.test };
  }

  /** End a step, such as a turn of a knob: undo goes back to before it. */
  settle() {
    const now = this.#snapshot();
    if (JSON.stringify(now) === JSON.stringify(this.#settled)) return;
    this.#past = [...this.#past, this.#settled].slice(-MOST_STEPS);
    this.#future = [];
    this.#settled = now;
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }

  undo() {
    this.#go(this.#past, this.#future);
  }

  redo() {
    this.#go(this.#future, this.#past);
  }

  #go(from, to) {
    if (!from.length) return;
    to.push(this.#settled);
    this.#settled = from.pop();
    this.set(structuredClone(this.#settled));
  }

  // ----- the address

  /** The part behind the # of an address. */
  get fragment() {
    const words = new URLSearchParams();
    this.#parameters.forEach(({ name }, i) => words.set(name, String(Number(this.value[i].toPrecision(DIGITS)))));
    for (const [name, settings] of Object.entries(this.perturb)) {
      for (const [control, number] of Object.entries(settings)) words.set(`~${name}.${control}`, number);
    }
    if (this.test !== null) words.set(TEST, this.test);
    return words.toString();
  }

  /** Take what an address says as far as there are such things; the rest stays. */
  read(fragment) {
    const words = new URLSearchParams(fragment);
    const number = (key) => (words.has(key) && words.get(key).trim() ? Number(words.get(key)) : NaN);
    const value = this.#parameters.map((parameter, i) => {
      const found = number(parameter.name);
      return Number.isFinite(found) ? within(parameter, found) : this.value[i];
    });
    const test = number(TEST);
    this.set({ value, perturb: this.#switchesOf(number), test: test >= 0 && test < this.nTest ? Math.floor(test) : null });
    this.#settled = this.#snapshot();
  }

  #switchesOf(number) {
    const on = {};
    for (const { name, controls } of this.#switches) {
      for (const control of controls) {
        const found = number(`~${name}.${control.name}`);
        if (Number.isFinite(found)) on[name] = { ...on[name], [control.name]: clamp(found, control.min, control.max) };
      }
    }
    return on;
  }
}
