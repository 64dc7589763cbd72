/** The parameters: which values are possible, which act, and what a synth is given for them (`src/params.py`). */

import { clamp, decimalsOf, formatNumber } from "../pages/formats.js";
import { valueText } from "../pages/values.js";

export class Space {
  #parameters;
  #fixed;

  /** @param {object[]} parameters Knobs. @param {object[]} fixed `name` and `value` of what does not vary. */
  constructor(parameters, fixed) {
    this.#parameters = parameters;
    this.#fixed = Object.fromEntries(fixed.map(({ name, value }) => [name, Number(value)]));
  }

  /** Possible values: those beyond a range at its end, integers and categories on their grid. */
  clip(value) {
    return this.#parameters.map((knob, p) => within(knob, value[p]));
  }

  /** Which parameters act on a sound. */
  active(value) {
    const acts = new Map();
    const isActive = (name) => {
      if (!acts.has(name)) {
        const conditions = Object.entries(this.#knob(name)?.active_if ?? {});
        acts.set(name, conditions.every(([other, classes]) => isActive(other) && this.#isOneOf(value, other, classes)));
      }
      return acts.get(name);
    };
    return this.#parameters.map(({ name }) => isActive(name));
  }

  /** What a synth is given for values: natural units, those that do not act at the lowest end of their range. */
  given(value) {
    const active = this.active(value);
    const natural = this.#parameters.map(({ name, min, scale }, p) => {
      const at = active[p] ? value[p] : min;
      return [name, scale === "log" ? 10 ** at : at];
    });
    return { ...this.#fixed, ...Object.fromEntries(natural) };
  }

  /** Values of which one is moved by a grid step, within its range; of a category to the next class. */
  oneStepOn(value, p) {
    const { kind, min, max, step, n_classes: nClasses } = this.#parameters[p];
    const moved = [...value];
    if (kind === "categorical") moved[p] = min + ((indexOf(this.#parameters[p], value[p]) + 1) % nClasses) * step;
    else moved[p] += value[p] + step <= max ? step : -step;
    return moved;
  }

  #knob(name) {
    return this.#parameters.find((knob) => knob.name === name);
  }

  #isOneOf(value, name, classes) {
    const knob = this.#knob(name);
    if (!knob) return true;
    const index = indexOf(knob, value[this.#parameters.indexOf(knob)]);
    return classes.includes(index) || classes.includes(knob.class_names[index]);
  }
}

/** The number of the nearest point of a parameter's grid. */
export const indexOf = ({ min, step, n_classes: nClasses }, value) =>
  clamp(Math.round((value - min) / step), 0, nClasses - 1);

/** The point of a parameter's grid that is nearest to a value. */
export const snapped = (knob, value) => clamp(knob.min + indexOf(knob, value) * knob.step, knob.min, knob.max);

/** The possible value that is nearest to a number. */
export const within = (knob, value) =>
  (knob.kind === "continuous" ? clamp(value, knob.min, knob.max) : snapped(knob, value));

/** The value at a place in the range of a parameter, 0 to 1. */
export const placed = (knob, place) => within(knob, knob.min + clamp(place, 0, 1) * (knob.max - knob.min));

/** Where a value is in the range, 0 to 1; not-a-number where it is none. */
export function placeOf({ min, max }, value) {
  if (value === null || !Number.isFinite(value)) return NaN;
  return max > min ? clamp((value - min) / (max - min), 0, 1) : 0.5;
}

/** A value in natural units with the digits that a fraction of a step needs, or the name of its class. */
export function textOf({ class_names: names, scale, kind, units, step }, value) {
  if (kind === "continuous" && scale === "linear") return formatNumber(value, decimalsOf(step));
  return valueText({ names, log: scale === "log", whole: kind === "integer", units }, value);
}
