/** The comparison of runs: the chosen sound with the picture of every side, and the player. */

import { all, element, find, pageData, say } from "../pages/dom.js";
import { Block } from "../pages/encoding.js";
import { listenToKeys } from "../pages/keys.js";
import { LEVELS, drawScale, drawSpectrogram, placePlayhead, spotUnder } from "../pages/pictures.js";
import { Player } from "../pages/player.js";
import { cell, columnHead, fillTable, keepInSight, row, rowHead, withUnits } from "../pages/tables.js";
import { Store } from "./store.js";

class ComparisonPage {
  #rows = all("#rows tr");
  #plots = all("#detail .plot");

  constructor(data, block) {
    this.data = data;
    this.store = new Store(data, block);
    this.player = new Player({ onChange: () => this.showPlayer(), onMove: () => this.showPosition() });
    this.choose(0);
    this.#listen();
  }

  /** Make a sound the current one; what plays goes on with it from its beginning. */
  choose(number, focus = false) {
    this.sound = number;
    const { name, notes } = this.data.sounds[number];
    find("#sound-name").textContent = name;
    find("#sound-notes").replaceChildren(...notes.map((note) => element("p", { class: "note" }, note)));
    find("#now").textContent = `${name}, ${number + 1} of ${this.data.sounds.length}`;
    find("#now").title = find("#now").textContent;
    this.player.load(this.store.get(number).waves, this.data.rate);
    this.#mark(focus);
    this.#showParameters();
    this.draw();
  }

  step(by) {
    if (!this.data.sounds[this.sound + by]) return;
    this.choose(this.sound + by, document.activeElement.closest("#rows") !== null);
    say(find("#now").textContent);
  }

  /** Play a side, or pause where it is the one that plays. */
  press(side) {
    if (this.player.playing && side === this.player.side) this.player.pause();
    else this.player.play(side);
  }

  chooseSide(side) {
    this.player.choose(side);
    say(this.data.sides[side]);
  }

  nextSide(by) {
    const count = this.data.sides.length;
    this.chooseSide((this.player.side + by + count) % count);
  }

  togglePlay() {
    this.player.toggle();
    say(this.player.playing ? `Playing ${this.data.sides[this.player.side]}` : "Paused");
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
    this.showPosition();
  }

  #mark(focus) {
    this.#rows.forEach((line, i) => {
      const button = find("button", line);
      line.classList.toggle("current", i === this.sound);
      button.tabIndex = i === this.sound ? 0 : -1;
      if (i === this.sound) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    if (focus) find("button", this.#rows[this.sound]).focus({ preventScroll: true });
    keepInSight(find(".scroll"), this.#rows[this.sound]);
  }

  #showParameters() {
    const { parameters, sides, styles } = this.data;
    const sound = this.data.sounds[this.sound];
    const answers = [sound.true, ...sound.answers];
    const heads = sides.map((name, side) => {
      const head = columnHead(element("span", { class: `run side-${styles[side]}` }, name));
      return head;
    });
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

  // ----- what the player shows

  showPlayer() {
    const { player } = this;
    find("#seek").max = player.duration;
    find("#loop").checked = player.looping;
    find("#match").checked = player.matched;
    for (const button of all("#player .play")) {
      const audible = Number(button.dataset.side) === player.side;
      button.setAttribute("aria-pressed", audible && player.playing);
      button.classList.toggle("audible", audible);
    }
    for (const picture of all("#detail .picture")) {
      picture.classList.toggle("audible", Number(picture.dataset.side) === player.side);
    }
    this.showPosition();
  }

  showPosition() {
    const { player } = this;
    const now = player.position;
    find("#seek").value = now;
    find("#seek").setAttribute("aria-valuetext", `${now.toFixed(2)} seconds`);
    find("#time").textContent = `${now.toFixed(2)} / ${player.duration.toFixed(2)} s`;
    for (const plot of this.#plots) placePlayhead(plot, now === 0 && !player.playing ? null : now);
  }

  // ----- hands

  #listen() {
    for (const button of all("#player .play")) {
      button.addEventListener("click", () => this.press(Number(button.dataset.side)));
    }
    this.#rows.forEach((line, i) => line.addEventListener("click", () => this.choose(i)));
    this.#plots.forEach((plot, side) => plot.addEventListener("click", (event) => {
      this.player.seek(Math.max(0, spotUnder(find("canvas", plot), event).time));
      this.chooseSide(side);
    }));
    find("#previous").addEventListener("click", () => this.step(-1));
    find("#next").addEventListener("click", () => this.step(1));
    find("#toggle").addEventListener("click", () => this.nextSide(1));
    find("#loop").addEventListener("change", (event) => this.player.loop(event.target.checked));
    find("#match").addEventListener("change", (event) => this.player.match(event.target.checked));
    find("#seek").addEventListener("input", (event) => this.player.seek(Number(event.target.value)));
    listenToKeys(this.#keys(), find("#keys"));
    let drawn = 0;
    new ResizeObserver(([{ target }]) => {
      if (target.clientWidth !== drawn) this.draw();
      drawn = target.clientWidth;
    }).observe(find("main"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  #keys() {
    const sides = this.data.sides.map((name, side) => ({
      shown: [`${side + 1}`], does: `Listen to ${name}`, answers: [`${side + 1}`], act: () => this.chooseSide(side),
    }));
    return [
      {
        title: "Listen",
        keys: [
          { shown: ["Space"], does: "Play or pause", answers: [" "], act: (event) => this.#onSpace(event) },
          { shown: ["←", "→"], does: "Switch sides at the same position", answers: ["ArrowLeft", "ArrowRight"],
            act: (event) => this.nextSide(event.key === "ArrowLeft" ? -1 : 1) },
          ...sides,
          { shown: ["L"], does: "Loop", answers: ["l", "L"], act: () => this.player.loop(!this.player.looping) },
          { shown: ["E"], does: "Equal level: lower the louder sides to the RMS level of the softest",
            answers: ["e", "E"], act: () => this.player.match(!this.player.matched) },
          { shown: ["0"], does: "Back to the beginning", answers: ["0"], act: () => this.player.seek(0) },
        ],
      },
      {
        title: "Choose a sound",
        keys: [
          { shown: ["↑", "↓"], does: "Another sound, while the list is in view", answers: ["ArrowUp", "ArrowDown"],
            repeats: true, act: (event) => listening() && this.step(event.key === "ArrowUp" ? -1 : 1) },
        ],
      },
      { title: "This list", keys: [{ shown: ["?"], does: "Show it; Esc closes it", answers: [], act() {} }] },
    ];
  }

  /** Play a row of the list that has the focus, or what is current. */
  #onSpace(event) {
    const line = event.target.closest("#rows tr");
    if (line && Number(line.dataset.sound) !== this.sound) this.choose(Number(line.dataset.sound));
    this.togglePlay();
  }
}

/** Whether the section of the sounds covers the middle of the window or has the focus. */
function listening() {
  const { top, bottom } = find("#sounds").getBoundingClientRect();
  const middle = window.innerHeight / 2;
  return (top < middle && bottom > middle) || document.activeElement.closest("#sounds, #player") !== null;
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
