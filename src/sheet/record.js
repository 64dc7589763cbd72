/** One record, large: its picture with axes, its values, its sound. */

import { colourOf, element, find, whenLookChanges } from "../pages/dom.js";
import { decimalsOf, formatNumber } from "../pages/formats.js";
import {
  DIFFERENCES, LEVELS, cellAt, drawScale, drawSpectrogram, drawWaveforms, placeCrosshair, placePlayhead, spotUnder,
  surface,
} from "../pages/pictures.js";
import { cell, columnHead, fillTable, row, rowHead, track, withUnits } from "../pages/tables.js";
import { valueText } from "../pages/values.js";

const POINT = "Point at the picture to read it.";

export class RecordView {
  #root;
  #data;
  #record = null; // what is shown: its levels, and the channel that they are of
  #sound = null;

  /**
   * @param {HTMLElement} root The panel.
   * @param {object} data The page's description.
   * @param {Function} onSeek Of a time, s, that was clicked.
   */
  constructor(root, data, onSeek) {
    this.#root = root;
    this.#data = data;
    this.picture = find("#spectrogram", root);
    this.wave = find("#waveform", root);
    const canvas = find("canvas", this.picture);
    canvas.addEventListener("pointermove", (event) => this.#read(spotUnder(canvas, event)));
    canvas.addEventListener("pointerdown", (event) => this.#read(spotUnder(canvas, event)));
    canvas.addEventListener("pointerleave", () => this.#read(null));
    for (const plot of [this.picture, this.wave]) {
      const drawn = find("canvas", plot);
      drawn.addEventListener("click", (event) => this.#isTime(plot) && onSeek(spotUnder(drawn, event).time));
    }
    whenLookChanges(this.picture, () => this.draw());
    this.#fixed();
  }

  /** Whether a plot goes over time in seconds, as the sound does. */
  #isTime(plot) {
    return this.#sound !== null && (plot === this.wave || this.#record?.channel.columns.units === "s");
  }

  /**
   * Show a record: its title, entries of all columns, image, the channel that the image is of, and the file that it
   * comes from with its beginning there, s; null where it has none.
   */
  show(title, entries, image, channel, whence) {
    const levels = Float32Array.from(image.pixels, (pixel) => image.low + (pixel / 255) * (image.high - image.low));
    this.#record = { channel, levels, decimals: decimalsOf((channel.ends[1] - channel.ends[0]) / 25) };
    find("h2", this.#root).textContent = title;
    find("figcaption", this.#root).textContent = channel.name;
    this.#fromFile(whence);
    const heads = ["Parameter", "Value", "Range"].map((name) => columnHead(name, name === "Value" ? "figure" : ""));
    const lines = this.#data.columns.map((column, number) => this.#line(column, entries[number]));
    fillTable(find("#values", this.#root), heads, lines);
    this.#read(null);
    this.draw();
  }

  /** Show a sound and where it comes from; without one why there is none, or an empty place until it is there. */
  hear(sound, sentence = "") {
    this.#sound = sound;
    find("#about-sound", this.#root).textContent = sentence || this.#data.sound.how;
    this.wave.hidden = sentence !== "";
    for (const control of ["#play", "#loop"]) find(control, this.#root).disabled = sentence !== "";
    this.#drawSound();
    this.follow(null);
  }

  #line(column, entry) {
    const text = valueText(column, entry);
    const grid = column.names.length ? null : column.grid; // classes with names have no order
    const units = column.names.length ? "" : column.units;
    const place = grid && Number.isFinite(entry) ? (entry - grid.min) / (grid.step * (grid.n - 1)) : null;
    const ends = grid ? [0, grid.n - 1].map((bin) => valueText(column, grid.min + bin * grid.step)) : [];
    const marks = place === null ? [] : [["guess", Math.max(0, Math.min(1, place))]];
    const range = element("td", { role: "cell", "aria-hidden": "true" }, ...(grid ? track(marks, ends) : []));
    return row(rowHead(...withUnits(column.name, units)), cell("Value", text), range);
  }

  /** Say which file a record comes from; long paths are broken after a slash. */
  #fromFile(whence) {
    const line = find("#whence", this.#root);
    line.hidden = whence === null;
    if (whence === null) return;
    const [file, start] = whence;
    const parts = file.split(/(?<=[/_])/).flatMap((part) => [part, element("wbr")]);
    line.replaceChildren("From ", element("b", {}, ...parts), ` at ${formatNumber(start)} s`);
  }

  /** What is the same in every record. */
  #fixed() {
    const list = find("#fixed", this.#root);
    list.hidden = !this.#data.fixed.length;
    const line = ([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text));
    find("dl", list).replaceChildren(...this.#data.fixed.map(line));
  }

  get #colours() {
    const { ends: [low, high], signed } = this.#record.channel;
    return { low, high, colours: signed ? DIFFERENCES : LEVELS };
  }

  get #axes() {
    const { rows, columns } = this.#record.channel;
    return {
      rows: rows.centres, columns: columns.centres, ends: columns.ends, frequencies: rows.ticks,
      units: [rows, columns].map(({ units, label }) => units || label),
    };
  }

  draw() {
    if (!this.#record || this.#root.hidden) return;
    const { channel, levels } = this.#record;
    const canvas = find("canvas", this.picture);
    drawSpectrogram(canvas, { values: levels, ...this.#colours }, this.#axes);
    canvas.setAttribute("aria-label", `${channel.name}: ${channel.rows.label} over ${channel.columns.label}`);
    drawScale(find(".scale canvas", this.#root), this.#colours, (level) => formatNumber(level), channel.units);
    find(".scale figcaption", this.#root).textContent = channel.units;
    this.#drawSound();
    this.follow(null);
  }

  #drawSound() {
    const canvas = find("canvas", this.wave);
    if (this.#root.hidden || this.wave.hidden) return;
    if (this.#sound) {
      const { samples, rate } = this.#sound;
      drawWaveforms(canvas, [{ wave: samples, colour: colourOf("--accent") }], samples.length / rate);
    } else {
      surface(canvas);
    }
    canvas.setAttribute("aria-label", this.#sound ? "Waveform" : "Its sound is being rendered");
  }

  /** Put the playheads at a time, s; null hides them. */
  follow(now) {
    const plots = [this.picture, this.wave].filter((plot) => !plot.hidden);
    for (const plot of plots) placePlayhead(plot, this.#isTime(plot) ? now : null);
  }

  #read(spot) {
    const found = spot && this.#record && cellAt(spot, this.#axes);
    placeCrosshair([this.picture], found ? spot : null);
    find(".readout", this.#root).textContent = found ? this.#said(found) : POINT;
  }

  /** Place and level of a cell of the picture, in words. */
  #said({ row: number, column, index }) {
    const { channel, levels, decimals } = this.#record;
    const [across, up] = [[channel.columns, column], [channel.rows, number]].map(([{ units, label, centres }, i]) =>
      units ? `${formatNumber(centres[i])} ${units}` : `${label} ${centres[i]}`);
    return `${across}, ${up}: ${formatNumber(levels[index], decimals)} ${channel.units}`;
  }
}
