/** Records the microphone, as a WAV file of 16 bits. */

const LONGEST = 10; // s
const HEADER = 44; // bytes

/** A mono WAV file of 16 bits, ArrayBuffer. */
export function wavOf(samples, rate) {
  const view = new DataView(new ArrayBuffer(HEADER + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  text(8, "WAVEfmt ");
  [[16, 16], [24, rate], [28, 2 * rate], [40, 2 * samples.length]].forEach(([at, number]) => view.setUint32(at, number, true));
  [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, number]) => view.setUint16(at, number, true));
  text(36, "data");
  samples.forEach((sample, i) => view.setInt16(HEADER + 2 * i, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return view.buffer;
}

export class Recorder {
  #recorder = null;
  #timer = null;
  #onEnd;

  /** @param {Function} onEnd Of the bytes of a WAV file, or of null and a sentence. */
  constructor(onEnd) {
    this.#onEnd = onEnd;
  }

  static get isPossible() {
    return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
  }

  get recording() {
    return this.#recorder !== null;
  }

  async start() {
    try {
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
      const pieces = [];
      this.#recorder = new MediaRecorder(stream);
      this.#recorder.ondataavailable = ({ data }) => pieces.push(data);
      this.#recorder.onstop = () => {
        for (const track of stream.getTracks()) track.stop();
        this.#recorder = null;
        this.#decode(new Blob(pieces));
      };
      this.#recorder.start();
      this.#timer = setTimeout(() => this.stop(), LONGEST * 1000);
    } catch (error) {
      this.#recorder = null;
      this.#onEnd(null, `The microphone cannot be used: ${error.message}`);
    }
  }

  stop() {
    clearTimeout(this.#timer);
    this.#recorder?.stop();
  }

  /** What the browser has recorded in a form of its own, as samples. */
  async #decode(blob) {
    const context = new AudioContext();
    try {
      const sound = await context.decodeAudioData(await blob.arrayBuffer());
      this.#onEnd(wavOf(sound.getChannelData(0), sound.sampleRate));
    } catch {
      this.#onEnd(null, "The recording cannot be read. Record for longer.");
    } finally {
      context.close();
    }
  }
}
