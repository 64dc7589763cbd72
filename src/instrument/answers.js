/** What networks say of a sound, in words, and as a table of all numbers. */

import { element } from "../pages/dom.js";
import { formatNumber, formatSigned } from "../pages/formats.js";
import { cell, columnHead, fillTable, row, rowHead, withUnits } from "../pages/tables.js";
import { textOf } from "./space.js";

const ZONES = { inside: "inside", near: "near", far: "far" };

/** What is said of one sound by all networks. */
export class Answers {
  #data;
  #root;

  #take;

  /** @param {Function} take Of the values of an answer, to which the knobs are to be turned; null: there are none. */
  constructor(data, root, take) {
    this.#data = data;
    this.#root = root;
    this.#take = take;
  }

  /** @param {object} sound A message. @param {string[]} texts Of pairs that the sound does not tell apart. */
  show(sound, texts) {
    const told = [...(sound.notes.length ? [`${sound.notes.join(", ")}.`] : []), ...texts];
    const notes = told.map((note) => element("p", { class: "note" }, note));
    const cards = sound.answers.map((answer, i) => this.#card(answer, i));
    if (this.#data.how_to_train) cards.push(element("p", { class: "note" }, this.#data.how_to_train));
    this.#root.replaceChildren(...cards, ...notes);
  }

  #card({ zone, distance, trust, inside, value }, i) {
    const { title, run, n_weights: weights } = this.#data.networks[i];
    const facts = [
      ...(zone ? [element("span", { class: `zone ${zone}`, title: "Distance from the sounds of its training: 1 is where 95 % of them end" },
        `${ZONES[zone]} ${formatNumber(distance)}`)] : []),
      ...this.#count(inside, false, "within their bands"), ...this.#count(inside, true, "named right"),
    ];
    return element("article", { class: `listener side-${i + 1}${zone === "far" ? " far" : ""}` },
      element("h3", { title: run }, title, " ", element("small", {}, `${weights.toLocaleString("en")} weights`)),
      element("p", { class: "facts" }, ...facts), element("p", { class: "trust" }, trust ?? ""),
      ...(this.#take ? [this.#button(value)] : []));
  }

  /** How many parameters, categories or all others, are read well enough. */
  #count(inside, categorical, well) {
    const found = (inside ?? []).filter((one, p) => one !== null && (this.#data.parameters[p].kind === "categorical") === categorical);
    return found.length ? [element("span", {}, `${found.filter(Boolean).length} of ${found.length} ${well}`)] : [];
  }

  #button(value) {
    const made = element("button", { type: "button", title: "Turn the knobs to this answer" }, "To the knobs");
    made.addEventListener("click", () => this.#take(value));
    return made;
  }

  /** All numbers of a sound: `sensitivity` and `limits` are null until they are known. */
  fill(table, sound, sensitivity, limits) {
    const names = this.#data.networks.map(({ title }) => title);
    const heads = [
      columnHead("Parameter", ""), columnHead("Sound"), ...names.flatMap((name) => [columnHead(name), columnHead("error, steps")]),
      ...(sensitivity ? [columnHead("dB a step")] : []), ...(limits ? [columnHead("left open, steps")] : []),
    ];
    const lines = this.#data.parameters.map((parameter, p) => row(
      rowHead(...withUnits(parameter.name, parameter.units)),
      cell("Sound", textOf(parameter, sound.value?.[p] ?? NaN)),
      ...sound.answers.flatMap((answer, i) => this.#cells(answer, parameter, p, names[i])),
      ...(sensitivity ? [cell("dB a step", formatNumber(sensitivity[p]))] : []),
      ...(limits ? [cell("left open, steps", formatNumber(limits[p]))] : []),
    ));
    fillTable(table, heads, lines);
  }

  #cells({ value, low, high, error_steps: errors }, parameter, p, name) {
    const text = (number) => textOf(parameter, number ?? NaN);
    const band = low[p] === null ? [] : [` ${text(low[p])} to ${text(high[p])}`];
    return [cell(name, text(value[p]), ...band), cell("error, steps", formatSigned(errors?.[p] ?? null))];
  }
}

/** What a knob shows of the answers about its parameter. */
export function answersAbout(sound, name, p) {
  return sound.answers.map(({ value, low, high, histogram, inside, error_steps: errors }) => ({
    value: value[p], low: low[p], high: high[p], shares: histogram?.[name] ?? null, inside: inside?.[p] ?? null,
    error: errors?.[p] ?? NaN,
  }));
}

