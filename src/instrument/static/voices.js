/** The synths: parameters become what the kernels take, as in `src/synth/voices.py`, and these render in WebAssembly. */

import { Memory } from "./memory.js";

const CYCLE = 2 ** 64; // of a phase
const LEAST_TABLE = 512; // points
const FLOAT = 4; // bytes
const UNUSED = 64; // bytes for what a function of numba returns beside its number
const tables = new Map(); // number of harmonics to the table

export class Voices {
  #data;
  #functions;
  #memory = new Memory();

  /** @param {object} data The synth's settings, from `voices.py` of this folder. */
  constructor(data) {
    this.#data = data;
  }

  /** Compile the kernels, out of the bytes of a module. */
  async open(bytes) {
    const { instance } = await WebAssembly.instantiate(bytes, { env: this.#memory.imports });
    this.#functions = instance.exports;
    this.#memory.attach(instance.exports);
  }

  /**
   * Sounds of parameters in natural units.
   *
   * @param {object[]} sounds Name to number; what is missing stands at its default.
   * @returns {Float32Array[]} Their samples.
   */
  render(sounds) {
    const rendered = [];
    for (let first = 0; first < sounds.length; first += this.#data.lanes) {
      const group = sounds.slice(first, first + this.#data.lanes);
      rendered.push(...this.#group(group.map((sound) => ({ ...this.#data.defaults, ...sound }))));
    }
    return rendered;
  }

  #group(sounds) {
    const { kind, n_samples: nSamples, sample_rate: rate, oversample, taps } = this.#data;
    const [n, memory] = [sounds.length, this.#memory];
    memory.clear();
    const unused = [memory.reserve(UNUSED), memory.reserve(UNUSED)];
    const y = memory.reserve(n * nSamples * FLOAT);
    if (kind === "saw") {
      const amplitude = memory.put(Float32Array.from(sounds, (sound) => this.#amplitude(sound)));
      this.#functions.render_saw(...unused, y, n, nSamples, ...this.#oscillator(sounds, rate), amplitude, this.#decay(sounds, rate));
    } else if (oversample === 1) {
      this.#functions.render_moog(...unused, y, n, nSamples, ...this.#moog(sounds, rate, nSamples, 0));
    } else {
      const delay = (taps.length - 1) / 2;
      const nFine = delay + (nSamples - 1) * oversample + delay + 1;
      const fine = memory.reserve(n * nFine * FLOAT);
      this.#functions.render_moog(...unused, fine, n, nFine, ...this.#moog(sounds, rate * oversample, nFine, delay));
      const filter = memory.put(Float32Array.from(taps));
      this.#functions.decimate(...unused, y, n, nSamples, fine, nFine, filter, taps.length, oversample);
    }
    return sounds.map((_, i) => memory.floats(y + i * nSamples * FLOAT, nSamples));
  }

  #amplitude(sound) {
    return sound.note_velocity / this.#data.most_velocity;
  }

  /** Nepers a sample. */
  #decay(sounds, rate) {
    return this.#memory.put(Float64Array.from(sounds, (sound) => 10 ** -sound.log10_decay_time / rate));
  }

  /** What the kernels are told of the sawtooths. */
  #oscillator(sounds, rate) {
    const isLimited = this.#data.band_limited;
    const f0 = sounds.map(({ note_number: note }) => 440 * 2 ** ((note - 69) / 12));
    const each = f0.map((hertz) => sawTable(isLimited ? Math.ceil((0.5 * rate) / hertz) - 1 : 1));
    const distinct = [...new Set(each)];
    const points = new Float32Array(distinct.reduce((sum, table) => sum + table.length, 0));
    const starts = new Map();
    let at = 0;
    for (const table of distinct) {
      points.set(table, at);
      starts.set(table, at);
      at += table.length;
    }
    const turns = sounds.map(({ phase }) => phase - Math.floor(phase + 0.5));
    const lists = [
      each.map((table) => BigInt(starts.get(table))),
      each.map((table) => BigInt(40 - Math.log2(table.length - 1))),
      f0.map((hertz) => integer(hertz / rate)),
      turns.map(integer),
    ];
    const addresses = lists.map((list) => this.#memory.put(BigUint64Array.from(list)));
    return [Number(isLimited), this.#memory.put(points), points.length, ...addresses];
  }

  /** What `render_moog` takes after the number of samples. */
  #moog(sounds, rate, nSamples, lead) {
    const { rows, note_duration: noteDuration, cutoff_limits: limits } = this.#data;
    const all = sounds.map((sound) => moogRows(sound, rate, this.#amplitude(sound)));
    const parameters = Float32Array.from(rows.flatMap((row) => all.map((known) => known[row])));
    const end = noteDuration === null ? nSamples : noteDuration * rate;
    const scalars = [end, ...limits.map((hertz) => hertz / rate), lead];
    return [...this.#oscillator(sounds, rate), this.#memory.put(parameters), this.#decay(sounds, rate), ...scalars];
  }
}

/** Rows of the kernel's parameters by their names in `kernels.py`. */
function moogRows(sound, rate, amplitude) {
  const [attack, decay, release] = ["attack", "decay", "release"].map((stage) => Math.max(1, sound[`filter_env_${stage}`] * rate));
  return {
    AMPLITUDE: amplitude,
    FEEDBACK: 4 * sound.filter_resonance,
    CUTOFF: sound.filter_cutoff / rate,
    OCTAVES: sound.filter_env_amount,
    ATTACK_RATE: 1 / attack,
    ATTACK_END: attack,
    DECAY_RATE: (1 - sound.filter_env_sustain) / decay,
    SUSTAIN: sound.filter_env_sustain,
    RELEASE_RATE: 1 / release,
  };
}

/** A fraction of a cycle, -1/2 to below 1/2, as an unsigned integer, 2^64 to the cycle. */
function integer(cycles) {
  return BigInt.asUintN(64, BigInt(Math.trunc(cycles * CYCLE)));
}

/** One period of a rising sawtooth of so many harmonics, and its first point again: `saw_table` of `voices.py`. */
export function sawTable(nHarmonics) {
  if (!tables.has(nHarmonics)) tables.set(nHarmonics, makeSawTable(nHarmonics));
  return tables.get(nHarmonics);
}

function makeSawTable(nHarmonics) {
  const size = Math.max(LEAST_TABLE, 2 ** Math.ceil(Math.log2(32 * nHarmonics)));
  const sine = Float64Array.from({ length: size }, (_, i) => Math.sin((2 * Math.PI * i) / size));
  const total = new Float64Array(size + 1);
  for (let k = 1; k <= nHarmonics; k++) {
    const angle = (Math.PI * k) / size;
    const amplitude = ((k % 2 ? 2 : -2) / (Math.PI * k)) * (angle / Math.sin(angle)) ** 2;
    for (let i = 1; i < size; i++) total[i] += amplitude * sine[(k * i) % size];
  }
  return Float32Array.from(total);
}
