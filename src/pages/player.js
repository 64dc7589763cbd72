/** Plays sounds of one length together, one of them audible: switching goes on at the same position without a gap. */

import { calm } from "./dom.js";
import { clamp } from "./formats.js";

const FADE = 0.004; // s of a stop, and of a start within a sound
const CROSS = 0.012; // s over which a sound gives way to another at once
const SWITCH = 0.003; // s, time constant of a change of gains
const LEAD = 0.02; // s from a start to its first sample

const RATES = [8000, 96000]; // Hz that every browser has; sounds of other rates are played faster or slower
const IDLE = 1000; // ms after the last sound until the output rests

const outputs = new Map();

/** An output at a rate, so that the browser's own resampler does what is left; it rests while no player plays. */
class Output {
  #playing = new Set();

  constructor(rate) {
    this.context = new AudioContext({ sampleRate: rate });
  }

  static at(rate) {
    if (!outputs.has(rate)) outputs.set(rate, new Output(rate));
    return outputs.get(rate);
  }

  wake(player) {
    this.#playing.add(player);
    this.context.resume();
  }

  rest(player) {
    this.#playing.delete(player);
    setTimeout(() => this.#playing.size || this.context.suspend(), IDLE);
  }
}

export function peakOf(wave) {
  let peak = 0;
  for (const sample of wave) peak = Math.max(peak, Math.abs(sample));
  return peak;
}

export const rmsOf = (wave) => Math.sqrt(wave.reduce((sum, sample) => sum + sample * sample, 0) / (wave.length || 1));

export class Player {
  #waves = [];
  #levels = []; // RMS of each
  #headroom = 1;
  #rate = 0;
  #speed = 1; // samples of a sound to one of its output
  #output = null;
  #offset = 0; // s, of the first sample since `#started`
  #started = 0; // s, of the context's clock
  #voices = [];
  #fade = null;
  #onChange;
  #onMove;

  /**
   * @param {object} hands `onChange()` after anything but the position; `onMove()` while it moves.
   */
  constructor({ onChange = () => {}, onMove = () => {} } = {}) {
    Object.assign(this, { side: 0, playing: false, looping: false, matched: false, volume: 1, duration: 0 });
    this.#onChange = onChange;
    this.#onMove = onMove;
  }

  /** Take other sounds, Float32Array each, at the position of those before if they play. */
  exchange(waves, rate) {
    this.load(waves, rate, this.playing ? this.position + LEAD : 0);
  }

