/** Presets: the values of a sound as a file of JSON, beside the sound itself. */

import { element } from "../pages/dom.js";
import { wavOf } from "./recorder.js";
import { within } from "./space.js";

/** Write a sound and its parameters, in natural units and names of classes, as two files. */
export function keep(data, name, value, wave, about = {}) {
  const named = data.parameters.map(({ name: key, scale, class_names: names }, p) => {
    const natural = scale === "log" ? 10 ** value[p] : value[p];
    return [key, names.length ? names[Math.round(natural)] : natural];
  });
  const { title: dataset, sample_rate } = data;
  const kept = { dataset, sample_rate, ...about, parameters: Object.fromEntries(named) };
  download(`${name}.json`, new Blob([`${JSON.stringify(kept, null, 2)}\n`], { type: "application/json" }));
  download(`${name}.wav`, new Blob([wavOf(wave, sample_rate)], { type: "audio/wav" }));
}

/** The values in the text of such a file, those that it lacks as they were; null if it is none. */
export function presetOf(data, text, before) {
  let kept;
  try {
    kept = JSON.parse(text)?.parameters;
  } catch {
    return null;
  }
  if (typeof kept !== "object" || kept === null) return null;
  return data.parameters.map((parameter, p) => {
    const { name, scale, class_names: names } = parameter;
    const found = names.includes(kept[name]) ? names.indexOf(kept[name]) : kept[name];
    const value = scale === "log" ? Math.log10(found) : found;
    return typeof found === "number" && Number.isFinite(value) ? within(parameter, value) : before[p];
  });
}

function download(name, blob) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}
