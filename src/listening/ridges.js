/** Pairs of parameters that a sound does not tell apart: the line on which it is nearly the same, and the answer. */

import { all, find } from "../pages/dom.js";

const [LEFT, RIGHT, TOP, BOTTOM] = [40, 312, 8, 170]; // of the frame, as in the template
const x = (place) => LEFT + place * (RIGHT - LEFT);
const y = (place) => BOTTOM - place * (BOTTOM - TOP);

/** A figure of one pair, made of the page's template; places are 0 to 1 of the ranges, across first. */
export function ridgeFigure({ names, ranges, ends, at }) {
  const figure = find("#ridge").content.firstElementChild.cloneNode(true);
  find("b", figure).textContent = names.join(", ");
  find("svg", figure).setAttribute("aria-label", `${names.join(" and ")}: on the line the sound is nearly the same`);
  find(".ridge", figure).setAttribute("d", ends.map(([across, up], i) => `${"ML"[i]}${x(across)} ${y(up)}`).join(""));
  find(".answer", figure).setAttribute("cx", x(at[0]));
  find(".answer", figure).setAttribute("cy", y(at[1]));
  [...ranges.flat(), ...names].forEach((text, i) => { all("text", figure)[i].textContent = text; });
  return figure;
}
