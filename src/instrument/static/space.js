/** The parameters: which values are possible, and what a synth is given for them (`src/params.py`). */

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
    return this.#parameters.map((knob, p) => {
      const at = knob.kind === "continuous" ? value[p] : knob.min + indexOf(knob, value[p]) * knob.step;
      return Math.min(Math.max(at, knob.min), knob.max);
    });
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

/** The nearest point of a parameter's grid. */
export function indexOf({ min, step, n_classes: nClasses }, value) {
  return Math.min(Math.max(Math.round((value - min) / step), 0), nClasses - 1);
}