  /** Take other sounds, Float32Array each; what plays goes on with them, from `offset` on, s. */
  load(waves, rate, offset = 0) {
    this.#restart(() => {
      this.#waves = waves;
      this.#rate = clamp(rate, ...RATES);
      this.#speed = rate / this.#rate;
      this.#levels = waves.map(rmsOf);
      this.#headroom = 1 / Math.max(1, ...waves.map(peakOf));
      this.duration = waves[0].length / rate;
      this.side = Math.min(this.side, waves.length - 1);
      this.#offset = Math.min(offset, this.duration);
    });
  }

  /** Where all sounds are, s. */
  get position() {
    if (!this.playing) return this.#offset;
    const elapsed = this.#offset + Math.max(0, this.#now - this.#started);
    return this.looping ? elapsed % this.duration : Math.min(elapsed, this.duration);
  }

  play(side = this.side) {
    this.side = side;
    if (this.playing) this.#setGains();
    else this.#start();
    this.#onChange();
  }

  pause() {
    this.#stop(this.position);
    this.#onChange();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Make a side the audible one, now or when it plays. */
  choose(side) {
    this.side = side;
    if (this.playing) this.#setGains();
    this.#onChange();
  }

  seek(seconds) {
    this.#restart(() => { this.#offset = Math.max(0, Math.min(this.duration, seconds)); });
  }

  /** Whether it begins again at the end; a sound that plays goes on. */
  loop(looping) {
    if (this.playing) {
      this.#offset = this.position;
      this.#started = Math.max(this.#started, this.#now);
      for (const { source } of this.#voices) source.loop = looping;
    }
    this.looping = looping;
    this.#onChange();
  }

  /** Whether the louder sides are lowered to the RMS level of the softest one. */
  match(matched) {
    this.matched = matched;
    if (this.playing) this.#setGains();
    this.#onChange();
  }

  /** Lower all sides, 0 to 1. */
  soften(volume) {
    this.volume = volume;
    if (this.playing) this.#setGains();
    this.#onChange();
  }

  /** Gains at which the sides are heard: none goes beyond full scale, and none is raised. */
  #gains() {
    const softest = Math.min(...this.#levels.filter((level) => level > 0));
    const most = this.volume * this.#headroom;
    return this.#levels.map((level) => most * (this.matched && level > 0 ? softest / level : 1));
  }

  /** Time of the output, s. */
  get #now() {
    return this.#output.context.currentTime;
  }

  #setGains() {
    const gains = this.#gains();
    this.#voices.forEach(({ gain }, side) => {
      gain.gain.setTargetAtTime(side === this.side ? gains[side] : 0, this.#now, SWITCH);
    });
  }

  /** @param {number} before Seconds over which sounds before them fade; 0: there are none. */
  #start(before = 0) {
    this.#output = Output.at(this.#rate);
    this.#output.wake(this);
    if (this.#offset >= this.duration) this.#offset = 0;
    this.#started = this.#now + LEAD;
    const { context } = this.#output;
    this.#fade = new GainNode(context, { gain: this.#offset || before ? 0 : 1 });
    this.#fade.gain.setValueAtTime(this.#fade.gain.value, this.#started);
    this.#fade.gain.linearRampToValueAtTime(1, this.#started + (before || FADE));
    this.#fade.connect(context.destination);
    const gains = this.#gains();
    this.#voices = this.#waves.map((wave, side) => this.#voiceOf(wave, side === this.side ? gains[side] : 0));
    this.#voices[0].source.onended = () => {
      this.#stop(0);
      this.#onChange();
    };
    this.playing = true;
    this.#follow(this.#voices);
  }

  /** A sound that starts with the others, at a gain. */
  #voiceOf(wave, level) {
    const { context } = this.#output;
    const buffer = context.createBuffer(1, wave.length, this.#rate);
    buffer.copyToChannel(wave, 0);
    const gain = new GainNode(context, { gain: level });
    const source = new AudioBufferSourceNode(context, { buffer, loop: this.looping, playbackRate: this.#speed });
    source.connect(gain).connect(this.#fade);
    source.start(this.#started, this.#offset * this.#speed);
    return { source, gain };
  }

  /** @param {number} offset Where they are then, s. @param {number} wait Seconds until they fade. */
  #stop(offset, wait = 0, fade = FADE) {
    if (!this.playing) return;
    const begin = this.#now + wait;
    this.#fade.gain.cancelScheduledValues(0);
    this.#fade.gain.setValueAtTime(this.#fade.gain.value, begin);
    this.#fade.gain.linearRampToValueAtTime(0, begin + fade);
    this.#voices[0].source.onended = null;
    for (const { source } of this.#voices) source.stop(begin + fade);
    this.#voices = [];
    this.#output.rest(this);
    this.#offset = offset;
    this.playing = false;
  }

  /** Change what plays or where: if something plays, it fades while the other begins. */
  #restart(change) {
    const { playing } = this;
    this.#stop(this.position, LEAD, CROSS);
    change();
    if (playing) this.#start(CROSS);
    this.#onChange();
  }

  /** Tell that the position moved, while these voices play. */
  #follow(voices) {
    if (this.#voices !== voices) return;
    this.#onMove();
    if (calm.matches) setTimeout(() => this.#follow(voices), 250);
    else requestAnimationFrame(() => this.#follow(voices));
  }
}
