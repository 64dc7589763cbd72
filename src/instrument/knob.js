/** A knob: its own value, what networks read, with which probability, and whether it can be heard at all. */

import { element, find } from "../pages/dom.js";
import { clamp, formatNumber, formatSigned } from "../pages/formats.js";
import { placeOf, snapped, textOf, within } from "./space.js";

const CENTRE = 60;
// Radii, of 120 across: of the rail, of the ends of the pointers, and of the bands of one and of the other network.
const [RAIL, INNER, OUTER] = [38, 12, 26];
const BANDS = [45, 49.5];
const [TOLD, BEYOND] = [33, 1.5]; // where the pointer of an answer begins, and how far it reaches over its band
const [CLEAR, EDGE] = [3.5, 59]; // from the last band to the histogram, and where that ends
const FEW = 16; // bins that are drawn as bars beside each other
const SWEEP = 270; // degrees from the lowest value to the highest
const TRAVEL = 180; // pixels of a drag over the whole range
const FINE = 0.1;
const PAGE = 0.1; // of the range
const HEARD = 0.5; // dB a step that fills half of the bar
const INAUDIBLE = 0.05; // dB a step

/** Where a place of the range, 0 to 1, is at a radius. */
function spot(place, radius) {
  const angle = ((place * SWEEP - SWEEP / 2 - 90) * Math.PI) / 180;
  return `${(CENTRE + radius * Math.cos(angle)).toFixed(2)} ${(CENTRE + radius * Math.sin(angle)).toFixed(2)}`;
}

const ray = (place, from, to) => `M${spot(place, from)}L${spot(place, to)}`;

function arc(low, high, radius) {
  const large = (high - low) * SWEEP > 180 ? 1 : 0;
  return `M${spot(low, radius)}A${radius} ${radius} 0 ${large} 1 ${spot(high, radius)}`;
}

/** The part of a ring between two places and two radii. */
function wedge(low, high, from, to) {
  const [inner, outer] = [from, to].map((radius) => `A${radius} ${radius} 0 0`);
  return `M${spot(low, from)}L${spot(low, to)}${outer} 1 ${spot(high, to)}L${spot(high, from)}${inner} 0 ${spot(low, from)}Z`;
}

/**
 * A histogram outside a radius: a wedge for each share, the largest of which reaches to the edge.
 * @param {number[]} shares Of each class.
 * @param {number} from Radius.
 * @param {number} which Of the histograms that stand here, whose bars stand side by side. @param {number} of How many.
 */
function histogram(shares, from, which, of) {
  const most = Math.max(...shares, 1e-9);
  const bins = Math.max(1, shares.length - 1);
  const [begin, wide] = shares.length > FEW ? [-0.5, 1] : [0.36 * (which / of - 0.5), 0.36 / of];
  return shares.map((share, i) => {
    const [low, high] = [begin, begin + wide].map((places) => clamp((i + places) / bins, 0, 1));
    return share / most < 0.01 ? "" : wedge(low, high, from, from + ((EDGE - from) * share) / most);
  }).join("");
}

export class Knob {
  #parameter;
  #hands;
  #value;
  #dial;
  #sensitivity = null;
  #limit = null;

  /**
   * @param {object} parameter As the page has it.
   * @param {object} hands `turn(value)` while it moves, `settle()` after, `isSnapping()`.
   */
  constructor(parameter, hands) {
    this.#parameter = parameter;
    this.#hands = hands;
    this.root = find("#knob").content.firstElementChild.cloneNode(true);
    this.#dial = find(".dial", this.root);
    const { label, units, min, max, description } = parameter;
    find(".label", this.root).append(label, ...(units ? [" ", element("small", {}, units)] : []));
    this.root.title = description;
    find(".rail", this.root).setAttribute("d", arc(0, 1, RAIL));
    for (const [name, text] of [["label", `${label} ${units}`.trim()], ["valuemin", min], ["valuemax", max]]) {
      this.#dial.setAttribute(`aria-${name}`, text);
    }
    this.#listen();
  }

