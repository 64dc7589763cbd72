/** The comparison of runs: the chosen sound with the picture of every side, and the player. */

import { all, element, find, isInUse, pageData, say, whenLookChanges } from "../pages/dom.js";
import { Block } from "../pages/encoding.js";
import { listenToKeys } from "../pages/keys.js";
import { LEVELS, drawScale, drawSpectrogram, placePlayhead, spotUnder } from "../pages/pictures.js";
import { PlayerBar } from "../pages/player_bar.js";
import { cell, columnHead, fillTable, markRow, row, rowHead, withUnits } from "../pages/tables.js";
import { Store } from "./store.js";

class ComparisonPage {
  #rows = all("#rows tr");
  #plots = all("#detail .plot");

  constructor(data, block) {
    this.data = data;
    this.store = new Store(data, block);
    this.bar = new PlayerBar(find("#player"), data.sides, {
      step: (places) => this.step(places),
      toggle: ({ target }) => this.playFrom(target.closest("#rows tr")),
      onChange: () => this.markPictures(),
      onMove: (now) => this.#plots.forEach((plot) => placePlayhead(plot, now)),
    });
    this.choose(0);
    this.#listen();
  }

  /** Make a sound the current one; what plays goes on with it from its beginning. */
  choose(number, focus = false) {
    this.sound = number;
    const { name, notes } = this.data.sounds[number];
    find("#sound-name").textContent = name;
    find("#sound-notes").replaceChildren(...notes.map((note) => element("p", { class: "note" }, note)));
    this.bar.showNow(name, number, this.data.sounds.length);
    this.bar.player.load(this.store.get(number).waves, this.data.rate);
    markRow(this.#rows, number, find(".scroll"), focus);
    this.#showParameters();
    this.draw();
  }

  step(places) {
    if (!this.data.sounds[this.sound + places]) return;
    this.choose(this.sound + places, document.activeElement.closest("#rows") !== null);
    say(find("#now").textContent);
  }

  /** Play a row of the list, if that is where a key was pressed, or what is current. */
  playFrom(line) {
    if (line && Number(line.dataset.sound) !== this.sound) this.choose(Number(line.dataset.sound));
    this.bar.toggle();
  }

  draw() {
    const { axes, sides } = this.data;
    const [low, high] = this.data.levels;
    const { levels } = this.store.get(this.sound);
    this.#plots.forEach((plot, side) => {
      const canvas = find("canvas", plot);
      drawSpectrogram(canvas, { values: levels[side], low, high, colours: LEVELS }, axes);
      canvas.setAttribute("aria-label", `Spectrogram, ${sides[side]}`);
    });
    drawScale(find("#detail .scale canvas"), { low, high, colours: LEVELS });
    this.bar.showPosition();
  }

  /** Show which picture is that of the audible side. */
  markPictures() {
    for (const picture of all("#detail .picture")) {
      picture.classList.toggle("audible", Number(picture.dataset.side) === this.bar.player.side);
    }
  }

  #showParameters() {
    const { parameters, sides, styles } = this.data;
    const sound = this.data.sounds[this.sound];
    const answers = [sound.true, ...sound.answers];
    const heads = sides.map((name, side) => columnHead(element("span", { class: `run side-${styles[side]}` }, name)));
    const rows = parameters.map(({ name, units }, p) => {
      const cells = sides.map((side, i) => {
        const { text, error, steps } = answers[i][p];
        const smaller = i === 0 || error === undefined ? [] : [steps === "–" ? ` ${error}` : ` ${steps} steps`];
        return cell(side, text, ...smaller);
      });
      return row(rowHead(...withUnits(name, units)), ...cells);
    });
    fillTable(find("#parameters"), [columnHead("", ""), ...heads], rows);
  }

  #listen() {
    this.#rows.forEach((line, i) => line.addEventListener("click", () => this.choose(i)));
    this.#plots.forEach((plot, side) => plot.addEventListener("click", (event) => {
      this.bar.player.seek(Math.max(0, spotUnder(find("canvas", plot), event).time));
      this.bar.chooseSide(side);
    }));
    listenToKeys([
      { title: "Listen", keys: this.bar.keys },
      {
        title: "Choose a sound",
        keys: this.bar.keysOfList(() => isInUse(find("#sounds"), "#sounds, #player")),
      },
    ], find("#keys"));
    whenLookChanges(find("main"), () => this.draw());
  }
}

const page = pageData();
if (page.sounds.length) {
  Block.ofPage().then((block) => {
    new ComparisonPage(page, block);
    document.documentElement.dataset.ready = "";
  });
} else {
  document.documentElement.dataset.ready = "";
}
