/** Where the page gets its records from: the server that has handed it out, or the blocks of the file that it is. */

import { bytesOf, decodeWav } from "../pages/encoding.js";

/** @typedef {{low: number, high: number, pixels: Uint8Array}} Image levels of the pixels 0 and 255; rows rise */

/** Images of `nRecords` records and `nChannels` channels, as `SplitContent.images` packs them: one list per record. */
function unpackImages(bytes, nRecords, nChannels, nPixels) {
  const ends = new DataView(bytes.buffer, bytes.byteOffset);
  const first = nRecords * nChannels * 8;
  const image = (i) => ({
    low: ends.getFloat32(8 * i, true),
    high: ends.getFloat32(8 * i + 4, true),
    pixels: bytes.subarray(first + i * nPixels, first + (i + 1) * nPixels),
  });
  return Array.from({ length: nRecords }, (_, record) =>
    Array.from({ length: nChannels }, (_, channel) => image(record * nChannels + channel)));
}

const ENDED = "The program that feeds this page has ended. Start it again, and open the address that it prints.";

const textOf = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

const floatsOf = (bytes) => new Float32Array(bytes.slice().buffer);

/** Asks the local server. */
class Server {
  #nPixels;

  constructor(data) {
    this.#nPixels = data.height * data.width;
    this.most = data.request;
    this.hasSound = () => data.sound.possible;
  }

  /** A number of every record. */
  column = async (split, number) => floatsOf(await this.#get(`${split}/column/${number}`));

  /** Image of one channel of some records. */
  async images(split, channel, numbers, signal) {
    const bytes = await this.#get(`${split}/images/${channel}/${numbers.join(",")}`, signal);
    return unpackImages(bytes, numbers.length, 1, this.#nPixels).map(([image]) => image);
  }

  /** The entries of all columns of one record, and the images of all its channels. */
  async record(split, number, nColumns, nChannels, signal) {
    const bytes = await this.#get(`${split}/record/${number}`, signal);
    const [images] = unpackImages(bytes.subarray(4 * nColumns), 1, nChannels, this.#nPixels);
    return { entries: floatsOf(bytes.subarray(0, 4 * nColumns)), images };
  }

  /** The file of a record, and where the record begins in it, s. */
  whence = async (split, number, signal) => textOf(await this.#get(`${split}/whence/${number}`, signal));

  /** Samples and rate of the sound of a record. */
  sound = async (split, number, signal) => decodeWav(await this.#get(`${split}/sound/${number}`, signal));

  /** Bytes of an answer; an error with `answered` is the server's own, any other one says that there is none. */
  async #get(address, signal) {
    let answer;
    try {
      answer = await fetch(`/data/${address}`, { signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Error(ENDED);
    }
    if (!answer.ok) throw Object.assign(new Error(await answer.text()), { answered: true });
    return new Uint8Array(await answer.arrayBuffer());
  }
}

const MOST_UNPACKED = 64e6; // bytes of blocks that are kept unpacked

/** Unpacks the blocks of this file. */
class File {
  #data;
  #nPixels;
  #blocks = new Map(); // name to a promise of bytes, the last used at the end
  #unpacked = 0;

  constructor(data) {
    this.#data = data;
    this.#nPixels = data.height * data.width;
    this.most = 256;
    this.hasSound = (split, number) => number < (data.saved.sounds[split] ?? 0);
  }

  column = async (split, number) => floatsOf(await this.#block(`${split}-column-${number}`));

  async images(split, channel, numbers) {
    const all = await Promise.all(numbers.map((number) => this.#images(split, number)));
    return all.map((images) => images[channel]);
  }

  async record(split, number, nColumns) {
    const columns = Array.from({ length: nColumns }, (_, c) => this.column(split, c));
    const entries = Float32Array.from(await Promise.all(columns), (column) => column[number]);
    return { entries, images: await this.#images(split, number) };
  }

  whence = async (split, number) => textOf(await this.#block(`${split}-whence`))[number];

  async sound(split, number) {
    const bytes = (await this.#block(`${split}-sound-${number}`)).slice();
    const samples = Float32Array.from(new Int16Array(bytes.buffer), (sample) => sample / 32767);
    return { samples, rate: this.#data.saved.rate };
  }

  /** Images of all channels of one record. */
  async #images(split, number) {
    const { perBlock } = this.#data.saved;
    const { n, channels } = this.#data.splits[split];
    const block = Math.floor(number / perBlock);
    const bytes = await this.#block(`${split}-images-${block}`);
    const nRecords = Math.min(perBlock, n - block * perBlock);
    return unpackImages(bytes, nRecords, channels.length, this.#nPixels)[number % perBlock];
  }

  #block(name) {
    const kept = this.#blocks.get(name) ?? this.#unpack(name);
    this.#blocks.delete(name);
    this.#blocks.set(name, kept);
    return kept;
  }

  async #unpack(name) {
    const packed = new Blob([bytesOf(document.getElementById(name).textContent)]);
    const stream = packed.stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    this.#unpacked += bytes.length;
    for (const [other, kept] of this.#blocks) {
      if (this.#unpacked <= MOST_UNPACKED || other === name) break;
      this.#unpacked -= (await kept).length;
      this.#blocks.delete(other);
    }
    return bytes;
  }
}

/** What feeds a page with this description. */
export const sourceOf = (data) => (data.saved ? new File(data) : new Server(data));
