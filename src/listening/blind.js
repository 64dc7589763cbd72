/** The dialog of the blind test. */

import { BlindTest } from "../pages/abx.js";
import { all, find } from "../pages/dom.js";
import { Player } from "../pages/player.js";

const SURE = 0.05;

export class BlindDialog {
  #data;
  #store;
  #number = 0;
  #test = null;
  #heard = null; // name of what plays
  #root = find("#abx");
  #player = new Player({ onChange: () => this.#showHeard() });

  /** @param {Function} onOpen Silences the page. */
  constructor(data, store, onOpen) {
    this.#data = data;
    this.#store = store;
    this.onOpen = onOpen;
    for (const [id, chosen] of [["abx-a", 0], ["abx-b", 1]]) {
      const options = data.sides.map((name, side) => new Option(name, side, side === chosen, side === chosen));
      find(`#${id}`).append(...options);
    }
    this.#listen();
  }

  /** Begin anew with a sound. */
  open(number, compared, matched) {
    this.onOpen();
    this.#number = number;
    find("#abx-title").textContent = `Blind test: ${this.#data.sounds[number].name}`;
    find("#abx-a").value = 0;
    find("#abx-b").value = compared;
    find("#abx-match").checked = matched;
    this.#reset();
    this.#root.showModal();
    find("#abx-begin").focus();
  }

  #reset() {
    this.#test = null;
    this.#heard = null;
    this.#player.pause();
    this.#showPart("setup");
    this.#showBegin();
  }

  #begin() {
    const { waves } = this.#store.get(this.#number);
    const sides = ["a", "b"].map((name) => Number(find(`#abx-${name}`).value));
    this.#test = new BlindTest(Number(find("#abx-trials").value));
    this.#player.load(sides.map((side) => waves[side]), this.#data.rate);
    this.#player.loop(true);
    this.#player.match(find("#abx-match").checked);
    this.#showPart("trial");
    this.#showTrial();
    find(".abx[data-name=X]").focus();
  }

  #hear(name) {
    if (this.#player.playing && this.#heard === name) {
      this.#player.pause();
      return;
    }
    this.#heard = name;
    this.#player.play(this.#test.sideOf(name));
  }

  #answer(name) {
    this.#player.pause();
    this.#player.seek(0);
    this.#heard = null;
    this.#test.answer(name);
    this.#showHeard();
    if (this.#test.finished) this.#showResult();
    else this.#showTrial();
    if (!this.#test.finished) find(".abx[data-name=X]").focus(); // so that Space listens, and answers nothing
  }

  #stop() {
    this.#player.pause();
    this.#test.stop();
    if (this.#test.result) this.#showResult();
    else this.#reset();
  }

  // ----- what it shows

  #showPart(name) {
    for (const part of ["setup", "trial", "result"]) find(`.${part}`, this.#root).hidden = part !== name;
  }

  #showBegin() {
    find("#abx-begin").disabled = find("#abx-a").value === find("#abx-b").value;
  }

  #showTrial() {
    find("#abx-trial").textContent = `Trial ${this.#test.answered + 1} of ${this.#test.trials}`;
  }

  #showHeard() {
    for (const button of all(".abx", this.#root)) {
      button.setAttribute("aria-pressed", this.#player.playing && this.#heard === button.dataset.name);
    }
  }

  #showResult() {
    const { right, trials, chance } = this.#test.result;
    const p = chance < 0.001 ? chance.toExponential(1).replace("-", "−") : chance.toFixed(3);
    find("#abx-score").textContent = `${right} of ${trials} right, p = ${p}`;
    const guessing = `By guessing, as many or more are right with a probability of ${p} (binomial, exact).`;
    find("#abx-words").textContent =
      chance < SURE ? `You tell them apart. ${guessing}` : `This does not show that you tell them apart. ${guessing}`;
    this.#showPart("result");
    find("#abx-again").focus();
  }

  // ----- hands

  #listen() {
    for (const button of all(".abx", this.#root)) {
      button.addEventListener("click", () => this.#hear(button.dataset.name));
    }
    for (const button of all("[data-answer]", this.#root)) {
      button.addEventListener("click", () => this.#answer(button.dataset.answer));
    }
    for (const id of ["abx-a", "abx-b"]) find(`#${id}`).addEventListener("change", () => this.#showBegin());
    find("#abx-begin").addEventListener("click", () => this.#begin());
    find("#abx-stop").addEventListener("click", () => this.#stop());
    find("#abx-again").addEventListener("click", () => this.#reset());
    this.#root.addEventListener("close", () => this.#reset());
    this.#root.addEventListener("keydown", (event) => this.#onKey(event));
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || !this.#test || this.#test.finished) return;
    const key = event.key.toUpperCase();
    if ("AXB".includes(key) && key.length === 1) this.#hear(key);
    else if (key === "1" || key === "2") this.#answer(key === "1" ? "A" : "B");
    else return;
    event.preventDefault();
  }
}
