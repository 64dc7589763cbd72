/** Values become sounds, pictures and answers, as in `src/instrument/instrument.py` and `messages.py`. */

import { Space } from "../space.js";

const MOST_PIXEL = 255;

export class Player {
  #data;
  #space;
  #voices;
  #picture;
  #listeners;

  /**
   * @param {object} data The page's.
   * @param {object} voices Render.
   * @param {Function} picture Runs the representation.
   * @param {object[]} listeners The networks.
   */
  constructor(data, voices, picture, listeners) {
    this.#data = data;
    this.#space = new Space(data.parameters, data.fixed);
    this.#voices = voices;
    this.#picture = picture;
    this.#listeners = listeners;
  }

  /** The messages that answer a request for a sound, one after the other. */
  async* answer({ id, value }) {
    const known = this.#space.clip(value).map(Math.fround);
    const [sound] = await this.#pictured(this.#rendered([known]));
    const heard = [];
    for (const listener of this.#listeners) heard.push(await listener.hear(sound));
    yield { type: "sound", id, ...await this.#told(known, sound, heard) };
    yield { type: "sensitivity", id, db_per_step: await this.#sensitivity(known) };
  }

  /** What a sound is told by: its picture, and the answers with their resyntheses. */
  async #told(value, sound, heard) {
    const made = await this.#pictured(this.#rendered(heard.map((answer) => answer.value)));
    const arrays = { waveform: sound.waveform, picture: sound.image };
    const answers = this.#listeners.map((listener, n) => {
      Object.assign(arrays, { [`waveform${n}`]: made[n].waveform, [`picture${n}`]: made[n].image });
      const answer = listener.judge(heard[n], apart(sound, made[n]), value);
      return { ...answer, waveform: `waveform${n}`, picture: `picture${n}`, ends: this.#ends(made[n]) };
    });
    return { source: "synth", name: "", notes: [], value, ends: this.#ends(sound), answers, arrays };
  }

  #rendered(values) {
    return this.#voices.render(values.map((value) => this.#space.given(value)));
  }

  /** Sounds with their pictures: `waveform`, `image`, `range` in dB and `decibels`. */
  async #pictured(waveforms) {
    if (!waveforms.length) return [];
    const [n, length] = [waveforms.length, waveforms[0].length];
    const all = new Float32Array(n * length);
    waveforms.forEach((waveform, i) => all.set(waveform, i * length));
    const { image, spec_range: range, decibels } = await this.#picture({ waveform: ["float32", all, [n, length]] });
    const part = (array, i) => array.slice((i * array.length) / n, ((i + 1) * array.length) / n);
    return waveforms.map((waveform, i) => ({ waveform, image: part(image, i), range: part(range, i), decibels: part(decibels, i) }));
  }

  /** Levels of the pixels 0 and 255 of each channel. */
  #ends({ range }) {
    return this.#data.channels.map(({ ends }) => ends ?? [...range]);
  }

  /** How far the picture moves with a grid step of each parameter, dB. */
  async #sensitivity(value) {
    const values = [value, ...value.map((_, p) => this.#space.oneStepOn(value, p))];
    const [own, ...moved] = await this.#pictured(this.#rendered(values));
    const active = this.#space.active(value);
    return moved.map(({ decibels }, p) => (active[p] ? rms(decibels.length, (i) => decibels[i] - own.decibels[i]) : 0));
  }
}

/** How far the first channels of two pictures are from each other, dB. */
function apart(one, other) {
  const level = ({ image, range: [low, high] }, i) => low + (image[i] / MOST_PIXEL) * (high - low);
  return rms(one.decibels.length, (i) => level(one, i) - level(other, i));
}

/** Root mean square of a function of 0 … n - 1. */
function rms(n, at) {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += at(i) ** 2;
  return Math.sqrt(sum / n);
}
