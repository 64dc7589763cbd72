/** The chosen sound: its pictures with crosshair and readout, its waveforms, its parameters and metrics. */

import { all, colourOf, element, find } from "../pages/dom.js";
import { clamp, formatNumber, formatSigned } from "../pages/formats.js";
import {
  cellAt, drawScale, drawSpectrogram, drawWaveforms, placeCrosshair, spotUnder,
} from "../pages/pictures.js";
import { cell, columnHead, fillTable, row, rowHead, track, withUnits } from "../pages/tables.js";
import { sideOf } from "./cards.js";
import { ridgeFigure } from "./ridges.js";

const HINT = "Point at a spectrogram, or move the crosshair by arrow keys, to read its levels.";

export class Detail {
  #data;
  #store;
  #number = 0;
  #compared = 1;
  #pictures = [];
  #spot = null;
  #plots = all("#detail .pictures .plot");
  #waveforms = find("#detail .wide canvas");

  /** @param {Function} onSeek Of a time, s. */
  constructor(data, store, onSeek) {
    this.#data = data;
    this.#store = store;
    this.#listen(onSeek);
  }

  /** Show a sound beside one of its answers. */
  show(number, compared) {
    this.#number = number;
    this.#compared = compared;
    const sound = this.#data.sounds[number];
    find("#sound-name").textContent = sound.name;
    find("#sound-notes").replaceChildren(...sound.notes.map((note) => element("p", { class: "note" }, note)));
    this.#showParameters(sound);
    find("#parameters").classList.toggle("far", sound.far);
    find("#ridges").replaceChildren(...(compared === 1 ? sound.ridges.map((ridge) => ridgeFigure(ridge)) : []));
    this.#showMetrics(sound);
    this.draw();
  }

  /** Colour the picture of the side that is audible. */
  markSide(side) {
    find("#detail .side-0.picture").classList.toggle("audible", side === 0);
    find("#detail .compared").classList.toggle("audible", side > 0);
  }

