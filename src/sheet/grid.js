/** The grid of all records on one canvas: only what is seen is asked for and drawn. */

import { colourOf } from "../pages/dom.js";
import { clamp } from "../pages/formats.js";
import { DIFFERENCES, LEVELS, paint } from "../pages/pictures.js";

const GAP = 8; // pixels between cells
const LABEL = 18; // pixels below a picture, for its text
const MOST_HEIGHT = 8e6; // pixels of the scrolled box; browsers end somewhere above. Beyond, a pixel stands for more
const MOST_KEPT = 48e6; // bytes of pictures that are kept
const SHAPES = [0.4, 2.5]; // width over height of a picture, at the least and the most

export class Grid {
  #view;
  #spacer;
  #canvas;
  #source;
  #kept = new Map(); // record to a picture, the last drawn at the end
  #place = { split: null, channel: 0 };
  #asking = false;
  #most; // records that are asked for at a time
  #due = false;
  #shape;
  #textsOf;
  #onError;

  /**
   * @param {HTMLElement} view The box that scrolls, with a spacer and a canvas in it.
   * @param {object} source Has `images` and `most`.
   * @param {object} data The page's description.
   * @param {object} hands `textsOf(record)`, the texts below a picture, to the left and to the right;
   *   `onError(error)`.
   */
  constructor(view, source, data, { textsOf, onError }) {
    this.#view = view;
    [this.#canvas] = view.getElementsByTagName("canvas");
    this.#spacer = this.#canvas.parentElement;
    this.#source = source;
    this.#most = source.most;
    this.#shape = clamp(data.width / data.height, ...SHAPES);
    this.#textsOf = textsOf;
    this.#onError = onError;
    Object.assign(this, { order: new Uint32Array(0), width: 88, current: null, playing: null, size: data });
    view.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.arrange()).observe(view);
  }

  /** Show the records of a split, a channel of them. */
  open(split, channel, { ends, signed }) {
    this.#place = { split, channel, ends, colours: signed ? DIFFERENCES : LEVELS };
    this.#drop();
    this.draw();
  }

  #drop() {
    for (const picture of this.#kept.values()) picture?.close();
    this.#kept.clear();
  }

  /** Show records in an order; the place stays where it is, as far as there are so many. */
  list(order) {
    this.order = order;
    this.arrange();
  }

  /** Change the width of a picture, pixels, and keep the first record in sight. */
  resize(width) {
    const first = this.#firstRow * this.nColumns;
    this.width = width;
    this.#drop();
    this.arrange();
    this.#scrollTo(Math.floor(first / this.nColumns) * this.#pitch);
  }

