/** The controls of a player: they show its state, and act on it, and so do its keys. */

import { all, element, find, say } from "./dom.js";
import { Player } from "./player.js";

export class PlayerBar {
  #root;
  #sides;
  #hands;

  /**
   * @param {HTMLElement} root Has a `.play` button for each side, and may have `#toggle`, `#seek`, `#time`, `#loop`,
   *   `#match`, and `#previous`, `#next` and `#now` of a list of sounds.
   * @param {string[]} sides Their names.
   * @param {object} hands `onChange()` after anything but the position, `onMove(now)` while it moves (s; null at rest at
   *   the beginning), `step(places)` through the list; instead of what is done here, `press(side)` when the button of a
   *   side is pressed and `toggle(event)` when Space is.
   */
  constructor(root, sides, { onChange = () => {}, onMove = () => {}, ...hands }) {
    this.#root = root;
    this.#sides = sides;
    this.#hands = { onChange, onMove, press: (side) => this.press(side), toggle: () => this.toggle(), ...hands };
    this.player = new Player({ onChange: () => this.show(), onMove: () => this.showPosition() });
    this.#listen();
  }

  // ----- what it does

  /** Play a side, or pause where it is the one that plays. */
  press(side) {
    if (this.player.playing && side === this.player.side) this.player.pause();
    else this.player.play(side);
  }

  toggle() {
    this.player.toggle();
    say(this.player.playing ? `Playing ${this.#sides[this.player.side]}` : "Paused");
  }

  chooseSide(side) {
    this.player.choose(side);
    say(this.#sides[side]);
  }

  nextSide(by) {
    this.chooseSide((this.player.side + by + this.#sides.length) % this.#sides.length);
  }

  /** Set an option, and say what it is then. */
  #option(id, isOn) {
    if (id === "loop") this.player.loop(isOn);
    else this.player.match(isOn);
    say(`${this.#control(id).closest("label").textContent.trim()} ${isOn ? "on" : "off"}`);
  }

  // ----- what it shows

  show() {
    const { player } = this;
    for (const [id, isOn] of [["loop", player.looping], ["match", player.matched]]) {
      if (this.#control(id)) this.#control(id).checked = isOn;
    }
    if (this.#control("seek")) this.#control("seek").max = player.duration;
    this.mark(this.#root);
    this.#hands.onChange();
    this.showPosition();
  }

  showPosition() {
    const { position, duration, playing } = this.player;
    const [seek, time] = ["seek", "time"].map((id) => this.#control(id));
    if (seek) {
      seek.value = position;
      seek.setAttribute("aria-valuetext", `${position.toFixed(2)} seconds`);
    }
    if (time) time.textContent = duration ? `${position.toFixed(2)} / ${duration.toFixed(2)} s` : "";
    this.#hands.onMove(position === 0 && !playing ? null : position);
  }

  /** Show on the buttons of some sides which one is audible; on none where they are those of another sound. */
  mark(root, isCurrent = true) {
    for (const button of all(".play", root)) {
      const audible = isCurrent && Number(button.dataset.side) === this.player.side;
      button.setAttribute("aria-pressed", audible && this.player.playing);
      button.classList.toggle("audible", audible && this.#sides.length > 1);
    }
  }

  /** Show the name of the current sound, and which one of how many it is. */
  showNow(name, number, count) {
    const now = this.#control("now");
    now.replaceChildren(name, element("span", { class: "place" }, `, ${number + 1} of ${count}`));
    now.title = now.textContent;
  }

  // ----- hands

  #control(id) {
    return find(`#${id}`, this.#root);
  }

  #listen() {
    const { press, step } = this.#hands;
    for (const button of all(".play", this.#root)) {
      button.addEventListener("click", () => press(Number(button.dataset.side)));
    }
    const on = (id, kind, act) => this.#control(id)?.addEventListener(kind, act);
    on("toggle", "click", () => this.nextSide(1));
    on("previous", "click", () => step(-1));
    on("next", "click", () => step(1));
    on("seek", "input", ({ target }) => this.player.seek(Number(target.value)));
    for (const id of ["loop", "match"]) on(id, "change", ({ target }) => this.#option(id, target.checked));
  }

  /** Keys that listen, for `listenToKeys`. */
  get keys() {
    const flip = (id, shown, does) => ({
      shown: [shown], does, answers: [shown], act: () => this.#option(id, !this.#control(id).checked),
    });
    const sides = this.#sides.map((name, side) => ({
      shown: [`${side + 1}`], does: `Listen to ${name}`, answers: [`${side + 1}`], act: () => this.chooseSide(side),
    }));
    const switches = {
      shown: ["←", "→"], does: "Switch sides at the same position", answers: ["ArrowLeft", "ArrowRight"],
      act: ({ key }) => this.nextSide(key === "ArrowLeft" ? -1 : 1),
    };
    return [
      { shown: ["Space"], does: "Play or pause", answers: [" "], act: (event) => this.#hands.toggle(event) },
      { shown: ["0"], does: "Back to the beginning", answers: ["0"], act: () => this.player.seek(0) },
      ...(sides.length > 1 ? [switches, ...sides] : []),
      ...(this.#control("loop") ? [flip("loop", "L", "Loop")] : []),
      ...(this.#control("match")
        ? [flip("match", "E", "Equal level: lower the louder sides to the RMS level of the softest")] : []),
    ];
  }

  /** Keys that step through the list, while a section of the page is in use. */
  keysOfList(isInUse) {
    return [{
      shown: ["↑", "↓"], does: "Another sound, while the list is in view", answers: ["ArrowUp", "ArrowDown"],
      repeats: true, act: ({ key }) => isInUse() && this.#hands.step(key === "ArrowUp" ? -1 : 1),
    }];
  }
}