  draw() {
    const { axes, sides, rate } = this.#data;
    this.#pictures = this.#store.pictures(this.#number, this.#compared);
    const names = [sides[0], sides[this.#compared], "Difference"];
    const compared = find("#detail .compared");
    const audible = compared.classList.contains("audible");
    sideOf(compared, this.#compared);
    compared.classList.toggle("audible", audible);
    this.#plots.forEach((plot, i) => {
      const canvas = find("canvas", plot);
      find("figcaption span", plot.parentElement).textContent = names[i];
      drawSpectrogram(canvas, this.#pictures[i], axes);
      canvas.setAttribute("aria-label", this.#describe(names[i], i));
    });
    const { waves } = this.#store.get(this.#number);
    const shown = [0, this.#compared];
    const lanes = shown.map((side) => ({ wave: waves[side], colour: colourOf(`--side-${side}`) }));
    drawWaveforms(this.#waveforms, lanes, waves[0].length / rate, this.#data.sounds[this.#number].peak);
    this.#waveforms.setAttribute("aria-label", `Waveforms, ${names[0]} above ${names[1]}`);
    this.#drawScales(names);
    this.#showCrosshair(this.#spot);
  }

  #drawScales([original, answer]) {
    const [levels, differences] = all("#detail .scale");
    find("figcaption", levels).textContent = "Level, dB full scale";
    drawScale(find("canvas", levels), this.#pictures[0]);
    const reach = this.#pictures[2].high;
    find("figcaption", differences).textContent = `${answer} less ${original.toLowerCase()}, within ± ${reach} dB`;
    drawScale(find("canvas", differences), this.#pictures[2], formatSigned);
  }

  /** A picture in words. */
  #describe(name, i) {
    const { rows } = this.#data.axes;
    const { values } = this.#pictures[i];
    const band = `${formatNumber(rows[0], 0)} to ${formatNumber(rows.at(-1), 0)} Hz`;
    const mean = values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
    const loudest = values.reduce((most, value) => Math.max(most, value), -Infinity);
    const difference = `on average ${formatNumber(mean, 2)} dB either way`;
    const level = `loudest point ${formatNumber(loudest, 1)} dB full scale`;
    return `Spectrogram, ${name}, ${band}: ${i < 2 ? level : difference}`;
  }

  // ----- the crosshair

  #showCrosshair(spot) {
    this.#spot = spot;
    const cellThere = spot && cellAt(spot, this.#data.axes);
    placeCrosshair(this.#plots, cellThere ? spot : null);
    find("#readout").textContent = cellThere ? this.#read(cellThere) : HINT;
  }

  #read({ index, hertz, seconds }) {
    const { sides } = this.#data;
    const [original, answer, difference] = this.#pictures.map(({ values }) => values[index]);
    const decimals = Math.abs(difference) < 1 ? 2 : 1;
    const texts = [
      `${sides[0].toLowerCase()} ${formatNumber(original, 1)} dB`,
      `${sides[this.#compared].toLowerCase()} ${formatNumber(answer, 1)} dB`,
      `difference ${formatSigned(difference, decimals)} dB`,
    ];
    return `${seconds.toFixed(3)} s, ${hertz.toFixed(0)} Hz: ${texts.join(", ")}`;
  }

  /** Move the crosshair by whole cells, from the middle at first. */
  #step(columns, rows) {
    const { axes } = this.#data;
    const from = cellAt(this.#spot ?? { across: 0.5, up: 0.5 }, axes) ?? { row: 0, column: 0 };
    const column = clamp(from.column + columns, 0, axes.columns.length - 1);
    const line = clamp(from.row + rows, 0, axes.rows.length - 1);
    this.#showCrosshair({ across: (column + 0.5) / axes.columns.length, up: (line + 0.5) / axes.rows.length });
  }

  #listen(onSeek) {
    for (const canvas of [...this.#plots.map((plot) => find("canvas", plot)), this.#waveforms]) {
      canvas.addEventListener("click", (event) => onSeek(spotUnder(canvas, event).time));
    }
    for (const plot of this.#plots) {
      const canvas = find("canvas", plot);
      for (const kind of ["pointermove", "pointerdown"]) {
        canvas.addEventListener(kind, (event) => this.#showCrosshair(spotUnder(canvas, event)));
      }
      canvas.addEventListener("pointerleave", () => this.#showCrosshair(null));
    }
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    find("#detail .pictures").addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey) return;
      const [from, to] = this.#data.axes.ends;
      if (event.key in moves) this.#step(...moves[event.key]);
      else if (event.key === "Enter" && this.#spot) onSeek(Math.max(0, from + this.#spot.across * (to - from)));
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    find("#detail .pictures").addEventListener("blur", () => this.#showCrosshair(null));
  }

  // ----- numbers

  #showParameters({ true: truth, answers }) {
    const name = this.#data.sides[this.#compared];
    const answer = answers[this.#compared - 1];
    const heads = ["Parameter", ...(truth ? ["True"] : []), name, ...(truth ? ["Error", "In steps"] : []), "Range"];
    const lines = answer.map((entry, p) => {
      const { name: parameter, units, ends } = this.#data.parameters[p];
      const cells = [cell(name, entry.text, ...(entry.spread ? [entry.spread] : []))];
      if (truth) {
        cells.unshift(cell("True", truth[p].text));
        cells.push(cell("Error", entry.error), cell("In steps", entry.steps));
      }
      const range = element("td", { role: "cell", "aria-hidden": "true", class: `side-${this.#compared} range-cell` });
      range.append(...track([...entry.marks.filter(([kind]) => kind === "spread"), ...(truth ? truth[p].marks : []),
        ...entry.marks.filter(([kind]) => kind === "guess")], ends));
      return row(rowHead(...withUnits(parameter, units)), ...cells, range);
    });
    const kind = (head) => (["Parameter", "Range"].includes(head) ? "" : "figure");
    fillTable(find("#parameters"), heads.map((head) => columnHead(head, kind(head))), lines);
    const spread = answer.some((entry) => entry.spread) ? " ± one standard deviation" : "";
    find("#parameters-title .key").replaceChildren(
      ...(truth ? [element("span", { class: "true" }, "▎true"), " "] : []),
      element("span", { class: `side-${this.#compared} answer` }, `● ${name.toLowerCase()}`), spread,
    );
  }

  #showMetrics({ metrics }) {
    const { metrics: known, sides, means } = this.#data;
    find("#metrics-fold").hidden = !metrics.length;
    const heads = ["Metric", ...sides.slice(1), ...(means ? [`Mean of all, ${sides[1].toLowerCase()}`] : [])];
    const lines = metrics.length ? known.map(({ name, units }, m) => {
      const cells = metrics.map((texts, i) => cell(sides[i + 1], texts[m]));
      if (means) cells.push(cell("Mean of all", means[m]));
      return row(rowHead(...withUnits(name, units)), ...cells);
    }) : [];
    fillTable(find("#metrics"), heads.map((head, i) => columnHead(head, i ? "figure" : "")), lines);
  }
}
