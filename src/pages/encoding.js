/** Bytes that Python made (`src/pages/encoding.py`), as numbers. */

import { find } from "./dom.js";

const FULL_SCALE = 32767;
const MAX_LEVEL = 65535;

export const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Samples, and Hz, of a mono WAV file of 16 bits with a header of 44 bytes. */
export function decodeWav(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = new Float32Array((view.byteLength - 44) / 2);
  for (let i = 0; i < samples.length; i++) samples[i] = view.getInt16(44 + 2 * i, true) / FULL_SCALE;
  return { samples, rate: view.getUint32(24, true) };
}

/** Levels between `low` and `high` that were rounded to 16 bits. */
export function decodeLevels(bytes, low, high) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const level = (_, i) => low + (view.getUint16(2 * i, true) / MAX_LEVEL) * (high - low);
  return Float32Array.from({ length: bytes.byteLength / 2 }, level);
}

/** The compressed block of sounds and pictures in a page. */
export class Block {
  #bytes;

  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** Read the one of this page. */
  static async ofPage() {
    const packed = new Blob([bytesOf(find("#block").textContent)]).stream();
    const stream = packed.pipeThrough(new DecompressionStream("deflate"));
    return new Block(new Uint8Array(await new Response(stream).arrayBuffer()));
  }

  /** Samples of a sound at a place: its first byte, and its length in numbers. */
  sound(place) {
    return Float32Array.from(new Int16Array(this.#numbers(place).buffer), (sample) => sample / FULL_SCALE);
  }

  /** Levels between two ends at a place. */
  levels(place, low, high) {
    return Float32Array.from(this.#numbers(place), (level) => low + (level / MAX_LEVEL) * (high - low));
  }

  /** Sums of the differences that stand there, all low bytes before all high bytes. */
  #numbers([first, count]) {
    const numbers = new Uint16Array(count);
    let sum = 0;
    for (let i = 0; i < count; i++) {
      sum += this.#bytes[first + i] + 256 * this.#bytes[first + count + i];
      numbers[i] = sum; // modulo 65536, as the differences are
    }
    return numbers;
  }
}
