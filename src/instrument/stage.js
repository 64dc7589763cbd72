/** The pictures of a sound and of its resyntheses, their differences, and the waveforms below. */

import { colourOf, element, find, whenLookChanges } from "../pages/dom.js";
import { decimalsOf, formatNumber, formatSigned } from "../pages/formats.js";
import {
  DIFFERENCES, LEVELS, cellAt, drawScale, drawSpectrogram, drawWaveforms, placeCrosshair, placePlayhead, reachOf,
  spotUnder,
} from "../pages/pictures.js";

const SPAN = 80; // dB from the bottom to the top of the colours
const HINT = "Point at a picture to read its levels.";

export class Stage {
  #data;
  #roots; // of pictures, waveforms, readout
  #figures = []; // `root`, `side`, `channel`, `isDifference`
  #sides = [];
  #spot = null;

  /**
   * @param {object} data The page's.
   * @param {object} roots `pictures`, `waveforms` and `readout`.
   * @param {Function} onSeek Of a time, s.
   */
  constructor(data, roots, onSeek) {
    this.#data = data;
    this.#roots = roots;
    this.onSeek = onSeek;
    roots.readout.textContent = HINT;
    const canvas = find("canvas", roots.waveforms);
    canvas.addEventListener("click", (event) => canvas.plot && onSeek(spotUnder(canvas, event).time));
    whenLookChanges(roots.pictures, () => this.draw());
    whenLookChanges(roots.waveforms, () => this.draw());
  }

  /**
   * Show sounds.
   * @param {(object | null)[]} sides Of each, in the player's order: `name`, `wave`, `pixels` and `ends`; null: there
   *   is none.
   */
  show(sides) {
    this.#sides = sides;
    const wanted = this.#wanted().map(({ side, channel, isDifference }) => `${side}.${channel}.${isDifference}`).join();
    if (wanted !== this.#roots.pictures.dataset.shown) {
      this.#roots.pictures.dataset.shown = wanted;
      this.#build();
    }
    this.draw();
  }

