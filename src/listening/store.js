/** The sounds of the report, decoded when they are first asked for. */

import { DIFFERENCES, LEVELS, reachOf } from "../pages/pictures.js";

export class Store {
  #data;
  #block;
  #found = new Map();

  constructor(data, block) {
    this.#data = data;
    this.#block = block;
  }

  /** Waveforms and levels, dB, of every side of a sound. */
  get(number) {
    if (!this.#found.has(number)) {
      const { waves, pictures } = this.#data.sounds[number];
      this.#found.set(number, {
        waves: waves.map((place) => this.#block.sound(place)),
        levels: pictures.map((place) => this.#block.levels(place, ...this.#data.levels)),
      });
    }
    return this.#found.get(number);
  }

  /** What is drawn of a sound: the original, an answer, and the answer less the original. */
  pictures(number, side) {
    const { levels } = this.get(number);
    const [low, high] = this.#data.levels;
    const difference = levels[side].map((level, i) => level - levels[0][i]);
    const reach = reachOf(difference);
    return [
      { values: levels[0], low, high, colours: LEVELS },
      { values: levels[side], low, high, colours: LEVELS },
      { values: difference, low: -reach, high: reach, colours: DIFFERENCES },
    ];
  }
}
