/** A network: what it says of a sound, and how far that can be trusted, as in `messages.py` and `widening.py`. */

import { indexOf, Space } from "../space.js";

const LEAST_SPREAD = 0.05; // steps

export class Listener {
  #data;
  #network;
  #run;
  #space;

  /**
   * @param {object} data The page's.
   * @param {object} network How its answers are judged, from `tables.py`.
   * @param {Function} run Runs its graph.
   */
  constructor(data, network, run) {
    this.#data = data;
    this.#network = network;
    this.#run = run;
    this.#space = new Space(data.parameters, data.fixed);
  }

  /** What the network says of a sound with its picture, before it is judged. */
  async hear({ image, range }) {
    const { channels } = this.#data;
    const shape = [1, channels.length, channels[0].rows.centres.length, channels[0].columns.centres.length];
    const found = await this.#run({ image: ["uint8", image, shape], spec_range: ["float32", range, [1, 2]] });
    const of = (kind) => Object.fromEntries(Object.entries(found)
      .filter(([name]) => name.startsWith(kind)).map(([name, array]) => [name.slice(kind.length), [...array]]));
    return {
      value: [...found.value], std: [...found.std], shares: of("share_"), probabilities: of("probability_"),
      distance: found.distance ? found.distance[0] : null,
    };
  }

  /**
   * An answer as the page shows it.
   *
   * @param {object} heard From `hear`.
   * @param {number} apart How far its resynthesis is, dB.
   * @param {number[]} truth The values that made the sound.
   */
  judge({ value, std, shares, probabilities, distance }, apart, truth) {
    const { parameters, static: { width, far } } = this.#data;
    const { unit } = this.#network;
    const place = distance === null ? null : Math.sqrt(distance * apart) / (unit ?? 1);
    const spread = unit === null || place === null ? std : this.#widened(std, place);
    const active = this.#space.active(value);
    const clip = (at, p) => Math.min(Math.max(at, parameters[p].min), parameters[p].max);
    const low = value.map((at, p) => clip(at - width * spread[p], p));
    const high = value.map((at, p) => clip(at + width * spread[p], p));
    const numeric = (p) => active[p] && parameters[p].kind !== "categorical";
    const zone = place === null ? null : place <= 1 ? "inside" : place <= far ? "near" : "far";
    return {
      value: value.map((at, p) => (active[p] ? at : null)),
      low: low.map((at, p) => (numeric(p) ? at : null)),
      high: high.map((at, p) => (numeric(p) ? at : null)),
      probabilities, distance: place, zone, apart, trust: this.#trust(zone, place, apart),
      histogram: this.#histogram(value, spread, shares, probabilities),
      ...this.#errors(value, truth, low, high, active),
    };
  }

  /** Standard deviations at a distance from the training. */
  #widened(std, distance) {
    const { knots, factors } = this.#network;
    const { far, width, wider } = this.#data.static;
    const isUnknown = knots.length > 1 && distance > Math.max(knots.at(-1), 1);
    return std.map((spread, p) => {
      const { min, max, step } = this.#data.parameters[p];
      const factor = interpolated(Math.max(distance, 1), knots, factors.map((row) => row[p]));
      const least = distance > far ? (step * wider) / width : 0;
      const uniform = isUnknown ? (max - min) / Math.sqrt(12) : 0;
      return Math.max(Math.min(spread * factor, max - min), least, uniform);
    });
  }

  #errors(value, truth, low, high, active) {
    const acted = this.#space.active(truth);
    const [inside, steps] = [[], []];
    this.#data.parameters.forEach((knob, p) => {
      const isCategory = knob.kind === "categorical";
      const isWrong = indexOf(knob, value[p]) !== indexOf(knob, truth[p]);
      const error = isCategory ? Number(isWrong) : (value[p] - truth[p]) / knob.step;
      inside.push(acted[p] ? (isCategory ? !isWrong : low[p] <= truth[p] && truth[p] <= high[p]) : null);
      steps.push(acted[p] && active[p] ? error : null);
    });
    return { inside, error_steps: steps };
  }

  /** The distribution over the grid that is given to each parameter, in few enough bins. */
  #histogram(value, std, shares, probabilities) {
    const { parameters, static: { most_bins: mostBins } } = this.#data;
    return Object.fromEntries(parameters.map((knob, p) => {
      const own = probabilities[knob.name] ?? shares[knob.name] ?? normal(knob, value[p], std[p]);
      const joined = Math.ceil(own.length / mostBins);
      const bins = new Array(Math.ceil(own.length / joined)).fill(0);
      own.forEach((share, i) => { bins[Math.floor(i / joined)] += share; });
      return [knob.name, bins];
    }));
  }

  #trust(zone, distance, apart) {
    const { words } = this.#data.static;
    if (zone === null) return words.unknown;
    return `${words[zone]}: distance ${shortened(distance)}; the answer's sound is ${apart.toFixed(1)} dB away`;
  }
}

/** A normal distribution over a parameter's grid. */
function normal({ min, step, n_classes: nClasses }, value, std) {
  const spread = Math.max(std / step, LEAST_SPREAD);
  const shares = Array.from({ length: nClasses }, (_, i) => Math.exp(-0.5 * ((i - (value - min) / step) / spread) ** 2));
  const sum = Math.max(shares.reduce((a, b) => a + b), 1e-12);
  return shares.map((share) => share / sum);
}

/** Rising knots to factors, straight between them in the logarithms of both. */
function interpolated(at, knots, factors) {
  const next = knots.findIndex((knot) => knot >= at);
  if (next < 0) return factors.at(-1);
  if (next === 0) return factors[0];
  const share = Math.log(at / knots[next - 1]) / Math.log(knots[next] / knots[next - 1]);
  return factors[next - 1] * (factors[next] / factors[next - 1]) ** share;
}

/** A distance in three digits at most. */
function shortened(distance) {
  if (distance >= 9.95) return Math.round(distance).toLocaleString("en");
  return String(Number(distance.toPrecision(2)));
}