  get nColumns() {
    return Math.max(1, Math.floor((this.#view.clientWidth - GAP) / (this.width + GAP)));
  }

  /** Records of a screen. */
  get nInView() {
    return this.nColumns * Math.max(1, Math.floor(this.#view.clientHeight / this.#pitch));
  }

  /** Width and height of a picture: the columns share all the width. */
  get #picture() {
    const width = (this.#view.clientWidth - GAP) / this.nColumns - GAP;
    return [width, width / this.#shape];
  }

  /** From one row to the next. */
  get #pitch() {
    return this.#picture[1] + LABEL + GAP;
  }

  get #total() {
    return Math.ceil(this.order.length / this.nColumns) * this.#pitch + GAP;
  }

  /** Pixels of the whole grid that a pixel of scrolling stands for. */
  get #scale() {
    const [inside, view] = [Math.min(this.#total, MOST_HEIGHT), this.#view.clientHeight];
    return inside > view ? (this.#total - view) / (inside - view) : 1;
  }

  /** Where in the whole grid the upper edge is. */
  get #top() {
    return this.#view.scrollTop * this.#scale;
  }

  get #firstRow() {
    return Math.max(0, Math.floor((this.#top - GAP) / this.#pitch));
  }

  #scrollTo(top) {
    this.#view.scrollTop = top / this.#scale;
  }

  /** Fit the canvas to the box, and the box's inside to the records. */
  arrange() {
    const { clientWidth, clientHeight } = this.#view;
    const density = window.devicePixelRatio || 1;
    this.#canvas.width = Math.round(clientWidth * density);
    this.#canvas.height = Math.round(clientHeight * density);
    this.#canvas.style.height = `${clientHeight}px`;
    this.#spacer.style.height = `${Math.max(clientHeight, Math.min(this.#total, MOST_HEIGHT))}px`;
    this.draw();
  }

  /** Draw with the next frame. */
  draw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#drawNow();
      this.#ask();
    });
  }

  /** Places in the order, from the first in sight to the one after the last, with as much around as is asked for. */
  #span(screens = 0) {
    const rows = Math.ceil(this.#view.clientHeight / this.#pitch) + 1;
    const first = Math.max(0, this.#firstRow - Math.round(screens * rows));
    const last = this.#firstRow + rows + Math.round(screens * rows);
    return [first * this.nColumns, Math.min(this.order.length, last * this.nColumns)];
  }

  /** Left and upper edge of a place, pixels of the view. */
  #cornerOf(place) {
    const [width] = this.#picture;
    const [row, column] = [Math.floor(place / this.nColumns), place % this.nColumns];
    return [GAP + column * (width + GAP), GAP + row * this.#pitch - this.#top];
  }

  #drawNow() {
    const density = window.devicePixelRatio || 1;
    const pen = this.#canvas.getContext("2d");
    pen.setTransform(density, 0, 0, density, 0, 0);
    pen.clearRect(0, 0, this.#view.clientWidth, this.#view.clientHeight);
    pen.imageSmoothingEnabled = this.size.width > this.#picture[0] * density;
    pen.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    pen.textBaseline = "top";
    pen.lineWidth = 3;
    const [ink, accent, empty] = ["--muted", "--accent", "--band"].map(colourOf);
    const [first, end] = this.#span();
    for (let place = first; place < end; place++) this.#drawCell(pen, place, { ink, accent, empty });
  }

  /** Draw the picture of a record, if it is there, and its texts; the current record has a frame. */
  #drawCell(pen, place, { ink, accent, empty }) {
    const record = this.order[place];
    const [[left, top], [width, height]] = [this.#cornerOf(place), this.#picture];
    const picture = this.#kept.get(record);
    if (picture) {
      pen.drawImage(picture, left, top, width, height);
      this.#kept.delete(record); // to the end of those that are kept
      this.#kept.set(record, picture);
    } else {
      pen.fillStyle = empty;
      pen.fillRect(left, top, width, height);
    }
    pen.fillStyle = record === this.current ? accent : ink;
    const [name, value] = this.#textsOf(record);
    const below = top + height + 4;
    const isWhole = below >= 0 && below + 12 <= this.#view.clientHeight; // half a text cannot be read
    if (isWhole) drawTexts(pen, record === this.playing ? `▶ ${name}` : name, value, left, below, width);
    if (record !== this.current) return;
    pen.strokeStyle = accent;
    pen.strokeRect(left - 2, top - 2, width + 4, height + 4);
  }

  /** Ask for the pictures in sight that are not there, then for those around; one request at a time, the newest. */
  async #ask() {
    if (this.#asking || !this.#place.split || !this.order.length) return;
    const missing = [0, 1].map((screens) => this.#missing(screens)).find((records) => records.length);
    if (!missing) return;
    const place = this.#place;
    this.#asking = true;
    try {
      const images = await this.#source.images(place.split, place.channel, missing);
      const pictures = await Promise.all(images.map((image) => this.#pictureOf(image, place)));
      if (place === this.#place) this.#keep(missing, pictures);
      this.#most = this.#source.most;
    } catch (error) {
      if (place === this.#place) this.#fail(missing, error);
    } finally {
      this.#asking = false;
    }
    this.draw();
  }

  /** Ask for fewer records at a time until the damaged one is alone; what cannot be had is not asked for again. */
  #fail(records, error) {
    if (error.answered && records.length > 1) {
      this.#most = Math.ceil(records.length / 2);
      return;
    }
    for (const record of records) this.#kept.set(record, null);
    this.#onError(error);
  }

  #missing(screens) {
    const found = [];
    const [first, end] = this.#span(screens);
    for (let place = first; place < end && found.length < this.#most; place++) {
      if (!this.#kept.has(this.order[place])) found.push(this.order[place]);
    }
    return found;
  }

  #keep(records, pictures) {
    records.forEach((record, i) => this.#kept.set(record, pictures[i]));
    const [first, end] = this.#span(1);
    const [{ width, height }] = pictures;
    const most = Math.max(end - first, Math.floor(MOST_KEPT / (4 * width * height)));
    for (const [record, picture] of this.#kept) {
      if (this.#kept.size <= most) break;
      picture?.close();
      this.#kept.delete(record);
    }
  }

  /** An image in its colours, no larger than it is shown. */
  #pictureOf({ low, high, pixels }, { ends: [first, last], colours }) {
    const scale = Uint8Array.from({ length: 256 }, (_, pixel) =>
      clamp(Math.round((255 * (low + (pixel / 255) * (high - low) - first)) / (last - first)), 0, 255));
    const image = paint(pixels, (pixel) => colours[scale[pixel]], this.size.height, this.size.width);
    const shown = Math.ceil(this.#picture[0] * (window.devicePixelRatio || 1));
    const share = Math.min(1, shown / this.size.width);
    if (share === 1) return createImageBitmap(image);
    const { width, height } = this.size;
    const [resizeWidth, resizeHeight] = [width, height].map((n) => Math.max(1, Math.round(n * share)));
    return createImageBitmap(image, { resizeWidth, resizeHeight, resizeQuality: "medium" });
  }

  /** The record under a pointer, or null. */
  recordUnder(event) {
    const box = this.#view.getBoundingClientRect();
    const [width, height] = this.#picture;
    const column = Math.floor((event.clientX - box.left - GAP / 2) / (width + GAP));
    const row = Math.floor((event.clientY - box.top + this.#top - GAP / 2) / (height + LABEL + GAP));
    const place = row * this.nColumns + column;
    return column >= 0 && column < this.nColumns && place >= 0 && place < this.order.length ? this.order[place] : null;
  }

  /** Scroll until a place of the order is in sight. */
  reveal(place) {
    const top = Math.floor(place / this.nColumns) * this.#pitch;
    const bottom = top + this.#pitch + GAP;
    if (top < this.#top) this.#scrollTo(top);
    else if (bottom > this.#top + this.#view.clientHeight) this.#scrollTo(bottom - this.#view.clientHeight);
    this.draw();
  }
}

/** Two texts, to the left and to the right; where they have no room together the second alone, cut to the width. */
function drawTexts(pen, text, value, left, top, width) {
  const [own, other] = [text, value].map((part) => pen.measureText(part).width);
  if (value && own + other + 6 <= width) pen.fillText(text, left, top);
  let shown = value || text;
  while (shown.length > 1 && pen.measureText(shown).width > width) shown = `${shown.slice(0, -2)}…`;
  pen.textAlign = value ? "right" : "left";
  pen.fillText(shown, value ? left + width : left, top);
  pen.textAlign = "left";
}
