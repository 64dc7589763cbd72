/** Tables that are also lists on a narrow screen: every cell knows the heading of its column. */

import { all, element, find } from "./dom.js";

/** Parts of a name that may be broken after its underscores, and its units. */
export const withUnits = (name, units) => [
  ...name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]),
  ...(units ? [" ", element("small", {}, units)] : []),
];

export const row = (...cells) => element("tr", { role: "row" }, ...cells);

export const rowHead = (...children) => element("th", { role: "rowheader", scope: "row" }, ...children);

export const columnHead = (name, kind = "figure") =>
  element("th", { role: "columnheader", scope: "col", class: kind }, name);

/** A cell of figures under a heading: a text, and smaller ones behind it. */
export function cell(label, text, ...smaller) {
  const parts = [text, ...smaller.map((part) => element("small", {}, part))];
  return element("td", { role: "cell", class: "figure", "data-label": label }, element("span", {}, ...parts));
}

/** The range of a parameter as a line with marks on it: name of its style, place and width as fractions. */
export function track(marks, ends) {
  const line = element("span", { class: "track" }, element("i", { class: "range" }));
  for (const [name, place, width] of marks) {
    const made = element("i", { class: name });
    made.style.setProperty("--at", place);
    if (width) made.style.setProperty("--wide", width);
    line.append(made);
  }
  return [line, element("span", { class: "ends" }, ...ends.map((text) => element("span", {}, text)))];
}

/** Give a table its headings and rows; without rows it is hidden. */
export function fillTable(table, heads, rows) {
  table.hidden = !rows.length;
  find("thead", table).replaceChildren(row(...heads));
  find("tbody", table).replaceChildren(...rows);
}

/** Numbers of items by a key, those without one (null) last, equal ones as they came. */
export function sortedBy(count, keyOf, falling = false) {
  const sign = falling ? -1 : 1;
  const key = (i) => (keyOf(i) === null ? Infinity : sign * keyOf(i));
  return Array.from({ length: count }, (_, i) => i).sort((a, b) => key(a) - key(b) || a - b);
}

/** Scroll a box, not the page, until an element in it is in sight below its heading. */
export function keepInSight(box, inside) {
  const [outer, inner] = [box.getBoundingClientRect(), inside.getBoundingClientRect()];
  const head = Math.max(0, ...all("thead", box).map((part) => part.offsetHeight));
  if (inner.top < outer.top + head) box.scrollTop -= outer.top + head - inner.top;
  if (inner.bottom > outer.bottom) box.scrollTop += inner.bottom - outer.bottom;
}

/** Show which row of a list is the current one: the only one that Tab reaches. Give it the focus if that is wanted. */
export function markRow(rows, current, box, focus = false) {
  rows.forEach((line, i) => {
    const button = find("button", line);
    line.classList.toggle("current", i === current);
    button.tabIndex = i === current ? 0 : -1;
    if (i === current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  if (focus) find("button", rows[current]).focus({ preventScroll: true });
  keepInSight(box, rows[current]);
}
