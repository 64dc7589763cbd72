/** Finding and making elements. */

export const find = (selector, root = document) => root.querySelector(selector);
export const all = (selector, root = document) => [...root.querySelectorAll(selector)];

/** An element with attributes and children; a text becomes a text, never markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, text] of Object.entries(attributes)) made.setAttribute(name, text);
  made.append(...children);
  return made;
}

/** The block of data that Python left in the page. */
export const pageData = () => JSON.parse(find("#data").textContent);

/** Tell readers of the screen what happened. */
export function say(text) {
  find("#status").textContent = text;
}

/** Colour of the page's style by its name: `--muted`. */
export const colourOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Whether motion is unwanted. */
export const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether a section covers the middle of the window, or something of these has the focus. */
export function isInUse(section, focused) {
  const { top, bottom } = section.getBoundingClientRect();
  const middle = window.innerHeight / 2;
  return (top < middle && bottom > middle) || document.activeElement.closest(focused) !== null;
}

/** Draw again when the width of an element changes, or the colours do. */
export function whenLookChanges(box, draw) {
  let drawn = 0;
  new ResizeObserver(() => {
    if (box.clientWidth !== drawn) draw();
    drawn = box.clientWidth;
  }).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}
