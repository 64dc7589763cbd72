/** The worst, the median and the best sound, to hear at once. */

import { all, find } from "../pages/dom.js";
import { formatNumber } from "../pages/formats.js";
import { drawScale, drawSpectrogram, LEVELS } from "../pages/pictures.js";

export class Cards {
  #data;
  #store;

  /** @param {object} hands `press(number, side)` plays, `show(number)` goes to the details. */
  constructor(data, store, { press, show }) {
    this.#data = data;
    this.#store = store;
    const judged = data.figures.find((figure) => figure.label === data.judge);
    for (const card of all(".card")) {
      const number = Number(card.dataset.sound);
      find(".value", card).textContent = `${judged.texts[number]} ${judged.units}`;
      for (const button of all(".play", card)) {
        button.addEventListener("click", () => press(number, Number(button.dataset.side)));
      }
      find(".name", card).addEventListener("click", () => show(number));
    }
  }

  /** Draw all pictures, with one of the answers in the middle. */
  show(compared) {
    const { axes, sides, levels } = this.#data;
    for (const card of all(".card")) {
      const pictures = this.#store.pictures(Number(card.dataset.sound), compared);
      const texts = [sides[0], sides[compared], `Δ ± ${pictures[2].high} dB`];
      all(".picture", card).forEach((figure, i) => {
        find("figcaption span", figure).textContent = texts[i];
        const canvas = find("canvas", figure);
        drawSpectrogram(canvas, pictures[i], axes, true);
        canvas.setAttribute("aria-label", `Spectrogram of ${find(".name", card).textContent}: ${texts[i]}`);
      });
      for (const figure of all(".compared", card)) sideOf(figure, compared);
    }
    const scale = find("#first .scale");
    if (!scale) return;
    find("figcaption", scale).textContent = "Level, dB full scale";
    drawScale(find("canvas", scale), { low: levels[0], high: levels[1], colours: LEVELS }, formatNumber);
  }

  /** Show which card has the current sound, and which of its sides is audible. */
  mark(sound, side) {
    for (const card of all(".card")) {
      const current = Number(card.dataset.sound) === sound;
      card.classList.toggle("current", current);
      find(".side-0.picture", card).classList.toggle("audible", current && side === 0);
      find(".compared", card).classList.toggle("audible", current && side > 0);
    }
  }
}

/** Give a figure the colour of a side. */
export function sideOf(figure, side) {
  figure.className = `picture compared side-${side}`;
}

