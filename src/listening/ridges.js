/** Pairs of parameters that a sound does not tell apart: the line on which it is nearly the same, and the answer. */

import { element } from "../pages/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [320, 210, 40, 8, 170];

function shape(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** A figure of one pair; places are 0 to 1 of the ranges, across first. */
export function ridgeFigure({ names, ranges, ends, at }, side) {
  const x = (place) => LEFT + place * (WIDTH - LEFT - 8);
  const y = (place) => BOTTOM - place * (BOTTOM - TOP);
  const [from, to] = ends;
  const words = `${names[0]} and ${names[1]}: on the line the sound is nearly the same`;
  const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words });
  svg.append(
    shape("path", { class: "grid", d: `M${x(0)} ${y(1)}V${y(0)}H${x(1)}V${y(1)}Z` }),
    shape("path", { class: "ridge", d: `M${x(from[0])} ${y(from[1])}L${x(to[0])} ${y(to[1])}` }),
    shape("circle", { class: "answer", cx: x(at[0]), cy: y(at[1]), r: 4 }),
    shape("text", { class: "x", x: x(0) + 8, y: BOTTOM + 14 }, ranges[0][0]),
    shape("text", { class: "x", x: x(1) - 8, y: BOTTOM + 14 }, ranges[0][1]),
    shape("text", { class: "y", x: LEFT - 5, y: y(0) }, ranges[1][0]),
    shape("text", { class: "y", x: LEFT - 5, y: y(1) + 8 }, ranges[1][1]),
    shape("text", { class: "x", x: x(0.5), y: HEIGHT - 8 }, names[0]),
    shape("text", { class: "x", transform: `translate(10 ${y(0.5)}) rotate(-90)` }, names[1]),
  );
  const caption = element("figcaption", {}, element("b", {}, `${names[0]}, ${names[1]}`),
    element("small", {}, "on the line the sound is nearly the same"));
  return element("figure", { class: `scatter side-${side}` }, caption, svg);
}