  // ----- what it shows

  /** Its own value; null where it is not known, as of a recording. */
  show(value, isKnown = true) {
    this.#value = value;
    const place = placeOf(this.#parameter, value);
    find(".pointer", this.root).setAttribute("d", ray(place, INNER, OUTER));
    find(".turned", this.root).setAttribute("d", isKnown ? arc(0, place, RAIL) : "");
    this.root.classList.toggle("unknown", !isKnown);
    const text = textOf(this.#parameter, value);
    find(".value", this.root).textContent = text;
    find(".value", this.root).setAttribute("aria-label", `${this.#parameter.label} ${text}: type a number`);
    this.#dial.setAttribute("aria-valuenow", value);
    this.#dial.setAttribute("aria-valuetext", `${text} ${this.#parameter.units}`.trim());
  }

  /** Whether it acts on the sound. */
  act(acts) {
    this.root.classList.toggle("idle", !acts);
  }

  /** What the networks say: of each `value`, `low`, `high`, `shares`, `error` (steps) and `inside`. */
  tell(answers) {
    const drawn = [1, 2].map((side) => answers[side - 1] ?? null);
    const outside = BANDS[Math.max(0, answers.length - 1)] + CLEAR;
    drawn.forEach((answer, i) => {
      const part = (name) => find(`.${name}.side-${i + 1}`, this.root);
      const [at, low, high] = ["value", "low", "high"].map((key) => placeOf(this.#parameter, answer?.[key] ?? null));
      part("told").setAttribute("d", Number.isFinite(at) ? ray(at, TOLD, BANDS[i] + BEYOND) : "");
      part("reach").setAttribute("d", Number.isFinite(low) && Number.isFinite(high) ? arc(low, high, BANDS[i]) : "");
      part("shares").setAttribute("d", answer?.shares ? histogram(answer.shares, outside, i, answers.length) : "");
    });
    const lines = answers.map((answer, i) => this.#line(answer, i + 1));
    find(".answers", this.root).replaceChildren(...lines);
    this.root.classList.toggle("missed", answers[0]?.inside === false);
  }

  #line({ value, error, inside }, side) {
    const line = element("span", { class: `side-${side}` }, element("b", {}, textOf(this.#parameter, value)));
    if (Number.isFinite(error) && error !== null) {
      line.append(" ", element("small", { title: "Error of the answer, in steps" }, this.#errorText(error)));
    }
    if (inside === false) line.classList.add("outside");
    return line;
  }

  #errorText(error) {
    if (this.#parameter.kind === "categorical") return error ? "wrong" : "right";
    return Math.abs(error) < 0.005 ? "±0" : formatSigned(error, Math.abs(error) < 10 ? 2 : 0);
  }

  /** Where a search is; null: there is none. */
  find(value) {
    const place = placeOf(this.#parameter, value);
    find(".found", this.root).setAttribute("d", Number.isFinite(place) ? ray(place, INNER, OUTER) : "");
  }

  /**
   * How far a step moves the picture, dB, and how many steps the picture leaves open; null: not known, and what was
   * said before stays, paler, if it `comes`.
   */
  sense(sensitivity, limit, comes) {
    const line = find(".hears", this.root);
    line.classList.toggle("waiting", sensitivity === null);
    line.classList.toggle("empty", sensitivity === null && !comes);
    if (sensitivity === null) return;
    this.#sensitivity = sensitivity;
    this.#limit = limit;
    const inaudible = sensitivity < INAUDIBLE;
    find("i", line).style.setProperty("--wide", sensitivity / (sensitivity + HEARD));
    find("span", line).textContent = inaudible ? "not seen here" : `${formatNumber(sensitivity, 1)} dB a step`;
    line.classList.toggle("inaudible", inaudible);
    line.title = this.#sensed;
  }

  get #sensed() {
    const moved = `One step moves the picture by ${formatNumber(this.#sensitivity)} dB here.`;
    const open = Number.isFinite(this.#limit) && this.#limit !== null
      ? ` Its rounding leaves ${formatNumber(this.#limit)} steps open (standard deviation).` : "";
    return moved + open;
  }

  // ----- hands

  #turn(value) {
    const snap = this.#hands.isSnapping();
    const next = snap ? snapped(this.#parameter, value) : within(this.#parameter, value);
    if (next !== this.#value) this.#hands.turn(next);
  }

  #listen() {
    const dial = this.#dial;
    dial.addEventListener("pointerdown", (event) => this.#drag(event));
    dial.addEventListener("dblclick", () => this.#at(this.#parameter.default));
    dial.addEventListener("keydown", (event) => this.#press(event));
    dial.addEventListener("wheel", (event) => {
      if (document.activeElement !== dial) return;
      event.preventDefault();
      this.#at(this.#value - Math.sign(event.deltaY) * this.#stepOf(event));
    }, { passive: false });
    find(".value", this.root).addEventListener("click", () => this.#type());
  }

  #at(value) {
    this.#turn(value);
    this.#hands.settle();
  }

  #stepOf(event) {
    const { step, kind } = this.#parameter;
    return event.shiftKey && kind === "continuous" && !this.#hands.isSnapping() ? step * FINE : step;
  }

  #drag(event) {
    if (event.button !== 0) return;
    const dial = this.#dial;
    const { min, max } = this.#parameter;
    let [y, value] = [event.clientY, this.#value];
    dial.focus({ preventScroll: true });
    dial.setPointerCapture(event.pointerId);
    this.root.classList.add("turning");
    const move = (moved) => {
      const share = ((y - moved.clientY) / TRAVEL) * (moved.shiftKey ? FINE : 1);
      y = moved.clientY;
      value = clamp(value + share * (max - min), min, max);
      this.#turn(value);
    };
    const end = () => {
      dial.removeEventListener("pointermove", move);
      this.root.classList.remove("turning");
      this.#hands.settle();
    };
    dial.addEventListener("pointermove", move);
    for (const kind of ["pointerup", "pointercancel"]) dial.addEventListener(kind, end, { once: true });
  }

  #press(event) {
    const { min, max } = this.#parameter;
    const step = this.#stepOf(event);
    const [value, page] = [this.#value, Math.max(step, PAGE * (max - min))];
    const moves = {
      ArrowUp: value + step, ArrowRight: value + step, ArrowDown: value - step, ArrowLeft: value - step,
      PageUp: value + page, PageDown: value - page, Home: min, End: max,
      Backspace: this.#parameter.default, Delete: this.#parameter.default,
    };
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "Enter") this.#type();
    else if (event.key in moves) this.#at(moves[event.key]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // it is not the player's
  }

  /** Have a number typed in natural units, instead of the text of the value. */
  #type() {
    if (this.#parameter.kind === "categorical") return;
    const shown = find(".value", this.root);
    const { label, units } = this.#parameter;
    const typed = element("input", { class: "typed", inputmode: "decimal", "aria-label": `${label} ${units}`.trim() });
    typed.value = textOf(this.#parameter, this.#value).replace("−", "-");
    shown.hidden = true;
    shown.before(typed);
    typed.select();
    let done = false;
    const end = (isTaken) => {
      if (done) return;
      done = true;
      const natural = Number(typed.value.trim().replace("−", "-").replace(",", "."));
      typed.remove();
      shown.hidden = false;
      const value = this.#parameter.scale === "log" ? Math.log10(natural) : natural;
      if (isTaken && Number.isFinite(value)) this.#at(value);
    };
    typed.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      end(event.key === "Enter");
      this.#dial.focus();
    });
    typed.addEventListener("blur", () => end(true));
  }
}