  /** All channels of the sound itself, then of every resynthesis the first one and its difference from the sound. */
  #wanted() {
    const own = this.#data.channels.map((_, channel) => ({ side: 0, channel, isDifference: false }));
    const others = this.#sides.flatMap((side, number) => (!number || !side?.pixels ? [] : [
      { side: number, channel: 0, isDifference: false }, { side: number, channel: 0, isDifference: true },
    ]));
    return [...own, ...others];
  }

  #build() {
    this.#figures = this.#wanted().map((figure) => {
      const root = find("#picture").content.firstElementChild.cloneNode(true);
      root.classList.add(`side-${this.#styleOf(figure.side)}`);
      root.classList.toggle("difference", figure.isDifference);
      root.classList.toggle("alone", !figure.side && this.#data.channels.length === 1);
      const canvas = find(".plot canvas", root);
      for (const kind of ["pointermove", "pointerdown"]) {
        canvas.addEventListener(kind, (event) => this.#point(spotUnder(canvas, event)));
      }
      canvas.addEventListener("pointerleave", () => this.#point(null));
      canvas.addEventListener("click", (event) => this.onSeek(spotUnder(canvas, event).time));
      return { ...figure, root, plot: find(".plot", root) };
    });
    this.#roots.pictures.replaceChildren(...this.#figures.map(({ root }) => root));
  }

  #styleOf(side) {
    return side === this.#data.networks.length + 1 ? 3 : side;
  }

  #axes(channel) {
    const { rows, columns } = this.#data.channels[channel];
    return {
      rows: rows.centres, columns: columns.centres, ends: columns.ends, frequencies: rows.ticks,
      units: [rows, columns].map(({ units, label }) => units || label),
    };
  }

  #levels(side, channel) {
    const { pixels, ends } = this.#sides[side];
    const { rows, columns } = this.#data.channels[channel];
    const size = rows.centres.length * columns.centres.length;
    const [low, high] = ends[channel];
    return Float32Array.from(pixels.subarray(channel * size, (channel + 1) * size), (px) => low + (px / 255) * (high - low));
  }

  /** Levels and colours of a figure; those of spectrograms share a scale, and a difference has its own. */
  #picture({ side, channel, isDifference }) {
    const values = this.#levels(side, channel);
    if (isDifference) {
      const own = this.#levels(0, channel);
      const apart = values.map((level, i) => level - own[i]);
      const reach = reachOf(apart);
      return { values: apart, low: -reach, high: reach, colours: DIFFERENCES };
    }
    const { ends, signed } = this.#data.channels[channel];
    if (ends) return { values, low: ends[0], high: ends[1], colours: signed ? DIFFERENCES : LEVELS };
    const tops = this.#sides.filter((one) => one?.pixels).map((one) => one.ends[channel][1]);
    const top = 10 * Math.ceil(Math.max(...tops) / 10 - 1e-6);
    return { values, low: top - SPAN, high: top, colours: LEVELS };
  }

  draw() {
    if (!this.#sides[0]) return;
    for (const figure of this.#figures) this.#drawFigure(figure);
    const lanes = this.#sides.flatMap((side, i) => (side
      ? [{ wave: side.wave, colour: colourOf(`--side-${this.#styleOf(i)}`) }] : []));
    const canvas = find("canvas", this.#roots.waveforms);
    canvas.style.height = `${28 + 58 * lanes.length}px`;
    drawWaveforms(canvas, lanes, this.#data.duration);
    canvas.setAttribute("aria-label", "Waveforms");
    this.#point(this.#spot);
  }

  #drawFigure(figure) {
    const { root, plot, side, channel, isDifference } = figure;
    const [canvas, scale] = [find("canvas", plot), find(".scale canvas", root)];
    const { name, units } = this.#data.channels[channel];
    const { name: whose } = this.#sides[side];
    figure.drawn = this.#picture(figure);
    const caption = isDifference ? `${whose} − sound` : this.#data.channels.length > 1 ? `${whose}: ${name}` : whose;
    find("figcaption span", root).textContent = caption;
    drawSpectrogram(canvas, figure.drawn, this.#axes(channel));
    canvas.setAttribute("aria-label", `${caption}, ${name}`);
    drawScale(scale, figure.drawn, isDifference ? formatSigned : formatNumber, units);
    find(".scale figcaption", root).textContent = units;
  }

  /** Mark the picture of the side that is audible. */
  markSide(side) {
    for (const figure of this.#figures) figure.root.classList.toggle("audible", figure.side === side && !figure.isDifference);
  }

  /** Put the playheads at a time, s; null hides them. */
  follow(now) {
    const isTime = (channel) => this.#data.channels[channel].columns.units === "s";
    for (const { plot, channel } of this.#figures) placePlayhead(plot, isTime(channel) ? now : null);
    placePlayhead(find(".plot", this.#roots.waveforms), now);
  }

  // ----- the crosshair

  #point(spot) {
    this.#spot = spot;
    const figures = this.#figures.filter(({ channel }) => channel === 0);
    const found = spot && cellAt(spot, this.#axes(0));
    placeCrosshair(figures.map(({ plot }) => plot), found ? spot : null);
    this.#roots.readout.replaceChildren(...(found ? this.#said(found, figures) : [HINT]));
  }

  #said({ row, column, index }, figures) {
    const { rows, columns, units } = this.#data.channels[0];
    const place = [[columns, column], [rows, row]].map(([axis, i]) =>
      (axis.units ? `${formatNumber(axis.centres[i])} ${axis.units}` : `${axis.label} ${axis.centres[i]}`));
    const levels = figures.map(({ drawn, side, isDifference }) => {
      const decimals = Math.max(1, decimalsOf((drawn.high - drawn.low) / 25));
      const text = (isDifference ? formatSigned : formatNumber)(drawn.values[index], decimals);
      return element("span", { class: `side-${this.#styleOf(side)}` }, isDifference ? `(${text})` : text);
    });
    return [`${place.join(", ")}: `, ...levels.flatMap((level) => [level, " "]), units];
  }
}

