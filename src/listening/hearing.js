/** Recordings that a network names: the chosen one with its picture, the answers of its frames, and the player. */

import { all, element, find, isInUse, pageData, say, whenLookChanges } from "../pages/dom.js";
import { Block } from "../pages/encoding.js";
import { listenToKeys } from "../pages/keys.js";
import { LEVELS, drawScale, drawSpectrogram, placePlayhead, spotUnder } from "../pages/pictures.js";
import { PlayerBar } from "../pages/player_bar.js";
import { HeadView } from "./heads.js";
import { List } from "./list.js";

class HearingPage {
  #picture = find("#detail .picture .plot");
  #heads = [];
  #frame = -1;

  constructor(data, block) {
    this.data = data;
    this.block = block;
    this.sound = -1;
    this.bar = new PlayerBar(find("#player"), data.sides, {
      step: (places) => this.step(places),
      toggle: ({ target }) => this.playFrom(target.closest("#rows tr")),
      onMove: (now) => this.showPosition(now),
    });
    this.list = new List(data, (number) => this.choose(number), () => this.showNow());
    this.choose(this.list.order[0]);
    this.#listen();
  }

  get current() {
    return this.data.sounds[this.sound];
  }

  /** Make a recording the current one; what plays goes on with it from its beginning. */
  choose(number, focus = false) {
    this.sound = number;
    const { name, notes, wave, far } = this.current;
    find("#sound-name").textContent = name;
    find("#sound-notes").replaceChildren(...notes.map((note) => element("p", { class: "note" }, note)));
    find("#detail").classList.toggle("far", far);
    this.bar.player.load([this.block.sound(wave)], this.data.rate);
    this.list.mark(number, focus);
    this.showNow();
    this.#heads = this.current.heads.map((head) => new HeadView(head, this.current, this.data.frame));
    find("#heads").replaceChildren(...this.#heads.map((view) => view.root));
    for (const { plot } of this.#heads) this.#seekOn(plot);
    this.draw();
  }

  step(places) {
    const { order } = this.list;
    const next = order[order.indexOf(this.sound) + places];
    if (next === undefined) return;
    this.choose(next, document.activeElement.closest("#rows") !== null);
    say(find("#now").textContent);
  }

  /** Play a row of the list, if that is where a key was pressed, or what is current. */
  playFrom(line) {
    if (line && Number(line.dataset.sound) !== this.sound) this.choose(Number(line.dataset.sound));
    this.bar.toggle();
  }

  showNow() {
    const { order } = this.list;
    this.bar.showNow(this.current.name, order.indexOf(this.sound), order.length);
  }

  draw() {
    const { rows, frequencies, levels: [low, high] } = this.data;
    const { picture, n_columns: columns, ends, name } = this.current;
    const canvas = find("canvas", this.#picture);
    const values = this.block.levels(picture, low, high);
    drawSpectrogram(canvas, { values, low, high, colours: LEVELS }, { rows, columns: { length: columns }, ends, frequencies });
    canvas.setAttribute("aria-label", `Spectrogram of ${name}`);
    drawScale(find("#detail .scale canvas"), { low, high, colours: LEVELS });
    for (const view of this.#heads) view.draw(canvas.plot);
    this.#frame = -1;
    this.bar.showPosition();
  }

  /** Move the playheads to a time, s, and show the answers of the frame that is there; null: at rest, the first one. */
  showPosition(now) {
    if (this.sound < 0) return;
    for (const plot of [this.#picture, ...this.#heads.map((view) => view.plot)]) placePlayhead(plot, now);
    const { start } = this.current;
    const at = now ?? start[0];
    const frame = Math.max(0, start.findLastIndex((begin) => begin <= at + 1e-6));
    if (frame === this.#frame) return;
    this.#frame = frame;
    const reach = `${start[frame].toFixed(2)} to ${(start[frame] + this.data.frame).toFixed(2)} s`;
    const count = start.length > 1 ? `Frame ${frame + 1} of ${start.length}, ` : "";
    find("#readout").textContent = `${count}${reach}: distance ${this.current.distances[frame]}`;
    for (const view of this.#heads) view.showFrame(frame);
  }

  #seekOn(plot) {
    const canvas = find("canvas", plot);
    canvas.addEventListener("click", (event) => this.bar.player.seek(Math.max(0, spotUnder(canvas, event).time)));
  }

  #listen() {
    this.#seekOn(this.#picture);
    listenToKeys([
      { title: "Listen", keys: this.bar.keys },
      {
        title: "Choose a recording",
        keys: this.bar.keysOfList(() => isInUse(find("#sounds"), "#sounds, #player")),
      },
    ], find("#keys"));
    whenLookChanges(find("main"), () => this.draw());
  }
}

const page = pageData();
Block.ofPage().then((block) => {
  new HearingPage(page, block);
  say("");
  document.documentElement.dataset.ready = "";
});
