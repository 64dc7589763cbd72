/** A keyboard of the notes that a synth has: played by pointer, by keys of the computer, and by MIDI. */

import { find, say } from "../pages/dom.js";
import { clamp } from "../pages/formats.js";

const SVG = "http://www.w3.org/2000/svg";
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const WHITE = [0, 2, 4, 5, 7, 9, 11]; // notes of an octave
const LETTERS = "awsedftgyhujkolp"; // keys of a computer, from a C on
const [KEY, LONG, SHORT, NARROW] = [20, 100, 62, 12]; // sizes of white and of black keys
const NOTE_ON = 0x90;

const isWhite = (note) => WHITE.includes(((note % 12) + 12) % 12);
export const nameOf = (note) => `${NAMES[((note % 12) + 12) % 12]}${Math.floor(note / 12) - 1}`;

export class Keyboard {
  #svg;
  #low;
  #high;
  #press;
  #note = 60;
  #held = false;

  /**
   * @param {HTMLElement} root Has an svg, `#note` and `#midi`.
   * @param {object} range `min` and `max`, notes.
   * @param {Function} press Of a note, and of a velocity (0 to 127) where it is known.
   */
  constructor(root, { min, max }, press) {
    Object.assign(this, { root });
    this.#low = Math.ceil(min);
    this.#high = Math.floor(max);
    this.#press = press;
    this.#svg = find("svg", root);
    root.hidden = false;
    this.#build();
    this.#listen();
  }

  show(note) {
    this.#note = note;
    for (const key of this.#svg.children) key.classList.toggle("down", Number(key.dataset.note) === Math.round(note));
    const cents = Math.round(100 * (note - Math.round(note)));
    find("#note").textContent = `${nameOf(Math.round(note))}${cents ? ` ${cents > 0 ? "+" : "−"}${Math.abs(cents)} cents` : ""}`;
  }

  #build() {
    const notes = Array.from({ length: this.#high - this.#low + 1 }, (_, i) => this.#low + i);
    const whites = notes.filter(isWhite);
    const place = new Map(whites.map((note, i) => [note, i * KEY]));
    const width = Math.max(1, whites.length) * KEY;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${LONG}`);
    const key = (note, x, wide, long) => {
      const made = document.createElementNS(SVG, "rect");
      const attributes = { x, y: 0, width: wide, height: long, rx: 2, class: isWhite(note) ? "white" : "black" };
      for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
      made.dataset.note = note;
      return made;
    };
    const left = (note) => (place.has(note - 1) ? place.get(note - 1) + KEY : place.get(note + 1) ?? 0) - NARROW / 2;
    const blacks = notes.filter((note) => !isWhite(note));
    this.#svg.replaceChildren(
      ...whites.map((note) => key(note, place.get(note) + 0.5, KEY - 1, LONG)),
      ...blacks.map((note) => key(note, clamp(left(note), 0, width - NARROW), NARROW, SHORT)),
    );
  }

  #play(note, velocity = null) {
    this.#press(clamp(note, this.#low, this.#high), velocity);
  }

  #listen() {
    const svg = this.#svg;
    const under = (event) => document.elementFromPoint(event.clientX, event.clientY)?.dataset?.note;
    svg.addEventListener("pointerdown", (event) => {
      this.#held = true;
      svg.releasePointerCapture?.(event.pointerId);
      if (event.target.dataset.note) this.#play(Number(event.target.dataset.note));
    });
    svg.addEventListener("pointermove", (event) => {
      const note = this.#held && svg.contains(event.target) ? under(event) : undefined;
      if (note !== undefined && Number(note) !== Math.round(this.#note)) this.#play(Number(note));
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      document.addEventListener(kind, () => { this.#held = false; });
    }
    svg.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
    const letter = LETTERS.indexOf(event.key.toLowerCase());
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -12, ArrowUp: 12 };
    if (event.key in moves) this.#play(Math.round(this.#note) + moves[event.key]);
    else if (letter >= 0 && event.key.length === 1) this.#play(12 * Math.floor(Math.round(this.#note) / 12) + letter);
    else return;
    event.preventDefault();
    event.stopPropagation(); // it is not the player's
  }

  /** Offer MIDI where the browser has it; it asks the user first. */
  offerMidi(button) {
    if (!navigator.requestMIDIAccess) return;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        const access = await navigator.requestMIDIAccess();
        const listen = () => {
          for (const input of access.inputs.values()) input.onmidimessage = ({ data }) => this.#midi(data);
          button.textContent = `MIDI: ${access.inputs.size || "no"} ${access.inputs.size === 1 ? "input" : "inputs"}`;
        };
        access.onstatechange = listen;
        listen();
      } catch (error) {
        button.textContent = "MIDI refused";
        say(error.message);
      }
    });
  }

  #midi([status, note, velocity]) {
    if ((status & 0xf0) === NOTE_ON && velocity > 0) this.#play(note, velocity);
  }
}
