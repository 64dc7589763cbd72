/** The listening report: cards, list, pictures and numbers of the chosen sound, and the player that serves them all. */

import { all, element, find, pageData, say } from "../pages/dom.js";
import { Block } from "../pages/encoding.js";
import { listenToKeys } from "../pages/keys.js";
import { placePlayhead } from "../pages/pictures.js";
import { Player } from "../pages/player.js";
import { BlindDialog } from "./blind.js";
import { Cards } from "./cards.js";
import { Detail } from "./detail.js";
import { List } from "./list.js";
import { keysOf } from "./report_keys.js";
import { Store } from "./store.js";

class ReportPage {
  /** Side that pictures and numbers show beside the original: the last one of the answers that was chosen. */
  compared = 1;
  sound = -1;

  constructor(data, block) {
    this.data = data;
    this.store = new Store(data, block);
    this.player = new Player({ onChange: () => this.showPlayer(), onMove: () => this.showPosition() });
    this.list = new List(data, (number) => this.choose(number), () => this.showNow());
    this.cards = new Cards(data, this.store, {
      press: (number, side) => this.press(number, side),
      show: (number) => this.showDetail(number),
    });
    this.detail = new Detail(data, this.store, (seconds) => this.player.seek(seconds));
    this.blind = new BlindDialog(data, this.store, () => this.player.pause());
    this.choose(this.list.order[0]);
    this.#listen();
  }

  /** Make a sound the current one; what plays goes on with it from its beginning. */
  choose(number, focus = false) {
    this.sound = number;
    this.player.load(this.store.get(number).waves, this.data.rate);
    this.list.mark(number, focus);
    this.showNow();
    this.detail.show(number, this.compared);
    this.showPosition();
  }

  chooseSide(side) {
    this.player.choose(side);
    say(this.data.sides[side]);
  }

  /** The buttons of a sound's sides: play that side, or pause where it is the one that plays. */
  press(number, side) {
    if (number !== this.sound) {
      this.player.pause();
      this.choose(number);
    } else if (this.player.playing && side === this.player.side) {
      this.player.pause();
      return;
    }
    this.player.play(side);
  }

  togglePlay() {
    this.player.toggle();
    say(this.player.playing ? `Playing ${this.data.sides[this.player.side]}` : "Paused");
  }

  nextSide(by) {
    const count = this.data.sides.length;
    this.chooseSide((this.player.side + by + count) % count);
  }

  /** Play a row of the list, if that is where a key was pressed, or what is current. */
  playFrom(row) {
    if (row && Number(row.dataset.sound) !== this.sound) {
      this.player.pause();
      this.choose(Number(row.dataset.sound));
    }
    this.togglePlay();
  }

  openBlind() {
    this.blind.open(this.sound, this.compared, this.player.matched);
  }

  step(by) {
    const { order } = this.list;
    const next = order[order.indexOf(this.sound) + by];
    if (next === undefined) return;
    this.choose(next, document.activeElement.closest("#rows") !== null);
    say(find("#now").textContent);
  }

  showDetail(number) {
    this.choose(number);
    find("#sounds").focus({ preventScroll: true });
    find("#detail").scrollIntoView({ block: "start" });
  }

  // ----- what the player shows

  showPlayer() {
    const { player, data } = this;
    if (player.side > 0 && player.side !== this.compared) {
      this.compared = player.side;
      this.detail.show(this.sound, this.compared);
      this.cards.show(this.compared);
    }
    find("#seek").max = player.duration;
    find("#loop").checked = player.looping;
    find("#match").checked = player.matched;
    for (const group of [find("#player"), ...all(".card")]) {
      const current = group.id === "player" || Number(group.dataset.sound) === this.sound;
      for (const button of all(".play", group)) {
        const audible = current && Number(button.dataset.side) === player.side;
        button.setAttribute("aria-pressed", audible && player.playing);
        button.classList.toggle("audible", audible);
      }
    }
    this.detail.markSide(player.side, data.sides);
    this.cards.mark(this.sound, player.side);
    this.showPosition();
  }

  showPosition() {
    const { player } = this;
    const now = player.position;
    find("#seek").value = now;
    find("#seek").setAttribute("aria-valuetext", `${now.toFixed(2)} seconds`);
    find("#time").textContent = `${now.toFixed(2)} / ${player.duration.toFixed(2)} s`;
    const shown = now === 0 && !player.playing ? null : now;
    for (const plot of all("#detail .plot")) placePlayhead(plot, shown);
    for (const card of all(".card")) {
      const own = Number(card.dataset.sound) === this.sound ? shown : null;
      for (const plot of all(".plot", card)) placePlayhead(plot, own);
    }
  }

  showNow() {
    const { order } = this.list;
    const place = `, ${order.indexOf(this.sound) + 1} of ${order.length}`;
    find("#now").replaceChildren(this.data.sounds[this.sound].name, element("span", { class: "place" }, place));
    find("#now").title = find("#now").textContent;
  }

  // ----- hands

  #listen() {
    for (const button of all("#player .play")) {
      button.addEventListener("click", () => this.press(this.sound, Number(button.dataset.side)));
    }
    find("#toggle").addEventListener("click", () => this.nextSide(1));
    find("#previous").addEventListener("click", () => this.step(-1));
    find("#next").addEventListener("click", () => this.step(1));
    find("#loop").addEventListener("change", (event) => this.player.loop(event.target.checked));
    find("#match").addEventListener("change", (event) => this.player.match(event.target.checked));
    find("#seek").addEventListener("input", (event) => this.player.seek(Number(event.target.value)));
    find("#blind").addEventListener("click", () => this.openBlind());
    listenToKeys(keysOf(this), find("#keys"));
    const drawAll = () => {
      this.detail.draw();
      this.cards.show(this.compared);
      this.showPosition();
    };
    let drawn = 0;
    new ResizeObserver(([{ target }]) => {
      if (target.clientWidth !== drawn) drawAll();
      drawn = target.clientWidth;
    }).observe(find("main"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  }

}

const page = pageData();
Block.ofPage().then((block) => {
  new ReportPage(page, block);
  say("");
  document.documentElement.dataset.ready = "";
});
