/** Values of parameters as texts. */

import { clamp } from "./formats.js";

/** A value as text without its unit: in natural units, the name of a class, – where it does not act. */
export function valueText({ names, log, whole }, value) {
  if (!Number.isFinite(value)) return "–";
  if (names.length) return names[clamp(Math.round(value), 0, names.length - 1)];
  const natural = log ? 10 ** value : value;
  return (whole ? natural.toFixed(0) : String(Number(natural.toPrecision(4)))).replace("-", "−");
}

/** The same with its unit. */
export function valueWithUnits(column, value) {
  const text = valueText(column, value);
  return column.names.length || !Number.isFinite(value) ? text : `${text} ${column.units}`.trim();
}
