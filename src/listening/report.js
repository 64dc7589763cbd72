/** The listening report: cards, list, pictures and numbers of the chosen sound, and the player that serves them all. */

import { all, find, pageData, say, whenLookChanges } from "../pages/dom.js";
import { Block } from "../pages/encoding.js";
import { listenToKeys } from "../pages/keys.js";
import { placePlayhead } from "../pages/pictures.js";
import { PlayerBar } from "../pages/player_bar.js";
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
    this.bar = new PlayerBar(find("#player"), data.sides, {
      press: (side) => this.press(this.sound, side),
      step: (places) => this.step(places),
      toggle: ({ target }) => this.playFrom(target.closest("#rows tr")),
      onChange: () => this.showPlayer(),
      onMove: (now) => this.showPosition(now),
    });
    this.player = this.bar.player;
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
    this.bar.showPosition();
  }

  /** The buttons of a sound's sides: play that side, or pause where it is the one that plays. */
  press(number, side) {
    if (number !== this.sound) {
      this.player.pause();
      this.choose(number);
    }
    this.bar.press(side);
  }

  /** Play a row of the list, if that is where a key was pressed, or what is current. */
  playFrom(row) {
    if (row && Number(row.dataset.sound) !== this.sound) {
      this.player.pause();
      this.choose(Number(row.dataset.sound));
    }
    this.bar.toggle();
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
    const { player } = this;
    if (player.side > 0 && player.side !== this.compared) {
      this.compared = player.side;
      this.detail.show(this.sound, this.compared);
      this.cards.show(this.compared);
    }
    for (const card of all(".card")) this.bar.mark(card, Number(card.dataset.sound) === this.sound);
    this.detail.markSide(player.side);
    this.cards.mark(this.sound, player.side);
  }

  /** Move the playheads to a time, s; null hides them. */
  showPosition(now) {
    for (const plot of all("#detail .plot")) placePlayhead(plot, now);
    for (const card of all(".card")) {
      const own = Number(card.dataset.sound) === this.sound ? now : null;
      for (const plot of all(".plot", card)) placePlayhead(plot, own);
    }
  }

  showNow() {
    const { order } = this.list;
    this.bar.showNow(this.data.sounds[this.sound].name, order.indexOf(this.sound), order.length);
  }

  // ----- hands

  #listen() {
    find("#blind").addEventListener("click", () => this.openBlind());
    listenToKeys(keysOf(this), find("#keys"));
    whenLookChanges(find("main"), () => {
      this.detail.draw();
      this.cards.show(this.compared);
      this.bar.showPosition();
    });
  }
}

const page = pageData();
Block.ofPage().then((block) => {
  new ReportPage(page, block);
  say("");
  document.documentElement.dataset.ready = "";
});
