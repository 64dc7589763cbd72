/** Numbers as texts. `src/pages/formats.py` is the same in Python, which rounds exact ties to even digits. */

const NOTHING = "–";

/** Digits after the point that show two digits of `width`, 0 to 6. */
export const decimalsOf = (width) => (width > 0 ? Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(width)))) : 0);

/** A number with a true minus sign, in three digits or with `decimals` after the point; – for what is not finite. */
export function formatNumber(number, decimals = null) {
  if (number === null || !Number.isFinite(number)) return NOTHING;
  if (number && Math.abs(number) < 1e-4 && decimals === null) {
    const [digits, power] = number.toExponential(1).split("e");
    return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`.replaceAll("-", "−");
  }
  const text = number.toFixed(decimals ?? decimalsOf(Math.abs(number) / 10));
  return /^[-0.]*$/.test(text) ? text.replace("-", "") : text.replace("-", "−");
}

/** The same with a plus sign in front of what is above zero. */
export function formatSigned(number, decimals = null) {
  const text = formatNumber(number, decimals);
  return number > 0 && /[1-9]/.test(text) ? `+${text}` : text;
}

/** A frequency for a tick: 440, 1.5k. */
export const formatHertz = (hertz) =>
  hertz >= 1000 ? `${Number((hertz / 1000).toFixed(2))}k` : hertz.toFixed(0);

export const clamp = (number, low, high) => Math.max(low, Math.min(high, number));

/** The finest round step of which at most `most` reach from `low` to `high`. */
function roundStep(low, high, most) {
  const finest = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(finest));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((step) => step >= finest * (1 - 1e-9));
}

/** Places, 0 to 1, and texts of the round numbers from `low` to `high`, at most `most` steps of them. */
export function roundTicks(low, high, most, format = formatNumber) {
  const step = roundStep(low, high, most);
  const decimals = [0, 1, 2, 3, 4, 5, 6].find((n) => Math.abs(step - Number(step.toFixed(n))) < step * 1e-6) ?? 6;
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) {
    ticks.push([(i * step - low) / (high - low), format(i * step, decimals)]);
  }
  return ticks;
}
