/** What happens to a sound on its way to the network: switches, each with its settings. */

import { element, find } from "../pages/dom.js";
import { formatNumber } from "../pages/formats.js";

const STEPS = 100; // of a slider

export class Switches {
  #root;
  #switches;
  #onChange;

  /**
   * @param {HTMLElement} root Has `.chips` and `.settings`.
   * @param {object[]} switches As the page has them.
   * @param {object} hands `change(perturb)` while something moves, `settle()` after.
   */
  constructor(root, switches, { change, settle }) {
    this.#root = root;
    this.#switches = switches;
    this.#onChange = change;
    this.on = {};
    const chips = switches.map(({ name, label, description }) => {
      const box = element("input", { type: "checkbox", role: "switch", id: `switch-${name}` });
      box.addEventListener("change", () => {
        this.#flip(name, box.checked);
        settle();
      });
      return element("label", { class: "chip", title: description }, box, label);
    });
    find(".chips", root).replaceChildren(...chips);
    find(".settings", root).addEventListener("change", settle);
    root.hidden = !switches.length;
  }

  #flip(name, isOn) {
    const { [name]: before, ...others } = this.on;
    const { controls } = this.#switches.find((one) => one.name === name);
    const settings = Object.fromEntries(controls.map((control) => [control.name, control.default]));
    this.#onChange(isOn ? { ...others, [name]: settings } : others);
  }

  /** Show which are on; the same object as before leaves a slider that is being moved alone. */
  show(on) {
    const before = Object.keys(this.on).join();
    this.on = on;
    for (const { name } of this.#switches) find(`#switch-${name}`, this.#root).checked = name in on;
    if (Object.keys(on).join() !== before) {
      const shown = this.#switches.filter(({ name }) => name in on).map((one) => this.#fieldset(one));
      find(".settings", this.#root).replaceChildren(...shown);
    }
    for (const { name, controls } of this.#switches.filter((one) => one.name in on)) {
      for (const control of controls) this.#place(name, control);
    }
  }

  #fieldset({ name, label, controls }) {
    const made = find("#switch").content.firstElementChild.cloneNode(true);
    find("legend", made).textContent = label;
    for (const control of controls) {
      const slider = element("input", {
        type: "range", min: 0, max: STEPS, step: 1, id: `${name}-${control.name}`,
        "aria-label": `${label}: ${control.label} ${control.unit}`.trim(),
      });
      slider.addEventListener("input", () => {
        const settings = { ...this.on[name], [control.name]: numberAt(control, slider.value / STEPS) };
        this.#onChange({ ...this.on, [name]: settings });
      });
      made.append(element("label", {}, element("span", {}, control.label), slider, element("output", {})));
    }
    return made;
  }

  #place(name, control) {
    const slider = find(`#${name}-${control.name}`, this.#root);
    const number = this.on[name][control.name] ?? control.default;
    const text = `${formatNumber(number, Math.abs(number) >= 100 ? 0 : null)} ${control.unit}`.trim();
    if (numberAt(control, slider.value / STEPS) !== number) slider.value = STEPS * placeIn(control, number);
    slider.setAttribute("aria-valuetext", text);
    slider.nextElementSibling.textContent = text;
  }
}

const isLog = ({ scale }) => scale === "log";

/** The number at a place of a control, 0 to 1, in three digits. */
function numberAt(control, place) {
  const { min, max } = control;
  const number = isLog(control) ? min * (max / min) ** place : min + place * (max - min);
  return Number(number.toPrecision(3));
}

function placeIn(control, number) {
  const { min, max } = control;
  return isLog(control) ? Math.log(number / min) / Math.log(max / min) : (number - min) / (max - min);
}
