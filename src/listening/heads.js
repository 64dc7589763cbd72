/** What a network says of one parameter: a time line of the frames' answers, and the likeliest classes as bars. */

import { colourOf, element, find } from "../pages/dom.js";
import { formatNumber } from "../pages/formats.js";
import { surface } from "../pages/pictures.js";
import { cell, columnHead, fillTable, row, rowHead, track } from "../pages/tables.js";

const MOST_LANES = 6; // classes of a time line
const LANE = 30; // pixels of a class: its name, and its bar
const BAR = 13;
const NUMBER = 96; // pixels of the time line of a number

export class HeadView {
  #head;
  #sound;
  #duration;

  /** @param {object} head As Python has it. @param {object} sound The recording. @param {number} duration Of a frame, s. */
  constructor(head, sound, duration) {
    this.#head = head;
    this.#sound = sound;
    this.#duration = duration;
    this.root = find("#head").content.firstElementChild.cloneNode(true);
    this.plot = find(".plot", this.root);
    find("h4", this.root).replaceChildren(`${head.name} `, element("span", { class: "answer" }, head.answer));
    find(".sideways", this.root).setAttribute("aria-label", head.name);
    const caption = this.#isCategory ? "Probabilities of the classes in the frames" : "In the frames, with 90 % intervals";
    find("figcaption", this.root).textContent = caption;
    const height = this.#isCategory ? LANE * Math.min(MOST_LANES, head.classes.length) : NUMBER;
    find("canvas", this.root).style.height = `${height}px`;
    find("figure", this.root).hidden = !head.acts;
    find("table", this.root).classList.toggle("shares", this.#isCategory);
  }

  get #isCategory() {
    return this.#head.kind === "category";
  }

  /** Draw the time line below a picture, whose axes it shares. */
  draw({ left, right, from, to }) {
    if (!this.#head.acts) return;
    const canvas = find("canvas", this.root);
    const { pen, width, height } = surface(canvas);
    canvas.plot = { left, right, top: 0, bottom: height, from, to, width, height };
    const x = (seconds) => left + Math.max(0, Math.min(1, (seconds - from) / (to - from))) * (right - left);
    const spans = this.#sound.start.map((begin, n, all) => {
      const end = Math.min(begin + this.#duration, all[n + 1] ?? Infinity);
      return [x(begin), x(end)];
    });
    const colour = colourOf(this.#sound.far ? "--muted" : "--side-0");
    if (this.#isCategory) this.#drawClasses(pen, canvas.plot, spans, colour);
    else this.#drawNumber(pen, canvas.plot, spans, colour);
    canvas.setAttribute("aria-label", `Time line of ${this.#head.name}: ${this.#head.answer}`);
  }

  #drawClasses(pen, { left, right }, spans, colour) {
    const { classes, frames } = this.#head;
    classes.slice(0, MOST_LANES).forEach((name, k) => {
      const top = k * LANE + LANE - BAR - 2;
      pen.globalAlpha = 1;
      pen.fillStyle = colourOf("--band");
      pen.fillRect(left, top, right - left, BAR);
      pen.fillStyle = colourOf("--ink");
      pen.textBaseline = "alphabetic";
      pen.fillText(shortened(pen, name, right - left), left, top - 3);
      pen.fillStyle = colour;
      spans.forEach(([begin, end], n) => {
        pen.globalAlpha = frames[n][k];
        pen.fillRect(begin, top, Math.max(1, end - begin - 0.5), BAR);
      });
    });
    pen.globalAlpha = 1;
  }

  #drawNumber(pen, { left, right, bottom }, spans, colour) {
    const y = (place) => 4 + (1 - place) * (bottom - 8);
    const [low, high] = this.#head.ends;
    pen.fillStyle = colourOf("--band");
    pen.fillRect(left, y(1), right - left, y(0) - y(1));
    pen.fillStyle = colour;
    spans.forEach(([begin, end], n) => {
      const [value, bottomEnd, topEnd] = this.#head.frames[n];
      const wide = Math.max(1, end - begin - 0.5);
      pen.globalAlpha = 0.3;
      pen.fillRect(begin, y(topEnd), wide, Math.max(1, y(bottomEnd) - y(topEnd)));
      pen.globalAlpha = 1;
      pen.fillRect(begin, y(value) - 1, wide, 2);
    });
    pen.fillStyle = colourOf("--muted");
    pen.textBaseline = "middle";
    [[0.1, low], [0.9, high]].forEach(([place, text]) => pen.fillText(text, left + 5, y(place)));
  }

  /** Show what a frame says beside what the whole recording says. */
  showFrame(frame) {
    if (!this.#head.acts) return;
    const [whole, one] = ["Recording", "Frame"];
    const table = find("table", this.root);
    if (this.#isCategory) {
      const { classes, whole: shares, frames } = this.#head;
      const lines = classes.map((name, k) => row(rowHead(name), meter(whole, shares[k]), meter(one, frames[frame][k])));
      fillTable(table, [columnHead("Class", ""), columnHead(whole, ""), columnHead(one, "")], lines);
      return;
    }
    const { answer, texts, place, frames, ends } = this.#head;
    const lines = [[whole, answer, place], [one, texts[frame], frames[frame]]].map(([label, text, [at, low, high]]) => {
      const range = element("td", { role: "cell", class: "side-0 range-cell", "aria-hidden": "true" });
      range.append(...track([["spread", low, high - low], ["guess", at, 0]], ends));
      return row(rowHead(label), cell("Value", text), range);
    });
    fillTable(table, [columnHead("", ""), columnHead("Value (90 % interval)"), columnHead("Range", "")], lines);
  }
}

/** A probability as a cell: its figure, and a bar. */
function meter(label, share) {
  const made = cell(label, formatNumber(share, share > 0 && share < 0.01 ? 3 : 2));
  const bar = element("span", { class: "meter", "aria-hidden": "true" }, element("i"));
  bar.firstElementChild.style.setProperty("--wide", share);
  made.append(bar);
  return made;
}

/** As much of a text as has room. */
function shortened(pen, text, room) {
  let shown = text;
  while (shown.length > 1 && pen.measureText(`${shown}…`).width > room) shown = shown.slice(0, -1);
  return shown === text ? text : `${shown}…`;
}
